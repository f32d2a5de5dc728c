"""How to sample: the choices of the user, checked as far as they can be without a model."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Literal

from jaxsr.choices import (
    BLENDS,
    PRECISIONS,
    SAMPLERS,
    THINNINGS,
    Blend,
    GradientForm,
    Precision,
    ReferenceMean,
    ReferenceVariance,
    Thinning,
    Through,
    check_word,
)

_WORDS = {"thinning": THINNINGS, "blend": BLENDS, "precision": PRECISIONS}
_NUMBERS = {"steps": (1, (None,)), "tile": (1, ("auto", "off")), "overlap": (0, (None,))}


@dataclass(frozen=True, kw_only=True)
class Options:
    """How to sample. Together with the seed, the model and the image this decides the result.

    Attributes:
        steps: sampling steps; None takes the model's own number.
        sampler: a name in `jaxsr.diffusion.SAMPLERS`; None takes the model's own.
        thinning: which rows of the trained schedule fewer steps keep, see `jaxsr.diffusion.thin`.
        tile: side of the tiles in pixels of the input. `off` makes one tile of the whole image. `auto` takes whichever
            of 64, 128 and 256 computes the fewest pixels; with a VQ autoencoder, the smaller of 64 and 128 that holds
            the image, else 128. It halves the tile where memory is short.
        overlap: of neighbouring tiles, in pixels of the input; None is an eighth of the tile, at least 16.
        blend: `feather`; or `mean`, as in the released ResShift tool.
        precision: `fp32` or `bf16` compute. An image for which bf16 overflows is computed in fp32.
        alpha: scale of the guidance by the LR image: above 0 adds texture (perception), below 0 moves closer to the
            input (fidelity), 0 is the plain sampler. One number, or one per step, t = 1 (the last one taken) first.
            None is 0; where a reference is given, None fits it.
        through, reference_mean, reference_variance: the form of the KL gradient, see `jaxsr.choices.GradientForm`. A
            value other than the default needs guidance; `reference_mean` needs an HR reference.
    Raises:
        ValueError: for a value that no model accepts; the message begins with the option's name.
    """

    steps: int | None = None
    sampler: str | None = None
    thinning: Thinning = "ends"
    tile: int | Literal["auto", "off"] = "auto"
    overlap: int | None = None
    blend: Blend = "feather"
    precision: Precision = "fp32"
    alpha: float | tuple[float, ...] | None = None
    through: Through = "mean"
    reference_mean: ReferenceMean = "clean"
    reference_variance: ReferenceVariance = "posterior"

    def __post_init__(self) -> None:
        if self.sampler not in (*SAMPLERS, None):
            from jaxsr.diffusion import find_sampler  # imports JAX, which the built-in names do not need

            find_sampler(self.sampler)
        for name, words in _WORDS.items():
            check_word(name, getattr(self, name), words)
        _ = self.gradient  # raises ValueError for an unknown word
        for name, (least, words) in _NUMBERS.items():
            value = getattr(self, name)
            if value not in words and not (isinstance(value, Integral) and value >= least):
                known = "".join(f"{word}, " for word in words if word)
                raise ValueError(f"{name}: must be {known}a whole number of at least {least}, got {value!r}.")
        if self.tile == "off" and self.overlap is not None:
            raise ValueError("overlap: one tile overlaps nothing; leave it out, or give a tile.")
        known = all(isinstance(value, Real) and math.isfinite(value) for value in self.alphas)
        if not known or (self.alpha is not None and not self.alphas):
            raise ValueError(f"alpha: must be a number, or a tuple of one per step, got {self.alpha!r}.")

    @property
    def alphas(self) -> tuple[float, ...]:
        """The numbers of `alpha`: none, one, or one per step."""
        if self.alpha is None:
            return ()
        return tuple(self.alpha) if isinstance(self.alpha, Sequence) else (self.alpha,)

    @property
    def gradient(self) -> GradientForm:
        """The form of the KL gradient."""
        return GradientForm(self.through, self.reference_mean, self.reference_variance)

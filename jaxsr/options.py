"""The user's choices for sampling, with all checks that need no model."""

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
    """The options of sampling. Together with the seed, the model and the image, they determine the result.

    Attributes:
        steps: number of sampling steps; None takes the model's default.
        sampler: name in `jaxsr.diffusion.SAMPLERS`; None takes the model's default.
        thinning: rule for the rows of the trained schedule that fewer steps keep, see `jaxsr.diffusion.thin`.
        tile: side of the tiles, in pixels of the input. `off` makes one tile of the whole image. `auto` takes the side
            among 64, 128 and 256 that computes the fewest pixels. With a VQ autoencoder, `auto` takes 64 if such a tile
            holds the image, else 128. It halves the tile if memory is short.
        overlap: overlap of neighbouring tiles, in pixels of the input; None takes an eighth of the tile, at least 16.
        blend: rule that joins the tiles: `feather`; or `mean`, as in the released ResShift tool.
        precision: precision of the computation, `fp32` or `bf16`. An image whose values overflow in bf16 is computed in
            fp32.
        alpha: scale of the guidance by the LR image: above 0 adds texture (perception), below 0 moves closer to the
            input (fidelity), 0 is the plain sampler. It is one number, or one per step, t = 1 (the last step taken)
            first. None means 0; with a reference, None fits the scale to it.
        through, reference_mean, reference_variance: form of the KL gradient, see `jaxsr.choices.GradientForm`. A
            value other than the default needs guidance; `reference_mean` needs an HR reference.
        reference_slope, reference_offset: A and B of Eq. 10 for the guidance by an HR reference; each is one number, or
            one per step, t = 1 first. A of -1 moves onto the reference. None fits both to the reference. B without an A
            is refused; A without a B takes 0.
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
    reference_slope: float | tuple[float, ...] | None = None
    reference_offset: float | tuple[float, ...] | None = None

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
                choices = "".join(f"{word}, or " for word in words if word)
                raise ValueError(f"{name}: must be {choices}a whole number of at least {least}, got {value!r}.")
        if self.tile == "off" and self.overlap is not None:
            raise ValueError("overlap: a single tile has no overlap; leave the overlap out, or give a tile.")
        for name in ("alpha", "reference_slope", "reference_offset"):
            value, numbers = getattr(self, name), self.numbers(name)
            finite = all(isinstance(number, Real) and math.isfinite(number) for number in numbers)
            if not finite or (value is not None and not numbers):
                raise ValueError(f"{name}: must be a number, or a tuple with one number per step, got {value!r}.")
        if self.reference_offset is not None and self.reference_slope is None:
            raise ValueError("reference_offset: belongs to a reference_slope; give that too.")

    def numbers(self, name: Literal["alpha", "reference_slope", "reference_offset"]) -> tuple[float, ...]:
        """Return the numbers of an option: no number, one, or one per step."""
        value = getattr(self, name)
        if value is None:
            return ()
        return tuple(value) if isinstance(value, Sequence) else (value,)

    @property
    def alphas(self) -> tuple[float, ...]:
        """The numbers in `alpha`: no number, one, or one per step."""
        return self.numbers("alpha")

    @property
    def gradient(self) -> GradientForm:
        """The form of the KL gradient: `through`, `reference_mean` and `reference_variance`."""
        return GradientForm(self.through, self.reference_mean, self.reference_variance)

"""The user's choices for sampling, with all checks that need no model."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any, Literal

from jaxsr.choices import (
    BLENDS,
    LIKES,
    PRECISIONS,
    SAMPLERS,
    THINNINGS,
    TILE_NOISES,
    Blend,
    GradientForm,
    Precision,
    ReferenceMean,
    ReferenceVariance,
    Thinning,
    Through,
    TileNoise,
    check_word,
)

_WORDS = {"blend": BLENDS, "tile_noise": TILE_NOISES, "precision": PRECISIONS}
PER_STEP = ("alpha", "reference_slope", "reference_offset", "temperature")
"""The options that are one number for all steps, or one per step."""
_NUMBERS = {"steps": 1, "overlap": 0}
_CHOPS = {"resshift": (512, 448), "resshift-256": (256, 224), "resshift-64": (64, 48)}


@dataclass(frozen=True, kw_only=True)
class Options:
    """The options of sampling. Together with the seed, the model and the image, they determine the result.

    Attributes:
        steps: number of sampling steps; None takes the model's default, or the number of the rows in `thinning`.
        sampler: name in `jaxsr.diffusion.SAMPLERS`; None takes the model's default.
        thinning: rule for the rows of the trained schedule that fewer steps keep, see `jaxsr.diffusion.thin`; or a
            tuple of these rows, 0-based and rising, such as (0, 5, 20, 59), whose number is the number of steps.
        tile: side of the tiles, or their (height, width), in pixels of the input. `off` makes one tile of the whole
            image. `auto` takes the shape that computes the fewest pixels. With GroupNorm or a VQ autoencoder, that is
            the whole image up to a million pixels of the result; otherwise a side is from 32 to 448, few of which
            are for images smaller than that. It takes a smaller shape if memory is short.
        overlap: overlap of neighbouring tiles, in pixels of the input; None takes 24, and for networks with GroupNorm
            or a VQ autoencoder an eighth of the tile, at least 16.
        blend: rule that joins the tiles: `feather`; or `mean`, as in the released ResShift tool.
        tile_noise: noise of a tile: `position`, the noise of its place in the image, on which all tiles agree; or
            `fresh`, noise of its own, as in the released ResShift tool.
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
        temperature: factor of the noise that the sampler draws at every step: above 1 adds texture, below 1 makes
            smoother. One number, or one per step, t = 1 first. None means 1, or the numbers of the preset.
        projection: strength, 0 to 1, of the projection of the result onto the images that reduce to the input, see
            `jaxsr.imaging.resize.project_onto`. 1 suits inputs that were reduced by bicubic interpolation; noise and
            compression of an input come back with it. None means 0, or the number of the preset.
    Raises:
        ValueError: for a value that no model accepts; the message begins with the option's name.
    """

    steps: int | None = None
    sampler: str | None = None
    thinning: Thinning = "ends"
    tile: int | tuple[int, int] | Literal["auto", "off"] = "auto"
    overlap: int | None = None
    blend: Blend = "feather"
    tile_noise: TileNoise = "position"
    precision: Precision = "fp32"
    alpha: float | tuple[float, ...] | None = None
    through: Through = "mean"
    reference_mean: ReferenceMean = "clean"
    reference_variance: ReferenceVariance = "posterior"
    reference_slope: float | tuple[float, ...] | None = None
    reference_offset: float | tuple[float, ...] | None = None
    temperature: float | tuple[float, ...] | None = None
    projection: float | None = None

    def __post_init__(self) -> None:
        if self.sampler not in (*SAMPLERS, None):
            from jaxsr.diffusion import find_sampler  # imports JAX, which the built-in names do not need

            find_sampler(self.sampler)
        for name, words in _WORDS.items():
            check_word(name, getattr(self, name), words)
        _ = self.gradient  # raises ValueError for an unknown word
        for name, least in _NUMBERS.items():
            value = getattr(self, name)
            if value is not None and not (isinstance(value, Integral) and int(value) >= least):
                raise ValueError(f"{name}: must be a whole number of at least {least}, got {value!r}.")
        self._check_thinning()
        self._check_tile()
        if self.tile == "off" and self.overlap is not None:
            raise ValueError("overlap: a single tile has no overlap; leave the overlap out, or give a tile.")
        for name in PER_STEP:
            value, numbers = getattr(self, name), self.numbers(name)
            finite = all(isinstance(number, Real) and abs(number) <= sys.float_info.max for number in numbers)
            if not finite or (value is not None and not numbers):
                raise ValueError(f"{name}: must be a number, or a tuple with one number per step, got {value!r}.")
        if any(number < 0 for number in self.numbers("temperature")):
            raise ValueError(f"temperature: must be 0 or more, got {self.temperature!r}.")
        if self.projection is not None and not (isinstance(self.projection, Real) and 0 <= float(self.projection) <= 1):
            raise ValueError(f"projection: must be a number from 0 to 1, got {self.projection!r}.")
        if self.reference_offset is not None and self.reference_slope is None:
            raise ValueError("reference_offset: belongs to a reference_slope; give that too.")

    def numbers(self, name: str) -> tuple[float, ...]:
        """Return the numbers of an option in `PER_STEP`: no number, one, or one per step."""
        value = getattr(self, name)
        if value is None:
            return ()
        return tuple(value) if isinstance(value, Sequence) else (value,)

    def _check_thinning(self) -> None:
        rows = self.thinning
        if isinstance(rows, str):
            check_word("thinning", rows, THINNINGS)
            return
        whole = isinstance(rows, Sequence) and all(isinstance(row, Integral) for row in rows)
        if not whole or not rows or rows[0] < 0 or list(rows) != sorted(set(rows)):
            words = f"{', '.join(THINNINGS)}, or rows of 0 or more, each above the one before, such as 0,5,20,59"
            raise ValueError(f"thinning: must be {words}; got {rows!r}.")
        object.__setattr__(self, "thinning", tuple(int(row) for row in rows))  # so that equal choices are equal
        if self.steps not in (None, len(rows)):
            said = f"the thinning keeps {len(rows)} rows, one per step"
            raise ValueError(f"steps: {said}; leave steps out, or give {len(rows)}, not {self.steps}.")

    def _check_tile(self) -> None:
        if self.tile in ("auto", "off"):
            return
        sides = self.tile if isinstance(self.tile, tuple) else (self.tile, self.tile)
        if len(sides) != 2 or not all(isinstance(side, Integral) and int(side) >= 1 for side in sides):
            raise ValueError(
                f"tile: must be auto, or off, or a whole number of at least 1, or height and width, got {self.tile!r}."
            )
        if isinstance(self.tile, tuple) and sides[0] == sides[1]:
            object.__setattr__(self, "tile", sides[0])  # so that equal choices are equal

    @property
    def alphas(self) -> tuple[float, ...]:
        """The numbers in `alpha`: no number, one, or one per step."""
        return self.numbers("alpha")

    @property
    def gradient(self) -> GradientForm:
        """The form of the KL gradient: `through`, `reference_mean` and `reference_variance`."""
        return GradientForm(self.through, self.reference_mean, self.reference_variance)


def options_like(name: str) -> dict[str, Any]:
    """Return the fields of `Options` with which tiles are made as in a released tool: `upscale(image, **fields)`.

    `resshift`, `resshift-256` and `resshift-64` are the three chopping sizes of ResShift: 512, 256 and 64 pixels. An
    image goes through whole along each axis that is no longer than that. Longer axes have tiles of that size every 448,
    224 or 48 pixels, with noise of their own and averaged where they overlap. The steps stay the model's: with fewer
    steps than its schedule has, give `thinning="released"` too. Raises ValueError for an unknown name.
    """
    check_word("like", name, LIKES)
    tile, stride = _CHOPS[name]
    overlap = tile - stride
    return {"tile": tile, "overlap": overlap, "blend": "mean", "tile_noise": "fresh"}


def tile_sides(tile: int | tuple[int, int]) -> tuple[int, int]:
    """Return height and width of a tile, which may be given by one side."""
    return tile if isinstance(tile, tuple) else (tile, tile)


def spell_value(value: object) -> str:
    """Spell a value as on a command line: the numbers of a tuple separated by commas."""
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)


def spell_tile(tile: int | tuple[int, int] | str) -> str:
    """Spell a tile as on a command line: a word, the side of a square, or WIDTHxHEIGHT."""
    if not isinstance(tile, tuple) or tile[0] == tile[1]:
        return str(tile[0] if isinstance(tile, tuple) else tile)
    return f"{tile[1]}x{tile[0]}"

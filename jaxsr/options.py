"""How to sample: the choices, checked, and what they come to for one model and one size of image."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from numbers import Integral, Real
from typing import Literal

from jaxsr import diffusion
from jaxsr.choices import (
    BLENDS,
    PRECISIONS,
    REFERENCE_MEANS,
    REFERENCE_VARIANCES,
    SAMPLERS,
    THINNINGS,
    THROUGHS,
    Blend,
    Precision,
    ReferenceMean,
    ReferenceVariance,
    Thinning,
    Through,
)
from jaxsr.diffusion import Schedule
from jaxsr.imaging import noise, tiling
from jaxsr.models.presets import PixelCodecConfig, Preset

AUTO_TILES = (64, 128, 256)
AUTO_TILES_VQ = (64, 128)  # the autoencoder attends over the whole tile: its cost is quadratic in the tile's area
_GUIDING = {"through": THROUGHS, "reference_mean": REFERENCE_MEANS, "reference_variance": REFERENCE_VARIANCES}
_WORDS = {"sampler": (*SAMPLERS, None), "thinning": THINNINGS, "blend": BLENDS, "precision": PRECISIONS} | _GUIDING
_NUMBERS = {"steps": (1, (None,)), "tile": (1, ("auto", "off")), "overlap": (0, (None,))}


@dataclass(frozen=True, kw_only=True)
class Options:
    """How to sample; together with the seed, the model and the image this decides the result.

    Attributes:
        steps: sampling steps; None takes the model's own number.
        sampler: `ancestral`, `deterministic` or `heun`; None takes the model's own.
        thinning: which rows of the trained schedule fewer steps keep, see `jaxsr.diffusion.thin`.
        tile: side of the tiles in pixels of the input; `off` makes one tile of the whole image; `auto` takes of 64,
            128 and 256 the one that computes the fewest pixels (with a VQ autoencoder, of 64 and 128 the smallest that
            holds the image, else the largest), and halves it where memory is short.
        overlap: of neighbouring tiles, in pixels of the input; None is an eighth of the tile, at least 16.
        blend: `feather`, or `mean` as in the released ResShift tool.
        precision: `fp32` or `bf16` compute; an image that bf16 cannot hold is made in fp32.
        alpha: scale of the guidance by the LR image: above 0 more texture (perception), below 0 closer to the input
            (fidelity), 0 the plain sampler; one number, or one per step, t = 1 (the last one taken) first. None is 0,
            or what is fitted where a reference is given.
        through: what the guidance's gradient is taken by, see `jaxsr.diffusion.Guidance`; as the next two, it needs
            something that guides.
        reference_mean: `clean` or `shifted`, of an HR reference; the LR image's are the same.
        reference_variance: `posterior` or `marginal`.
    Raises:
        ValueError: for a value that no model takes; the message begins with the option's name.
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
        for name, words in _WORDS.items():
            if (value := getattr(self, name)) not in words:
                known = ", ".join(word for word in words if word)
                raise ValueError(f"{name}: no {value!r}; choose one of {known}.")
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
    def guiding(self) -> list[str]:
        """The names of those choices, not left as they are, that mean something where there is guidance only."""
        return [name for name, words in _GUIDING.items() if getattr(self, name) != words[0]]


@dataclass(frozen=True)
class Scales:
    """The numbers of the guidance, one per step, t = 1 (the last one taken) first.

    Attributes:
        lr: scale of the guidance by the LR image; several rows for the panels of a strip.
        hr: scale (slope of Eq. 10) of the guidance by the HR reference, negative toward it; None without one.
        offset: of the same.
    """

    lr: tuple[tuple[float, ...], ...]
    hr: tuple[float, ...] | None = None
    offset: tuple[float, ...] | None = None


@dataclass(frozen=True)
class Run:
    """What is really done for one image: the choices with nothing left open, tiles per call, and where they lie.

    `remat`: the network's blocks are computed again for the gradient through them, which takes less memory. `scales`:
    what the guidance was, once it is done.
    """

    options: Options
    batch: int
    plan: tiling.TilePlan
    remat: bool = False
    scales: Scales | None = None


def schedule_for(preset: Preset, options: Options) -> Schedule:
    """The model's schedule, thinned to the steps that were asked for; ValueError where it has fewer."""
    steps = preset.steps if options.steps is None else options.steps
    return diffusion.thin(preset.schedule.build(), steps, keep=options.thinning)


def tile_unit(preset: Preset) -> int:
    """Tiles are multiples of this many pixels of the input: windows and blocks of noise must fit."""
    return math.lcm(preset.align, noise.BLOCK * preset.latent_factor // preset.scale)


def plan_run(preset: Preset, size: tuple[int, int], options: Options, batch: int = 1) -> Run:
    """What `options` come to for an image of `size` (height, width).

    Raises:
        ValueError: if they do not fit the model; the message begins with the option's name.
    """
    if preset.network.cond_mask:
        raise ValueError(f"model: {preset.name} fills in what a mask marks, which this version cannot do yet.")
    if batch < 1:
        raise ValueError(f"batch: must be at least 1, got {batch}.")
    plan = _plan_tiles(preset, size, options, _tile_side(preset, size, options))
    steps, sampler = schedule_for(preset, options).steps, options.sampler or preset.sampler
    if len(options.alphas) not in (0, 1, steps):
        raise ValueError(f"alpha: must be one number or {steps}, one per step, got {len(options.alphas)}.")
    return Run(replace(options, steps=steps, sampler=sampler, tile=plan.tile, overlap=plan.overlap), batch, plan)


def _plan_tiles(preset: Preset, size: tuple[int, int], options: Options, tile: int) -> tiling.TilePlan:
    unit, feather = tile_unit(preset), options.blend == "feather"
    default = min(-(-tile // 8 // unit) * unit, tile - unit)
    overlap = default if options.overlap is None else options.overlap
    for name, value in ({"tile": tile} | ({"overlap": overlap} if feather else {})).items():
        if value % unit:
            raise ValueError(f"{name}: must be a multiple of {unit} for this model, got {value}.")
    return tiling.plan_tiles(*size, tile, overlap, align=unit if feather else 1, blend=options.blend)


def _tile_side(preset: Preset, size: tuple[int, int], options: Options) -> int:
    unit = tile_unit(preset)
    if options.tile == "off":
        return -(-max(size) // unit) * unit
    if options.tile != "auto":
        return options.tile
    pixel = isinstance(preset.codec, PixelCodecConfig)
    sides = [-(-side // unit) * unit for side in (AUTO_TILES if pixel else AUTO_TILES_VQ)]
    fitting = [side for side in sides if side > (options.overlap or 0)] or sides[-1:]
    if not pixel:  # a network of GroupNorm had better see the whole image
        return next((side for side in fitting if side >= max(size)), sides[-1])
    return min(fitting, key=lambda side: (side**2 * len(_plan_tiles(preset, size, options, side)), -side))


def with_less_memory(run: Run, preset: Preset, asked: Options) -> Run:
    """The run to try when `run` needs too much memory: `remat`, where the gradient goes through the network; half the
    batch; then, where tile is `auto`, half the tile.

    Raises:
        MemoryError: if there is nothing left to halve; the message says what to choose.
    """
    if run.options.through == "state" and not run.remat:
        return replace(run, remat=True)
    if run.batch > 1:
        return replace(run, batch=run.batch // 2)
    unit, tile = tile_unit(preset), run.plan.tile
    half = tile // 2 // unit * unit
    if asked.tile == "auto" and half > (asked.overlap or 0):
        smaller = replace(run.options, tile=half, overlap=asked.overlap)
        return replace(plan_run(preset, (run.plan.height, run.plan.width), smaller), remat=run.remat)
    advice = f"choose a smaller one, say --tile {half}" if half else "the model needs more memory than there is"
    raise MemoryError(f"tile: the device has too little memory for tiles of {tile} pixels; {advice}.")

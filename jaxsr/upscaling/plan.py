"""The plan of a run: the schedule, the tiles and the batch size that the options give for one model and image size."""

import math
from dataclasses import dataclass, replace

from jaxsr import diffusion
from jaxsr.diffusion import Schedule
from jaxsr.guidance.guide import Scales
from jaxsr.imaging import noise, tiling
from jaxsr.models.presets import ModelPreset, PixelCodecConfig
from jaxsr.options import Options

AUTO_TILES = (64, 128, 256)
AUTO_TILES_VQ = (64, 128)  # the autoencoder attends over the whole tile, at a cost quadratic in the tile's area


@dataclass(frozen=True)
class ImageRun:
    """The plan for one image: the resolved options, the tiles, and how many tiles share a call.

    Attributes:
        options: the options, with numbers in place of None, `auto` and `off`.
        batch: tiles per call.
        plan: positions of the tiles.
        remat: whether a gradient through the network recomputes its blocks, which takes less memory.
        scales: the numbers of the guidance, known once the image is done; None without guidance.
    """

    options: Options
    batch: int
    plan: tiling.TilePlan
    remat: bool = False
    scales: Scales | None = None


def schedule_for(preset: ModelPreset, options: Options) -> Schedule:
    """Thin the model's schedule to the requested number of steps. Raises ValueError if the schedule has fewer."""
    steps = preset.steps if options.steps is None else options.steps
    return diffusion.thin(preset.schedule.build(), steps, keep=options.thinning)


def tile_unit(preset: ModelPreset) -> int:
    """Return the unit of tile sides and overlaps in input pixels. Its multiples fit the windows and noise blocks."""
    return math.lcm(preset.align, noise.BLOCK * preset.latent_factor // preset.scale)


def plan_run(preset: ModelPreset, size: tuple[int, int], options: Options, batch: int = 1) -> ImageRun:
    """Resolve `options` for an image of `size` (height, width).

    Raises:
        ValueError: if the options do not fit the model; the message begins with the option's name.
    """
    if preset.network.cond_mask:
        raise ValueError(
            f"model: {preset.name} fills in the part of an image that a mask marks, which this version cannot do yet; "
            "choose another model."
        )
    if batch < 1:
        raise ValueError(f"batch: must be at least 1, got {batch}.")
    plan = _plan_tiles(preset, size, options, _tile_side(preset, size, options))
    steps, sampler = schedule_for(preset, options).steps, options.sampler or preset.sampler
    for name in ("alpha", "reference_slope", "reference_offset"):
        if (count := len(options.numbers(name))) not in (0, 1, steps):
            raise ValueError(f"{name}: must be one number or {steps}, one per step, got {count}.")
    return ImageRun(replace(options, steps=steps, sampler=sampler, tile=plan.tile, overlap=plan.overlap), batch, plan)


def _plan_tiles(preset: ModelPreset, size: tuple[int, int], options: Options, tile: int) -> tiling.TilePlan:
    unit, feather = tile_unit(preset), options.blend == "feather"
    default = min(-(-tile // 8 // unit) * unit, tile - unit)
    overlap = default if options.overlap is None else options.overlap
    for name, value in ({"tile": tile} | ({"overlap": overlap} if feather else {})).items():
        if value % unit:
            raise ValueError(f"{name}: must be a multiple of {unit} for this model, got {value}.")
    return tiling.plan_tiles(*size, tile, overlap, align=unit if feather else 1, blend=options.blend)


def _tile_side(preset: ModelPreset, size: tuple[int, int], options: Options) -> int:
    unit = tile_unit(preset)
    if options.tile == "off":
        return -(-max(size) // unit) * unit
    if options.tile != "auto":
        return options.tile
    pixel = isinstance(preset.codec, PixelCodecConfig)
    sides = [-(-side // unit) * unit for side in (AUTO_TILES if pixel else AUTO_TILES_VQ)]
    fitting = [side for side in sides if side > (options.overlap or 0)] or sides[-1:]
    if not pixel:  # GroupNorm works best when the network sees the whole image
        return next((side for side in fitting if side >= max(size)), sides[-1])
    return min(fitting, key=lambda side: (side**2 * len(_plan_tiles(preset, size, options, side)), -side))


def with_less_memory(run: ImageRun, preset: ModelPreset, asked: Options) -> ImageRun:
    """Return the next run to try when `run` needs too much memory.

    The runs to try are, in this order: `remat`, if the gradient goes through the network; half the batch; half the
    tile, if the tile is `auto`.

    Raises:
        MemoryError: if nothing is left to halve; the message says which tile to choose.
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
    advice = f"choose a smaller one, say --tile {half}" if half else "the model needs more memory than the device has"
    raise MemoryError(f"tile: the device has too little memory for tiles of {tile} pixels; {advice}.")

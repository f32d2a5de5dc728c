"""The plan of a run: the schedule, the tiles and the batch size that the options give for one model and image size."""

from dataclasses import dataclass, replace

import numpy as np

from jaxsr import diffusion
from jaxsr.diffusion import Schedule
from jaxsr.guidance.guide import Scales
from jaxsr.imaging import tiling
from jaxsr.models.presets import ModelPreset
from jaxsr.options import PER_STEP, Options, spell_tile
from jaxsr.upscaling.tile_choice import choose_tiles, half_tile, smaller_tiles


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
    """Thin the model's schedule to the requested steps. Raises ValueError if it does not have them."""
    schedule, steps = preset.schedule.build(), preset.steps if options.steps is None else options.steps
    if isinstance(options.thinning, str):
        return diffusion.thin(schedule, steps, keep=options.thinning)
    if (last := options.thinning[-1]) >= schedule.steps:
        raise ValueError(f"thinning: this model's schedule has rows 0 to {schedule.steps - 1}; leave out row {last}.")
    return schedule.select(np.array(options.thinning))


def even_batch(tiles: int, batch: int) -> int:
    """Return the smallest number of tiles per call for which a batch of `batch` does not need fewer calls.

    The last call then computes few copies, and a single call none.
    """
    return -(-tiles // -(-tiles // batch))


def plan_run(preset: ModelPreset, size: tuple[int, int], options: Options, batch: int = 1) -> ImageRun:
    """Resolve `options` for an image of `size` (height, width).

    Raises:
        ValueError: if the options do not fit the model; the message begins with the option's name.
    """
    if batch < 1:
        raise ValueError(f"batch: must be at least 1, got {batch}.")
    plan, projection = choose_tiles(preset, size, options), float(options.projection or 0)
    if projection and preset.scale == 1:
        raise ValueError("projection: is for models that enlarge; leave it out.")
    steps, sampler = schedule_for(preset, options).steps, options.sampler or preset.sampler
    for name in PER_STEP:
        if (count := len(options.numbers(name))) not in (0, 1, steps):
            raise ValueError(f"{name}: must be one number or {steps}, one per step, got {count}.")
    resolved = replace(options, steps=steps, sampler=sampler, tile=plan.tile, overlap=plan.overlap)
    temperature = 1.0 if options.temperature is None else options.temperature
    if set(options.numbers("temperature")) - {1.0} and not diffusion.find_sampler(sampler).draws_noise:
        raise ValueError(f"temperature: the sampler {sampler} draws no noise at its steps; leave it out.")
    resolved = replace(resolved, projection=projection, temperature=temperature)
    return ImageRun(resolved, even_batch(len(plan), batch), plan)


def with_less_memory(run: ImageRun, preset: ModelPreset, asked: Options) -> ImageRun:
    """Return the next run to try when `run` needs too much memory.

    The runs to try are, in this order: `remat`, if the gradient goes through the network; half the batch; tiles of half
    the pixels or less, if the tile is `auto`.

    Raises:
        MemoryError: if nothing is left to halve; the message says which tile to choose.
    """
    if run.options.through == "state" and not run.remat:
        return replace(run, remat=True)
    if run.batch > 1:
        return replace(run, batch=even_batch(len(run.plan), run.batch // 2))
    if asked.tile == "auto" and (plan := smaller_tiles(preset, asked, run.plan)):
        smaller = replace(run.options, tile=plan.tile, overlap=plan.overlap)
        return replace(run, options=smaller, plan=plan)
    tile = run.plan.tile
    half = half_tile(preset, tile)
    advice = f"choose a smaller one, say --tile {spell_tile(half)}"
    if half == tile:
        advice = "the model needs more memory than the device has"
    raise MemoryError(f"tile: the device has too little memory for tiles of {spell_tile(tile)} pixels; {advice}.")

"""The forecast of a result's time and memory, without making the result."""

from math import prod

import numpy as np

from jaxsr.batch.enlarge import result_shape
from jaxsr.batch.jobs import Job
from jaxsr.batch.recipe import Recipe
from jaxsr.batch.request import Request
from jaxsr.imaging.files import check_side, pixel_dtype, read_photo
from jaxsr.upscaling.plan import ImageRun, plan_run
from jaxsr.upscaling.upscaler import Upscaler

Costs = dict[int, tuple[ImageRun, float, float]]
"""Side of a tile -> (run with tiles of this side, seconds per call, bytes of the program)."""


def foresee(upscaler: Upscaler, job: Job, request: Request, recipe: Recipe, costs: Costs) -> tuple[str, float]:
    """Describe in one line what `make` would do, and estimate its seconds, without the fit to a reference.

    `costs` keeps the measurements, for other images with tiles of the same side.
    """
    photo, scale, options = read_photo(job.source), upscaler.preset.scale, request.options
    size, (height, width, channels) = photo.rgb.shape[:2], result_shape(photo, scale, request)
    check_side(job.target, max(height, width))
    guide, tile = recipe.guide(request, photo.rgb, scale), plan_run(upscaler.preset, size, options).plan.tile
    if tile not in costs:
        costs[tile] = upscaler.measure(size, options, request.batch, guide)
    run, seconds, memory = costs[tile]
    plan = plan_run(upscaler.preset, size, run.options).plan
    seconds *= -(-len(plan) // run.batch)
    # Three copies: the pixels, the encoder's copy of them, and the file.
    held = 3 * prod((height, width, channels)) * np.dtype(pixel_dtype(job.target, photo.depth)).itemsize
    line = (
        f"{job.source} {size[1]}x{size[0]} -> {job.target} {width}x{height}: {len(plan)} tiles of {plan.tile}, "
        f"{memory / 1e6:.0f} MB for the network, {held / 1e6:.1f} MB for the image, about {seconds:.1f} s"
    )
    return line, seconds

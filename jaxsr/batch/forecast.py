"""The forecast of a result's time and memory, without making the result."""

from jaxsr.batch.jobs import Job
from jaxsr.batch.recipe import Recipe, read_mask
from jaxsr.batch.request import Request
from jaxsr.batch.size import cropped, result_bytes, result_shape
from jaxsr.guidance.guide import Guide, is_guided
from jaxsr.imaging.files import check_side, read_photo
from jaxsr.options import spell_tile
from jaxsr.upscaling.inpainting import check_mask
from jaxsr.upscaling.plan import ImageRun, plan_run
from jaxsr.upscaling.upscaler import Upscaler

Costs = dict[tuple[tuple[int, int], int], tuple[ImageRun, float, float]]
"""(Shape of a tile, tiles per call) -> (run with such calls, seconds per call, bytes of the program)."""


def foresee(upscaler: Upscaler, job: Job, request: Request, recipe: Recipe, costs: Costs) -> tuple[str, float]:
    """Describe in one line what `make` would do, and estimate its seconds, without the fit to a reference.

    `costs` keeps the measurements, for other images with equal calls.
    """
    photo, scale = cropped(read_photo(job.source), request.crop), upscaler.preset.scale
    options = request.panels[0].options if request.panels else request.options
    size, (height, width, _) = photo.rgb.shape[:2], result_shape(photo, scale, request)
    check_side(job.target, max(height, width))
    guide = recipe.guide(request, photo.rgb, scale)
    if request.panels and not is_guided(guide, options):
        guide = Guide()
    planned = upscaler.plan(size, options, request.batch, guide)
    check_mask(upscaler.preset, read_mask(request), size)
    call = (planned.plan.tile, planned.batch)
    if call not in costs:
        costs[call] = upscaler.measure(size, options, request.batch, guide)
    run, seconds, memory = costs[call]
    shortened = run.plan.tile != planned.plan.tile
    plan = plan_run(upscaler.preset, size, run.options).plan if shortened else planned.plan
    seconds *= -(-len(plan) // run.batch) * max(len(request.panels), 1)
    held = result_bytes(photo, scale, request, job.target)
    line = (
        f"{job.source} {size[1]}x{size[0]} -> {job.target} {width}x{height}: "
        f"{len(plan)} tiles of {spell_tile(plan.tile)}, {memory / 1e6:.0f} MB for the network, "
        f"{held / 1e6:.1f} MB for the image, about {seconds:.1f} s"
    )
    return line, seconds

"""The calls of a compiled function for the tiles of an image.

All calls have one shape. Each call starts before the result of the previous call is fetched.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

import numpy as np
from jaxtyping import Float

from jaxsr.errors import NotFiniteError
from jaxsr.guidance.guide import Guide
from jaxsr.guidance.moments import Moments
from jaxsr.guidance.region import Region, tiles_of
from jaxsr.guidance.tiles import cut_guides, cut_reference
from jaxsr.imaging import tiling
from jaxsr.upscaling.plan import ImageRun

Progress = Callable[[int, int], None]
"""Called with (tiles done, tiles in all)."""
Function = Callable[..., Any]
"""The compiled function; takes (tiles, origins, *more)."""
More = Callable[[list[int]], tuple]
"""Makes the further arguments of a call, from the numbers of its tiles."""
T = TypeVar("T")


def enlarge_tiles(
    function: Function, rgb: Float[np.ndarray, "h w 3"], run: ImageRun, more: More, progress: Progress | None
) -> Iterator[tuple[int, Float[np.ndarray, "T T c"]]]:
    """Yield (number, enlarged tile) for every tile of the image."""
    total = len(run.plan)
    for numbers, results in _one_ahead(_calls(function, rgb, run, range(total), more)):
        results = np.asarray(results)  # waits for the device, which already has the next call
        _check_finite(results)
        yield from zip(numbers, results, strict=False)
        if progress:
            progress(numbers[-1] + 1, total)


def measure_tiles(
    function: Function, rgb: Float[np.ndarray, "h w 3"], run: ImageRun, region: Region, scale: int
) -> list[Moments]:
    """Measure the moments of the tiles that overlap the region. Each tile counts as one image."""
    cut = lambda indices: (cut_reference(region, run.plan, indices, scale),)  # noqa: E731
    measured = []
    for numbers, moments in _one_ahead(_calls(function, rgb, run, tiles_of(region, run.plan), cut)):
        values = Moments(*(np.asarray(field)[:, : len(numbers)] for field in moments))
        _check_finite(np.stack(values))
        measured.append(Moments(*(field[:, values.n[0] > 0] for field in values)))
    return measured


def guides_of(run: ImageRun, guide: Guide, scale: int) -> More:
    """Make the function that cuts the guidance of some tiles, for a model that enlarges by `scale`.

    Without scales in `run` the function returns no arguments.
    """
    scales = run.scales
    if scales is None:
        return lambda indices: ()
    return lambda indices: (cut_guides(guide, scales, run.plan, indices, scale),)


def _calls(
    function: Function, rgb: np.ndarray, run: ImageRun, indices: Sequence[int], more: More
) -> Iterator[tuple[list[int], Any]]:
    """Yield (numbers of the tiles, result) for every call. The result is on the device and may be unfinished.

    Copies of the last tile fill up the last batch.
    """
    for start in range(0, len(indices), run.batch):
        numbers = list(indices[start : start + run.batch])
        filled = numbers + numbers[-1:] * (run.batch - len(numbers))
        tiles = np.stack([tiling.cut(rgb, run.plan, i) for i in filled])
        origins = np.array([run.plan.origin(i) for i in filled], np.int32)
        yield numbers, function(tiles, origins, *more(filled))


def _one_ahead(calls: Iterator[T]) -> Iterator[T]:
    """Yield the same items, each one only after its successor has started."""
    waiting = next(calls)
    for started in calls:
        yield waiting
        waiting = started
    yield waiting


def _check_finite(values: np.ndarray) -> None:
    if not np.isfinite(values).all():
        raise NotFiniteError(
            "the network returned pixels that are not numbers; check the model's weights, or use a smaller alpha."
        )

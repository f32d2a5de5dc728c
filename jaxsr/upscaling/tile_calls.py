"""Calls of a compiled function for tiles of an image: all of one shape, each started before the last one is fetched."""

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
"""Takes (tiles, origins, *more)."""
More = Callable[[list[int]], tuple]
"""What a call for these tiles takes beside them."""
T = TypeVar("T")


def enlarge_tiles(
    function: Function, rgb: Float[np.ndarray, "h w 3"], run: ImageRun, more: More, progress: Progress | None
) -> Iterator[tuple[int, Float[np.ndarray, "T T c"]]]:
    """(number, enlarged tile) of every tile of the image."""
    total = len(run.plan)
    for place, results in _one_ahead(_calls(function, rgb, run, range(total), more)):
        results = np.asarray(results)  # waits for the device, which has the next call to go on with
        _check_finite(results)
        yield from zip(place, results, strict=False)
        if progress:
            progress(place[-1] + 1, total)


def measure_tiles(
    function: Function, rgb: Float[np.ndarray, "h w 3"], run: ImageRun, region: Region, scale: int
) -> list[Moments]:
    """The moments of the tiles that see the region; each counts as an image."""
    cut = lambda indices: (cut_reference(region, run.plan, indices, scale),)  # noqa: E731
    found = []
    for place, moments in _one_ahead(_calls(function, rgb, run, tiles_of(region, run.plan), cut)):
        values = Moments(*(np.asarray(field)[:, : len(place)] for field in moments))
        _check_finite(np.stack(values))
        found.append(Moments(*(field[:, values.n[0] > 0] for field in values)))
    return found


def guides_of(run: ImageRun, guide: Guide, scale: int) -> More:
    """Nothing, or what guides the tiles, of a model that enlarges by `scale`."""
    scales = run.scales
    if scales is None:
        return lambda indices: ()
    return lambda indices: (cut_guides(guide, scales, run.plan, indices, scale),)


def _calls(
    function: Function, rgb: np.ndarray, run: ImageRun, indices: Sequence[int], more: More
) -> Iterator[tuple[list[int], Any]]:
    """(numbers of the tiles, result) of every call, on the device and perhaps not finished; the last is filled up."""
    for start in range(0, len(indices), run.batch):
        place = list(indices[start : start + run.batch])
        filled = place + place[-1:] * (run.batch - len(place))
        tiles = np.stack([tiling.cut(rgb, run.plan, i) for i in filled])
        origins = np.array([run.plan.origin(i) for i in filled], np.int32)
        yield place, function(tiles, origins, *more(filled))


def _one_ahead(calls: Iterator[T]) -> Iterator[T]:
    """The same items, each handed out once the one after it has been started."""
    waiting = next(calls)
    for started in calls:
        yield waiting
        waiting = started
    yield waiting


def _check_finite(values: np.ndarray) -> None:
    if not np.isfinite(values).all():
        raise NotFiniteError(
            "the network returned pixels that are not numbers; check the model's weights, or take a smaller alpha."
        )

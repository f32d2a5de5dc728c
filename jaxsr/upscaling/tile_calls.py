"""The calls of a compiled function for the tiles of an image.

All calls have one shape. Each call starts before the result of the previous call is fetched.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key

from jaxsr.errors import NotFiniteError
from jaxsr.guidance.guide import Guide, Scales, is_guided, lr_scales
from jaxsr.guidance.moments import Moments
from jaxsr.guidance.region import Region, tiles_of
from jaxsr.guidance.tiles import cut_guides, cut_reference
from jaxsr.imaging import noise, tiling
from jaxsr.models.presets import ModelPreset
from jaxsr.upscaling.plan import ImageRun, even_batch

Progress = Callable[[int, int], None]
"""Called with (tiles done, tiles in all)."""
Function = Callable[..., Any]
"""The compiled function; takes (key, tiles, origins, *more)."""
More = Callable[[list[int]], tuple]
"""Makes the further arguments of a call, from the numbers of its tiles."""
T = TypeVar("T")


def enlarge_tiles(
    function: Function,
    key: Key[Array, ""],
    pixels: Float[np.ndarray, "h w c"],
    run: ImageRun,
    more: More,
    progress: Progress | None,
) -> Iterator[tuple[int, Float[np.ndarray, "H W k"]]]:
    """Yield (number, enlarged tile) for every tile of the image, whose key is `key`, in order.

    Where the pixels have a mask as their fourth channel, a tile without unknown pixels is not computed: it is itself.
    """
    total, done = len(run.plan), 0
    unknown = unknown_tiles(pixels, run)
    for numbers, results in _one_ahead(_calls(function, key, pixels, run, unknown, more)):
        results = np.asarray(results)  # waits for the device, which already has the next call
        check_finite(results)
        for number, result in zip(numbers, results, strict=False):
            yield from ((i, itself(pixels, run, i)) for i in range(done, number))
            yield number, result
            done = number + 1
        if progress:
            progress(done, total)
    yield from ((i, itself(pixels, run, i)) for i in range(done, total))


def unknown_tiles(pixels: Float[np.ndarray, "h w c"], run: ImageRun) -> list[int]:
    """List the tiles that the network has to make: all, or with a mask those with unknown pixels."""
    tiles = range(len(run.plan))
    return [i for i in tiles if pixels.shape[2] == 3 or tiling.cut(pixels, run.plan, i)[..., 3].any()]


def itself(pixels: Float[np.ndarray, "h w 4"], run: ImageRun, number: int) -> Float[np.ndarray, "H W k"]:
    """Return a known tile of an image for an inpainting network as its own result, once for every panel."""
    panels = len(run.scales.lr) if run.scales else 1
    return np.tile(tiling.cut(pixels, run.plan, number)[..., :3], panels)


def measure_tiles(
    function: Function,
    key: Key[Array, ""],
    pixels: Float[np.ndarray, "h w c"],
    run: ImageRun,
    region: Region,
    scale: int,
) -> list[Moments]:
    """Measure the moments of the tiles that overlap the region. Each tile counts as one image."""
    cut = lambda indices: (cut_reference(region, run.plan, indices, scale),)  # noqa: E731
    measured = []
    for numbers, moments in _one_ahead(_calls(function, key, pixels, run, tiles_of(region, run.plan), cut)):
        values = Moments(*(np.asarray(field)[:, : len(numbers)] for field in moments))
        check_finite(np.stack(values))
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


def black_tiles(run: ImageRun, preset: ModelPreset, guide: Guide) -> tuple:
    """Make the arguments (key, tiles, origins, *guides) of a call for black tiles, to measure what a call costs."""
    tiles = np.zeros((run.batch, *run.plan.tile, 3 + preset.network.cond_mask), np.float32)
    if is_guided(guide, run.options):
        run = replace(run, scales=Scales(lr_scales(guide, run.options)))
    guides = guides_of(run, guide, preset.scale)([0] * run.batch)
    key, origins = place_noise([(noise.image_key(0, noise.content_hash(tiles), 0), run, 0)] * run.batch)
    return key, tiles, origins, *guides


def _calls(
    function: Function, key: Key[Array, ""], pixels: np.ndarray, run: ImageRun, indices: Sequence[int], more: More
) -> Iterator[tuple[list[int], Any]]:
    """Yield (numbers of the tiles, result) for every call. The result is on the device and may be unfinished.

    Copies of the last tile fill up the last batch.
    """
    batch = even_batch(max(len(indices), 1), run.batch)
    for start in range(0, len(indices), batch):
        numbers = list(indices[start : start + batch])
        filled = numbers + numbers[-1:] * (batch - len(numbers))
        tiles = np.stack([tiling.cut(pixels, run.plan, i) for i in filled])
        keys, origins = place_noise([(key, run, i) for i in filled])
        yield numbers, function(keys, tiles, origins, *more(filled))


def place_noise(
    tiles: Sequence[tuple[Key[Array, ""], ImageRun, int]],
) -> tuple[Key[Array, " b"], Int[np.ndarray, "b 2"]]:
    """Return the keys and the origins of the noise of some tiles: (key of the image, its run, number of the tile).

    By position, a tile has its image's key and its own origin. Fresh noise has a key for each tile instead. All runs
    place it alike.
    """
    distinct = {id(key): key for key, _, _ in tiles}
    words = {name: np.asarray(jax.random.key_data(key)) for name, key in distinct.items()}  # one transfer for the call
    stacked = jnp.asarray(np.stack([words[id(key)] for key, _, _ in tiles]))
    keys = jax.random.wrap_key_data(stacked, impl=noise.IMPLEMENTATION)
    if tiles[0][1].options.tile_noise == "fresh":
        numbers = np.array([number for _, _, number in tiles], np.int32)
        return noise.tile_keys(keys, numbers), np.zeros((len(tiles), 2), np.int32)
    return keys, np.array([run.plan.origin(number) for _, run, number in tiles], np.int32)


def _one_ahead(calls: Iterator[T]) -> Iterator[T]:
    """Yield the same items, each one only after its successor has started."""
    waiting = next(calls, None)
    for started in calls:
        assert waiting is not None
        yield waiting
        waiting = started
    if waiting is not None:
        yield waiting


def check_finite(values: np.ndarray) -> None:
    """Raise NotFiniteError for results that are not numbers."""
    if not np.isfinite(values).all():
        raise NotFiniteError(
            "the network returned pixels that are not numbers; check the model's weights, or use a smaller alpha."
        )

"""Many pictures enlarged together: the tiles of any pictures share a call, and the calls share all devices.

Tiles wait in a bucket for others of their shape, program and scales. A full bucket becomes one call, with its batch
split over the devices; each device runs the program that a single device would run. Threads start the calls, so that
one shape compiles while calls of others compute. A picture is finished as soon as its last tile is, and the pictures
that are open at a time are few. What a tile becomes depends neither on the tiles
beside it nor on the number of devices, up to the rounding of the batch size that one device has.
"""

from collections import deque
from collections.abc import Callable, Hashable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field, replace
from itertools import chain, islice
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jaxtyping import Float, Num

from jaxsr.choices import Batch
from jaxsr.errors import IMAGE_FAILED
from jaxsr.guidance.calibration_file import Calibration
from jaxsr.guidance.guide import Guide, Scales, check_guide, is_guided, lr_scales
from jaxsr.guidance.tiles import TileGuides, cut_guides
from jaxsr.imaging import noise, tiling
from jaxsr.imaging.pixels import as_array, from_float, to_float_rgb
from jaxsr.models.model import Params
from jaxsr.options import Options
from jaxsr.upscaling.inpainting import check_takes_mask, with_mask
from jaxsr.upscaling.plan import ImageRun, even_batch, plan_run
from jaxsr.upscaling.programs import program_key
from jaxsr.upscaling.tile_calls import Progress, check_finite, itself, place_noise, unknown_tiles
from jaxsr.upscaling.upscaler import Upscaler

OPEN_CALLS = 4
"""A tile waits for others of its kind while as many full calls start; then its own call starts, which is not full."""
AHEAD = 2
"""Calls that run or compile while the oldest one is awaited."""


@dataclass(eq=False)
class Enlargement:
    """A picture of a stream: the arguments of `Upscaler.enlarge`, and how far it is.

    Attributes:
        rgb: (h, w, 3), float32 in [0, 1].
        out: the array that the result is written to, in its type.
        options, guide, seed, sample, mask: as `Upscaler.enlarge` takes them.
        progress: called with (tiles done, tiles in all).
    """

    rgb: Float[np.ndarray, "h w 3"]
    out: Num[np.ndarray, "H W *c"]
    options: Options
    guide: Guide = field(default_factory=Guide)
    seed: int = 0
    sample: int = 0
    mask: Float[np.ndarray, "h w"] | None = None
    progress: Progress | None = None


Finished = tuple[int, Enlargement, ImageRun | BaseException]
"""The number of a picture, the picture, and its run or the error that stopped it."""


class _Feed(Iterator[tuple[int, np.ndarray]]):
    """An iterator that is filled from outside."""

    def __init__(self) -> None:
        self.waiting: deque[tuple[int, np.ndarray]] = deque()

    def __next__(self) -> tuple[int, np.ndarray]:
        if not self.waiting:
            raise StopIteration
        return self.waiting.popleft()


class _Open:
    """A picture whose tiles are on their way. They come in the order of their numbers.

    Attributes:
        unknown: the tiles that the network has to make.
        left: how many of them are missing.
        failed: whether a call with a tile of it has failed.
    """

    def __init__(self, number: int, picture: Enlargement, run: ImageRun, scale: int) -> None:
        self.number, self.picture, self.run = number, picture, run
        self.key = noise.image_key(picture.seed, noise.content_hash(picture.rgb), picture.sample)
        self.pixels = with_mask(picture.rgb, picture.mask)
        self.unknown = unknown_tiles(self.pixels, run)
        self.left, self.failed = len(self.unknown), False
        self._done, self._feed = 0, _Feed()
        self._bands = tiling.blend_tiles(run.plan, scale, self._feed)

    def take(self, number: int, tile: Float[np.ndarray, "H W k"]) -> None:
        """Take a tile from the network, after the known tiles before it."""
        self.fill(number)
        self._add(tile)
        self.left -= 1

    def fill(self, end: int) -> None:
        """Take the known tiles up to a number."""
        while self._done < end:
            self._add(itself(self.pixels, self.run, self._done))

    def _add(self, tile: Float[np.ndarray, "H W k"]) -> None:
        self._feed.waiting.append((self._done, tile))
        self._done += 1
        if self.picture.progress:
            self.picture.progress(self._done, len(self.run.plan))
        if self._done % len(self.run.plan.lefts) == 0:  # a row of tiles is whole
            y0, rows = next(self._bands)
            out = self.picture.out
            band = out[y0 : y0 + len(rows)]
            band[:] = from_float(rows.mean(-1) if out.ndim == 2 else rows, out.dtype).reshape(band.shape)


Entry = tuple[_Open, int]
"""A picture, and the number of one of its tiles."""


def enlarge_many(
    upscaler: Upscaler, pictures: Iterable[Enlargement], *, batch: Batch = 1, devices: int = 1
) -> Iterator[Finished]:
    """Enlarge pictures, and yield (number, picture, its run or the error that stopped it) as each is finished.

    A picture with a reference, which is fitted to it alone, is enlarged by itself. So is a picture of a call that
    failed, as `Upscaler.enlarge` knows how to take less memory or a higher precision.

    Args:
        upscaler: the model.
        pictures: the pictures, taken from the iterator when tiles are needed. They are held until they are finished.
        batch: tiles per call and device; `auto` takes as many as the memory holds.
        devices: number of this process's devices that share a call.
    Raises:
        ValueError: for a batch below 1, or more devices than there are.
    """
    if batch != "auto" and batch < 1:
        raise ValueError(f"batch: must be at least 1, got {batch}.")
    if not 1 <= devices <= jax.local_device_count():
        raise ValueError(f"devices: must be from 1 to {jax.local_device_count()}, got {devices}.")
    yield from _Stream(upscaler, batch, devices).run(pictures)


class _Stream:
    """The state of `enlarge_many`: the tiles that wait for a call, by kind, and the calls on their way."""

    def __init__(self, upscaler: Upscaler, batch: Batch, devices: int) -> None:
        self.upscaler, self.devices = upscaler, devices
        self.batch: Batch = batch
        self.full: dict[Hashable, int] = {}
        self.waiting: dict[Hashable, list[Entry]] = {}
        self.calls, self.since, self.sizes = 0, dict[Hashable, int](), dict[Hashable, set[int]]()
        self.running: deque[tuple[list[Entry], Future[Any]]] = deque()
        self.compiling: dict[Hashable, Future[Any]] = {}

    def run(self, pictures: Iterable[Enlargement]) -> Iterator[Finished]:
        with ThreadPoolExecutor(AHEAD) as self.threads:
            yield from self._run(pictures)

    def _run(self, pictures: Iterable[Enlargement]) -> Iterator[Finished]:
        coming = iter(pictures)
        begun = [*islice(coming, 2)]
        for number, picture in enumerate(chain(begun, coming)):
            try:
                opened = self._open(number, picture)
            except IMAGE_FAILED as error:
                yield number, picture, error
                continue
            if opened is None:
                yield number, picture, self._alone(picture)
                continue
            yield from self._finished(opened)  # an image without unknown tiles
            kind = self._kind(opened)
            if kind not in self.waiting:
                self.since[kind] = self.calls
            self.full.setdefault(kind, self._call_size(opened, alone=len(begun) == 1))
            self.waiting.setdefault(kind, []).extend((opened, i) for i in opened.unknown)
            yield from self._start_calls()
        yield from self._start_calls(last=True)
        yield from self._collect(0)

    def _call_size(self, opened: _Open, *, alone: bool) -> int:
        """Return the tiles of a full call. The calls of a picture that is alone are even, so that few are copies."""
        size = opened.run.batch * self.devices
        if alone:
            size = even_batch(max(len(opened.unknown), 1), size)
        return -(-size // self.devices) * self.devices

    def _open(self, number: int, picture: Enlargement) -> _Open | None:
        """Plan a picture. Returns None for one that must be enlarged by itself."""
        preset, options = self.upscaler.preset, picture.options
        check_takes_mask(preset, given=picture.mask is not None)
        check_guide(picture.guide, options, picture.rgb.shape[:2])
        if picture.guide.region is not None:
            return None
        run = plan_run(preset, picture.rgb.shape[:2], options)
        batch = self.upscaler.auto_batch(run, picture.guide, self.devices) if self.batch == "auto" else self.batch
        run = replace(run, batch=batch)
        if is_guided(picture.guide, options):
            run = replace(run, scales=Scales(lr_scales(picture.guide, run.options)))
        return _Open(number, picture, run, preset.scale)

    def _kind(self, opened: _Open) -> Hashable:
        """Return what the tiles of one call have in common."""
        run, guide = opened.run, opened.picture.guide
        program = program_key(self.upscaler.preset, run.options, run.remat)
        parts = (run.plan.tile, opened.pixels.shape[2], run.options.tile_noise, guide.alpha_map is None, guide.strip)
        return program, parts, run.scales and run.scales.lr

    def _start_calls(self, *, last: bool = False) -> Iterator[Finished]:
        """Start the calls that are full, and those whose first tile has waited for OPEN_CALLS calls; at last all."""
        while self.waiting:
            oldest = next(iter(self.waiting))
            full = next((kind for kind, tiles in self.waiting.items() if len(tiles) >= self.full[kind]), None)
            if full is None and not last and self.calls - self.since[oldest] <= OPEN_CALLS:
                return
            kind = oldest if full is None else full
            tiles = self.waiting.pop(kind)
            size = self.full[kind]
            if rest := tiles[size:]:
                self.waiting[kind] = rest
            self.calls += full is not None
            self.since[kind] = self.calls
            entries = [entry for entry in tiles[:size] if not entry[0].failed]
            if entries:
                self._start(entries, kind)
                yield from self._collect(AHEAD)

    def _start(self, entries: list[Entry], kind: Hashable) -> None:
        # A short call is filled up with copies of its last tile where that saves another compilation.
        compiled = self.sizes.setdefault(kind, set())
        even = -(-len(entries) // self.devices) * self.devices
        size = min((size for size in compiled if size >= even), default=even)
        compiled.add(size)
        filled, first = entries + entries[-1:] * (size - len(entries)), self.compiling.get((kind, size))
        self._program(filled[0][0].run)  # now, so that two threads do not both make it
        call = self.threads.submit(self._call_after, first, filled)
        self.compiling.setdefault((kind, size), call)
        self.running.append((entries, call))

    def _call_after(self, first: Future[Any] | None, filled: list[Entry]) -> Any:
        """Start one call, after the first one of its kind and size, which compiles for all."""
        if first is not None:
            wait([first])
        return self._call(filled)

    def _program(self, run: ImageRun) -> tuple[Callable[..., Any], Params]:
        compiled = self.upscaler.compiled(run.options, run.remat, None, self.devices)
        return compiled, self.upscaler.weights(run.options.precision, self.devices)

    def _call(self, filled: list[Entry]) -> Any:
        """Start one call."""
        tiles = np.stack([tiling.cut(opened.pixels, opened.run.plan, i) for opened, i in filled])
        keys, origins = place_noise([(opened.key, opened.run, i) for opened, i in filled])
        scale, run = self.upscaler.preset.scale, filled[0][0].run
        guides = ()
        if run.scales is not None:
            cut = [cut_guides(one.picture.guide, run.scales, one.run.plan, [i], scale) for one, i in filled]
            weights = [one.weight for one in cut if one.weight is not None]
            weight = np.concatenate(weights) if weights else None
            guides = (TileGuides(np.concatenate([one.scale for one in cut]), weight, None),)
        program, weights = self._program(run)
        return program(weights, keys, tiles, origins, *guides)

    def _collect(self, most: int) -> Iterator[Finished]:
        """Wait for the oldest calls until at most `most` run."""
        while len(self.running) > most:
            entries, call = self.running.popleft()
            try:
                results = np.asarray(call.result())
                check_finite(results)
            except IMAGE_FAILED:
                yield from self._each_alone(entries)
                continue
            for (opened, i), tile in zip(entries, results, strict=False):
                if not opened.failed:
                    opened.take(i, tile)
                    yield from self._finished(opened)

    def _finished(self, opened: _Open) -> Iterator[Finished]:
        if opened.left == 0:
            opened.fill(len(opened.run.plan))
            yield opened.number, opened.picture, opened.run

    def _each_alone(self, entries: list[Entry]) -> Iterator[Finished]:
        for opened in dict.fromkeys(opened for opened, _ in entries if not opened.failed):
            opened.failed = True
            yield opened.number, opened.picture, self._alone(opened.picture)

    def _alone(self, picture: Enlargement) -> ImageRun | BaseException:
        settings = {name: getattr(picture, name) for name in ("guide", "seed", "sample", "mask", "progress")}
        try:
            return self.upscaler.enlarge(picture.rgb, picture.out, picture.options, batch=self.batch, **settings)
        except IMAGE_FAILED as error:
            return error


def upscale_many(
    upscaler: Upscaler,
    images: Iterable[Any],
    *,
    seed: int = 0,
    sample: int = 0,
    batch: Batch = 1,
    devices: int | None = None,
    calibration: str | Path | Calibration | None = None,
    preset: str | None = None,
    **options: Any,
) -> Iterator[Num[np.ndarray, "H W *c"]]:
    """Enlarge many images, of any sizes, and yield the results in their order.

    The tiles of several images share a call of the network, and all devices of this process share the calls. Each
    result is that of `Upscaler.upscale`, up to the rounding of another batch size.

    Args:
        upscaler: the model.
        images: the images, as `Upscaler.upscale` takes them. A few of them are held at a time.
        seed, sample, calibration, preset: see `Upscaler.upscale`.
        batch: tiles per call and device; `auto` takes as many as the memory holds.
        devices: number of devices; None is all of this process.
        **options: fields of `Options`.
    Raises:
        TypeError, ValueError, MemoryError, NotFiniteError: as `Upscaler.upscale`, when the image's turn comes.
    """
    chosen = upscaler.choose("upscale_many", options, preset, calibration)

    def pictures() -> Iterator[Enlargement]:
        for given in images:
            image = as_array(given)
            try:
                rgb, grey = to_float_rgb(image)
            except (TypeError, ValueError) as error:
                refused.append(error)  # the results of the images before it come first
                return
            height, width = (upscaler.preset.scale * n for n in rgb.shape[:2])
            out = np.empty((height, width) if grey else (height, width, 3), image.dtype)
            yield Enlargement(rgb, out, chosen, seed=seed, sample=sample)

    finished: dict[int, Enlargement | BaseException] = {}
    following, refused = 0, list[Exception]()
    for number, picture, run in enlarge_many(
        upscaler, pictures(), batch=batch, devices=devices or jax.local_device_count()
    ):
        finished[number] = run if isinstance(run, BaseException) else picture
        while following in finished:
            found = finished.pop(following)
            if isinstance(found, BaseException):
                raise found
            yield found.out
            following += 1
    if refused:
        raise refused[0]

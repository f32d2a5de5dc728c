"""Results: their photographs are read, enlarged and written, with sidecars that record how to make them again."""

import math
import os
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from jaxtyping import Float, Num, UInt8, UInt16

from jaxsr.batch.finishing import finish_pixels
from jaxsr.batch.jobs import Job
from jaxsr.batch.recipe import Recipe, read_mask
from jaxsr.batch.request import Request
from jaxsr.batch.sidecar import describe, inner_record
from jaxsr.batch.size import cropped, final_size, is_changed, is_resized, network_size, result_bytes, result_shape
from jaxsr.batch.strip import new_strip, panels
from jaxsr.batch.write import write_result
from jaxsr.choices import Batch
from jaxsr.errors import IMAGE_FAILED
from jaxsr.guidance.guide import Guide, is_guided
from jaxsr.imaging.files import (
    JPEG,
    WEBP,
    Photo,
    check_side,
    pixel_dtype,
    read_photo,
    too_long_for_jpeg,
    with_metadata,
)
from jaxsr.imaging.lanczos import resize_into
from jaxsr.imaging.memory import check_memory
from jaxsr.imaging.metadata import fits_icc
from jaxsr.imaging.pixels import Pixels, from_float
from jaxsr.upscaling.inpainting import check_mask
from jaxsr.upscaling.plan import ImageRun
from jaxsr.upscaling.stream import Enlargement, enlarge_many
from jaxsr.upscaling.upscaler import Progress, Upscaler

WRITERS = max(1, min(8, (os.cpu_count() or 1) // 2))
"""Threads that write results: encoding takes one core, and longer than a fast device needs for a picture."""
WAITING = 1 + WRITERS
"""Most finished results that wait to be written."""
_ALPHA_BAND = 64  # input rows per band
_LANCZOS_REACH = 3  # input pixels that the kernel reaches beyond a band


@dataclass(frozen=True)
class Made:
    """The facts that a command reports about a finished result.

    Attributes:
        consistency: LR-consistency of the result in dB, for a strip of every panel; NaN with a mask.
        drift: `jaxsr.metrics.consistency.colour_drift` of the result in grey levels, for a strip the largest; NaN with
            a mask. Both numbers are those of the network's size.
        notes: losses of the photograph on its way, and what speaks against a fitted alpha. Each text completes a
            sentence that begins with "the image".
        run: the run that was made, with the numbers of its guidance.
    """

    consistency: tuple[float, ...]
    drift: float
    notes: tuple[str, ...]
    run: ImageRun


@dataclass(eq=False)
class Begun:
    """A result whose photograph has been read, and whose pixels are still to be filled in.

    Attributes:
        job, request, photo: what the result is made of.
        pixels: the result's pixels.
        colour: the part of `pixels` that shows colours, (H, W), (H, W, 3), or (H, W, panels, 3).
        canvas: the array that the network fills in: `colour`, or one of the network's own size and of 16 bits, if the
            result is changed afterwards.
        pictures: what the network gets, one for each part of `canvas`.
    """

    job: Job
    request: Request
    photo: Photo
    pixels: Pixels
    colour: Num[np.ndarray, "H W *c"]
    canvas: Num[np.ndarray, "m n *c"]
    pictures: tuple[Enlargement, ...]
    began: float


def begin(
    upscaler: Upscaler,
    job: Job,
    request: Request,
    recipe: Recipe,
    *,
    read: Callable[[Path], Photo] = read_photo,
    progress: Progress | None = None,
) -> Begun:
    """Read a photograph, and allocate its result.

    Memory holds the result once, in the depth of its file.

    Args:
        upscaler: the model.
        job: the paths of the photograph and of its result.
        request: the request that decides the result.
        recipe: the decoded guide files of the request.
        read: reads the photograph.
        progress: callback with the arguments (tiles done, tiles in total).
    Raises:
        ImageFileError, ValueError, OSError, MemoryError: each with one sentence as its message.
    """
    scale, began = upscaler.preset.scale, time.perf_counter()
    photo = with_metadata(cropped(read(job.source), request.crop), request.metadata or "keep")
    check_side(job.target, max(result_shape(photo, scale, request)))
    check_memory(result_bytes(photo, scale, request, job.target), "its result", str(job.source))
    rgb = photo.rgb
    if photo.alpha is not None:
        from jaxsr.imaging.transparency import bleed  # scipy.ndimage, for transparent photographs only

        rgb = bleed(rgb, photo.alpha)
    pixels, colour = _canvas(photo, scale, request, job)
    canvas = colour
    if is_changed(photo, scale, request):
        canvas = np.empty((*network_size(rgb.shape[:2], scale), *colour.shape[2:]), np.uint16)
    mask = check_mask(upscaler.preset, read_mask(request), rgb.shape[:2])
    choices = {"seed": request.seed, "sample": request.sample, "mask": mask}
    guide = recipe.guide(request, rgb, scale)
    if request.panels:
        count = len(request.panels)
        pictures = tuple(
            Enlargement(
                rgb,
                canvas[:, :, i],
                panel.options,
                guide if is_guided(guide, panel.options) else Guide(),
                progress=progress and _part_of(progress, i, count),
                **choices,
            )
            for i, panel in enumerate(request.panels)
        )
    else:
        pictures = (Enlargement(rgb, canvas, request.options, guide, progress=progress, **choices),)
    return Begun(job, request, photo, pixels, colour, canvas, pictures, began)


def _part_of(progress: Progress, number: int, count: int) -> Progress:
    """Make the callback of one of `count` pictures of a result, which have equally many tiles."""
    return lambda done, total: progress(number * total + done, count * total)


def finish(upscaler: Upscaler, begun: Begun, done: Sequence[ImageRun], *, accept_license: bool = False) -> Made:
    """Write a result with its sidecar, after the runs `done`, one for each picture, have filled in its canvas.

    `accept_license` says whether the command in the sidecar accepts a licence. Raises ImageFileError and OSError.
    """
    job, request, photo, pixels, first = begun.job, begun.request, begun.photo, begun.pixels, begun.pictures[0]
    canvas, scale = begun.canvas, upscaler.preset.scale
    record = describe(upscaler, request, done, accept_license=accept_license)
    record |= {"size": [pixels.shape[1], pixels.shape[0]]}
    found = finish_pixels(request, photo, first, canvas, begun.colour, scale)
    consistency, drift = found.consistency, found.drift
    record |= found.facts
    numbers = [round(value, 3) if math.isfinite(value) else None for value in consistency]
    lost = losses(photo, pixels, job.target, strip=bool(request.labels))
    fits = [upscaler.fit_notes(run, one.guide) for run, one in zip(done, begun.pictures, strict=True)]
    notes = (*lost, *dict.fromkeys(note for found in fits for note in found))
    record |= {"lr_consistency_db": numbers if request.labels else numbers[0]}
    record |= {"colour_drift": None if math.isnan(drift) else round(drift, 3)}
    seconds = round(time.perf_counter() - begun.began, 3)
    record |= {"notes": [f"The image {note}." for note in notes], "seconds": seconds}
    if (request.metadata or "keep") == "keep":
        photo = replace(photo, record=inner_record(upscaler, request, done))
    if job.target.suffix.lower() in JPEG:
        photo = replace(photo, **dict.fromkeys(too_long_for_jpeg(photo)))
    write_result(job, pixels, photo, record, quality=request.quality or 95)
    return Made(consistency, drift, notes, done[0])


def make_many(
    upscaler: Upscaler,
    begun: Iterable[Begun],
    *,
    batch: Batch = 1,
    devices: int = 1,
    accept_license: bool = False,
) -> Iterator[tuple[Begun, Made | BaseException]]:
    """Make results together, and yield each with its facts, or with the error that stopped it, once it is written.

    While the devices compute, the next photograph is read and results are written in threads of their own. See
    `jaxsr.upscaling.stream.enlarge_many` for `batch` and `devices`.
    """
    open_ones: dict[int, _Unfinished] = {}

    def pictures() -> Iterator[Enlargement]:
        number = 0
        for begun_one in begun:
            one = _Unfinished(begun_one)
            for place, picture in enumerate(begun_one.pictures):
                open_ones[number] = one
                one.places[number] = place
                number += 1
                yield picture

    def write(one: Begun, runs: Sequence[ImageRun | BaseException]) -> Made | BaseException:
        if failed := [run for run in runs if isinstance(run, BaseException)]:
            return failed[0]
        try:
            done = [run for run in runs if not isinstance(run, BaseException)]
            return finish(upscaler, one, done, accept_license=accept_license)
        except IMAGE_FAILED as error:
            return error

    writing: deque[tuple[Begun, Future[Made | BaseException]]] = deque()
    with ThreadPoolExecutor(WRITERS) as writer:
        for number, _, run in enlarge_many(upscaler, pictures(), batch=batch, devices=devices):
            one = open_ones.pop(number)
            one.runs[one.places[number]] = run
            if len(one.runs) < len(one.begun.pictures):
                continue
            runs = [one.runs[place] for place in range(len(one.runs))]
            writing.append((one.begun, writer.submit(write, one.begun, runs)))
            while writing and (len(writing) > WAITING or writing[0][1].done()):
                finished, future = writing.popleft()
                yield finished, future.result()
        while writing:
            finished, future = writing.popleft()
            yield finished, future.result()


class _Unfinished:
    """A result on its way: the places of its pictures by their numbers in the stream, and the runs that are done."""

    def __init__(self, begun: Begun) -> None:
        self.begun = begun
        self.places: dict[int, int] = {}
        self.runs: dict[int, ImageRun | BaseException] = {}


def losses(photo: Photo, pixels: Pixels, target: Path, *, strip: bool) -> tuple[str, ...]:
    """List the losses of the photograph on its way into the file `target`, which will hold `pixels`.

    Returns () if nothing is lost.
    """
    lost, jpeg = photo.lost, target.suffix.lower() in JPEG
    holder = "a strip" if strip else "JPEG" if jpeg else "WebP"
    if (strip or jpeg) and photo.alpha is not None and photo.alpha.min() < 1:
        lost += (f"lost transparency ({holder} cannot hold it)",)
    if jpeg and (long := too_long_for_jpeg(photo)):
        lost += (f"lost its {' and '.join(name.upper() for name in long)} (too long for JPEG)",)
    if photo.dpi and target.suffix.lower() in WEBP:
        lost += ("lost its pixels per inch (WebP cannot hold them)",)
    if photo.icc and not fits_icc(photo.icc, grey=pixels.shape[-1] < 3):
        lost += ("lost its colour profile, which is for another kind of pixels",)
    if photo.depth > 8 * pixels.itemsize:
        lost += (f"lost depth beyond 8 bits a channel ({holder} cannot hold it)",)
    return lost


def _canvas(photo: Photo, scale: int, request: Request, job: Job) -> tuple[Pixels, Num[np.ndarray, "H W *c"]]:
    """Allocate the pixels of the result, with alpha and labels filled in, and a view of the colour to be filled in."""
    height, width = final_size(photo.rgb.shape[:2], scale, request)
    if request.labels:
        strip = new_strip(height, width, request.labels)
        return strip, panels(strip, len(request.labels))
    pixels = np.empty(result_shape(photo, scale, request), pixel_dtype(job.target, photo.depth))
    if photo.alpha is not None and is_resized(photo.rgb.shape[:2], scale, request):
        resize_into(photo.alpha, pixels[..., -1])
    elif photo.alpha is not None:
        enlarge_alpha(photo.alpha, scale, pixels[..., -1])
    return pixels, pixels[..., 0] if photo.grey else pixels[..., :3]


def enlarge_alpha(
    alpha: Float[np.ndarray, "h w"], scale: int, out: UInt8[np.ndarray, "H W"] | UInt16[np.ndarray, "H W"]
) -> None:
    """Enlarge an alpha channel by bands, as `upscale_alpha` does, and write it to `out` in the type of `out`.

    The whole channel in floating point would be larger than the result.
    """
    from jaxsr.imaging.transparency import upscale_alpha

    for top in range(0, len(alpha), _ALPHA_BAND):
        first, end = max(top - _LANCZOS_REACH, 0), min(top + _ALPHA_BAND, len(alpha))
        band = upscale_alpha(alpha[first : end + _LANCZOS_REACH], scale)
        out[scale * top : scale * end] = from_float(band[scale * (top - first) : scale * (end - first)], out.dtype)

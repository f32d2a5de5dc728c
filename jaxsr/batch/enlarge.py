"""Results: their photographs are read, enlarged and written, with sidecars that record how to make them again."""

import math
import os
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float, Num, UInt8, UInt16

from jaxsr.batch.jobs import Job
from jaxsr.batch.recipe import Recipe, read_mask
from jaxsr.batch.request import Request
from jaxsr.batch.sidecar import describe
from jaxsr.batch.strip import new_strip, panels, strip_shape
from jaxsr.batch.write import write_result
from jaxsr.choices import Batch
from jaxsr.errors import IMAGE_FAILED
from jaxsr.imaging.files import JPEG, WEBP, Photo, check_side, pixel_dtype, read_photo, with_metadata
from jaxsr.imaging.memory import check_memory
from jaxsr.imaging.pixels import Pixels, from_float
from jaxsr.metrics.consistency import lr_consistency_by_bands
from jaxsr.upscaling.inpainting import check_mask, keep_known
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
        notes: losses of the photograph on its way, and what speaks against a fitted alpha. Each text completes a
            sentence that begins with "the image".
        run: the run that was made, with the numbers of its guidance.
    """

    consistency: tuple[float, ...]
    notes: tuple[str, ...]
    run: ImageRun


@dataclass(eq=False)
class Begun:
    """A result whose photograph has been read, and whose pixels are still to be filled in.

    Attributes:
        job, request, photo: what the result is made of.
        pixels: the result's pixels.
        picture: what the network gets, and the part of `pixels` that it fills in.
    """

    job: Job
    request: Request
    photo: Photo
    pixels: Pixels
    picture: Enlargement
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
    photo = with_metadata(read(job.source), request.metadata or "keep")
    check_side(job.target, max(result_shape(photo, scale, request)))
    check_memory(result_bytes(photo, scale, request, job.target), "its result", str(job.source))
    rgb = photo.rgb
    if photo.alpha is not None:
        from jaxsr.imaging.transparency import bleed  # scipy.ndimage, for transparent photographs only

        rgb = bleed(rgb, photo.alpha)
    pixels, colour = _canvas(photo, scale, request, job)
    mask = check_mask(upscaler.preset, read_mask(request), rgb.shape[:2])
    choices = {"seed": request.seed, "sample": request.sample, "mask": mask, "progress": progress}
    picture = Enlargement(rgb, colour, request.options, recipe.guide(request, rgb, scale), **choices)
    return Begun(job, request, photo, pixels, picture, began)


def finish(upscaler: Upscaler, begun: Begun, done: ImageRun, *, accept_license: bool = False) -> Made:
    """Write a result with its sidecar, after the run `done` has filled in its pixels.

    `accept_license` says whether the command in the sidecar accepts a licence. Raises ImageFileError and OSError.
    """
    job, request, photo, pixels, picture = begun.job, begun.request, begun.photo, begun.pixels, begun.picture
    colour, rgb = picture.out, picture.rgb
    if picture.mask is None:
        consistency = _consistency(colour, rgb, upscaler.preset.scale)
    else:
        keep_known(colour, photo.rgb[..., 0] if colour.ndim == 2 else photo.rgb, picture.mask)
        consistency = [math.nan] * (colour.shape[2] if colour.ndim == 4 else 1)
    record = describe(upscaler, request, done, accept_license=accept_license)
    record |= {"size": [pixels.shape[1], pixels.shape[0]]}
    numbers = [round(value, 3) if math.isfinite(value) else None for value in consistency]
    notes = (*losses(photo, pixels, job.target, strip=bool(request.strip)), *upscaler.fit_notes(done, picture.guide))
    record |= {"lr_consistency_db": numbers if request.strip else numbers[0]}
    seconds = round(time.perf_counter() - begun.began, 3)
    record |= {"notes": [f"The image {note}." for note in notes], "seconds": seconds}
    write_result(job, pixels, photo, record, quality=request.quality or 95)
    return Made(tuple(consistency), notes, done)


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
    open_ones: dict[int, Begun] = {}

    def pictures() -> Iterator[Enlargement]:
        for number, one in enumerate(begun):
            open_ones[number] = one
            yield one.picture

    def write(one: Begun, run: ImageRun | BaseException) -> Made | BaseException:
        try:
            return run if isinstance(run, BaseException) else finish(upscaler, one, run, accept_license=accept_license)
        except IMAGE_FAILED as error:
            return error

    writing: deque[tuple[Begun, Future[Made | BaseException]]] = deque()
    with ThreadPoolExecutor(WRITERS) as writer:
        for number, _, run in enlarge_many(upscaler, pictures(), batch=batch, devices=devices):
            one = open_ones.pop(number)
            writing.append((one, writer.submit(write, one, run)))
            while writing and (len(writing) > WAITING or writing[0][1].done()):
                one, future = writing.popleft()
                yield one, future.result()
        while writing:
            one, future = writing.popleft()
            yield one, future.result()


def losses(photo: Photo, pixels: Pixels, target: Path, *, strip: bool) -> tuple[str, ...]:
    """List the losses of the photograph on its way into the file `target`, which will hold `pixels`.

    Returns () if nothing is lost.
    """
    lost, jpeg = photo.lost, target.suffix.lower() in JPEG
    holder = "a strip" if strip else "JPEG" if jpeg else "WebP"
    if (strip or jpeg) and photo.alpha is not None and photo.alpha.min() < 1:
        lost += (f"lost transparency ({holder} cannot hold it)",)
    if photo.dpi and target.suffix.lower() in WEBP:
        lost += ("lost its pixels per inch (WebP cannot hold them)",)
    if photo.depth > 8 * pixels.itemsize:
        lost += (f"lost depth beyond 8 bits a channel ({holder} cannot hold it)",)
    return lost


def _canvas(photo: Photo, scale: int, request: Request, job: Job) -> tuple[Pixels, Num[np.ndarray, "H W *c"]]:
    """Allocate the pixels of the result, with alpha and labels filled in, and a view of the colour to be filled in."""
    height, width = (scale * n for n in photo.rgb.shape[:2])
    if request.strip:
        strip = new_strip(height, width, request.strip)
        return strip, panels(strip, len(request.strip))
    pixels = np.empty(result_shape(photo, scale, request), pixel_dtype(job.target, photo.depth))
    if photo.alpha is not None:
        enlarge_alpha(photo.alpha, scale, pixels[..., -1])
    return pixels, pixels[..., 0] if photo.grey else pixels[..., :3]


def _consistency(colour: Num[np.ndarray, "H W *c"], rgb: Float[np.ndarray, "h w 3"], scale: int) -> list[float]:
    """Compute the LR-consistency of every panel, in dB."""
    if colour.ndim == 4:
        return [lr_consistency_by_bands(colour[:, :, i], rgb, scale) for i in range(colour.shape[2])]
    grey = colour.ndim == 2
    return [lr_consistency_by_bands(colour[..., None] if grey else colour, rgb[..., :1] if grey else rgb, scale)]


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


def result_bytes(photo: Photo, scale: int, request: Request, target: Path) -> int:
    """Estimate the bytes that a result takes: its pixels, the encoder's copy of them, and the file."""
    return 3 * math.prod(result_shape(photo, scale, request)) * np.dtype(pixel_dtype(target, photo.depth)).itemsize


def result_shape(photo: Photo, scale: int, request: Request) -> tuple[int, int, int]:
    """Return (height, width, channels) of the enlarged photograph, or of its strip."""
    height, width = (scale * n for n in photo.rgb.shape[:2])
    if request.strip:
        return strip_shape(height, width, len(request.strip))
    return height, width, (1 if photo.grey else 3) + (photo.alpha is not None)

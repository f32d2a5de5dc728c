"""One result: its photograph is read, enlarged and written, with a sidecar that records how to make it again."""

import math
import time
from collections.abc import Callable
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
from jaxsr.imaging.files import JPEG, WEBP, Photo, check_side, pixel_dtype, read_photo, with_metadata
from jaxsr.imaging.memory import check_memory
from jaxsr.imaging.pixels import Pixels, from_float
from jaxsr.metrics.consistency import lr_consistency_by_bands
from jaxsr.upscaling.inpainting import check_mask, keep_known
from jaxsr.upscaling.plan import ImageRun
from jaxsr.upscaling.upscaler import Progress, Upscaler

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


def make(
    upscaler: Upscaler,
    job: Job,
    request: Request,
    recipe: Recipe,
    *,
    read: Callable[[Path], Photo] = read_photo,
    progress: Progress | None = None,
    accept_license: bool = False,
) -> Made:
    """Read, enlarge and write one photograph, with its sidecar.

    Memory holds the result once, in the depth of its file.

    Args:
        upscaler: the model.
        job: the paths of the photograph and of its result.
        request: the request that decides the result.
        recipe: the decoded guide files of the request.
        read: reads the photograph.
        progress: callback with the arguments (tiles done, tiles in total).
        accept_license: whether the command in the sidecar accepts a licence.
    Raises:
        ImageFileError, ValueError, OSError, NotFiniteError, MemoryError: each with one sentence as its message.
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
    choices = {"guide": recipe.guide(request, rgb, scale), "seed": request.seed, "sample": request.sample}
    mask = check_mask(upscaler.preset, read_mask(request), rgb.shape[:2])
    done = upscaler.enlarge(rgb, colour, request.options, **choices, batch=request.batch, mask=mask, progress=progress)
    if mask is None:
        consistency = _consistency(colour, rgb, scale)
    else:
        keep_known(colour, photo.rgb[..., 0] if colour.ndim == 2 else photo.rgb, mask)
        consistency = [math.nan] * (colour.shape[2] if colour.ndim == 4 else 1)
    record = describe(upscaler, request, done, accept_license=accept_license)
    record |= {"size": [pixels.shape[1], pixels.shape[0]]}
    numbers = [round(value, 3) if math.isfinite(value) else None for value in consistency]
    notes = (*losses(photo, pixels, job.target, strip=bool(request.strip)), *upscaler.fit_notes(done, choices["guide"]))
    record |= {"lr_consistency_db": numbers if request.strip else numbers[0]}
    record |= {"notes": [f"The image {note}." for note in notes], "seconds": round(time.perf_counter() - began, 3)}
    write_result(job, pixels, photo, record, quality=request.quality or 95)
    return Made(tuple(consistency), notes, done)


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

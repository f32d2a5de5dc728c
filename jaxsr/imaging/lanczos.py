"""Lanczos resizing of pixels of any depth, by Pillow in floating point, band by band."""

import math

import numpy as np
from jaxtyping import Num
from PIL import Image

from jaxsr.imaging.pixels import from_float

_BAND = 128  # rows of the result
_REACH = 3  # of the kernel, in pixels of the coarser grid


def resize_into(pixels: Num[np.ndarray, "h w *c"], out: Num[np.ndarray, "H W *c"]) -> None:
    """Resize pixels by Lanczos into `out`, antialiased where that is smaller, and clip and round them to its type.

    Memory holds a few bands of rows as floats besides the two arrays.

    Args:
        pixels: (h, w) or (h, w, ...), uint8, uint16, or float in [0, 1].
        out: the array to fill, with the same further axes.
    """
    peak = np.iinfo(pixels.dtype).max if np.issubdtype(pixels.dtype, np.integer) else 1
    height, (rows, columns) = pixels.shape[0], out.shape[:2]
    ratio = height / rows
    margin = math.ceil(_REACH * max(ratio, 1)) + 1
    for top in range(0, rows, _BAND):
        end = min(top + _BAND, rows)
        first, last = max(math.floor(top * ratio) - margin, 0), min(math.ceil(end * ratio) + margin, height)
        box = (0, top * ratio - first, columns, min(end * ratio - first, last - first))
        for index in np.ndindex(pixels.shape[2:]):
            band = Image.fromarray(pixels[first:last, :, *index].astype(np.float32) / np.float32(peak))
            wide = band.resize((columns, last - first), Image.Resampling.LANCZOS)
            resized = np.asarray(wide.resize((columns, end - top), Image.Resampling.LANCZOS, box=box))
            out[top:end, :, *index] = from_float(resized, out.dtype)

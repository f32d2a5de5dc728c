"""YCbCr in TIFF files (TIFF 6.0, section 21): samples decoded strip by strip, so that damage shows, and made RGB."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import UInt8

from jaxsr.imaging.pixels import ImageFileError

if TYPE_CHECKING:
    from tifffile import TiffPage

_COEFFICIENTS, _SUBSAMPLING, _REFERENCE = 529, 530, 532
_BT601 = (0.299, 0.587, 0.114)
_FULL = (0.0, 255.0, 128.0, 255.0, 128.0, 255.0)
_FACTORS = (1, 2, 4)
_NEAR_ONE = 0.02
_OF_BYTES = {1, 5, 8, 32773, 32946, 34925, 50000}
"""Compressions of bytes, whatever these mean: none, LZW, Deflate (two numbers), PackBits, LZMA, Zstandard."""


def read_ycbcr(page: "TiffPage", data: bytes, source: str) -> UInt8[np.ndarray, "h w 3"]:
    """Decode the YCbCr samples of a page, of 8 bits, to RGB. The colours of coarser samples are repeated.

    Raises ImageFileError for a layout without support, and various errors for damaged data.
    """
    width, height = page.imagewidth, page.imagelength
    factors = tuple(page.tags.valueof(_SUBSAMPLING, (2, 2)))
    if _SUBSAMPLING not in page.tags and _is_whole(page, data):
        factors = (1, 1)  # as many writers mean it, though the standard says (2, 2)
    meaning = page.tags.valueof(_COEFFICIENTS), page.tags.valueof(_REFERENCE)
    if factors == (1, 1) and _SUBSAMPLING in page.tags:
        samples = page.asarray()
        samples = np.moveaxis(samples, 0, -1) if page.planarconfig == 2 else samples
        return to_rgb(samples.reshape(height, width, 3), *meaning)
    whole = page.planarconfig == 1 and page.predictor == 1 and page.compression in _OF_BYTES
    if not whole or len(factors) != 2 or not set(factors) <= {*_FACTORS}:
        name = getattr(page.compression, "name", page.compression)
        raise ImageFileError(
            f"{source}: YCbCr with coarser colours in TIFF compression {name} is not supported; save it as RGB"
        )
    rows, columns = _chunk(page)
    samples = np.empty((height, width, 3), np.uint8)
    for number, (at, size) in enumerate(zip(page.dataoffsets, page.databytecounts, strict=True)):
        top, left = _corner(number, rows, columns, width)
        if top >= height:
            break
        tall = rows if page.is_tiled else min(rows, height - top)
        raw = _decoded(page, data[at : at + size], _bytes(rows, columns, factors))  # the last strip may be a whole one
        if len(raw) < _bytes(tall, columns, factors):
            raise ValueError("its pixels end too early")
        block = _units(raw[: _bytes(tall, columns, factors)], tall, columns, factors)
        part = samples[top : top + rows, left : left + columns]
        part[:] = block[: part.shape[0], : part.shape[1]]
    return to_rgb(samples, *meaning)


def to_rgb(
    samples: UInt8[np.ndarray, "h w 3"], coefficients: object = None, reference: object = None
) -> UInt8[np.ndarray, "h w 3"]:
    """Turn YCbCr into RGB, by the luma coefficients and the reference levels of a file (defaults: BT.601, full range).

    Numbers of a file that cannot be right give the defaults.
    """
    red, green, blue = _numbers(coefficients, _BT601)
    if min(red, green, blue) <= 0 or abs(red + green + blue - 1) > _NEAR_ONE:
        red, green, blue = _BT601
    levels = _numbers(reference, _FULL)
    if any(levels[i + 1] <= levels[i] for i in (0, 2, 4)):
        levels = _FULL
    out = np.empty_like(samples)
    for row, values in enumerate(samples):  # row by row, so that memory holds no picture in floating point
        y, cb, cr = (
            (values[:, i] - np.float32(levels[2 * i])) * np.float32(span / (levels[2 * i + 1] - levels[2 * i]))
            for i, span in enumerate((255, 127, 127))
        )
        r, b = y + (2 - 2 * red) * cr, y + (2 - 2 * blue) * cb
        g = (y - blue * b - red * r) / green
        out[row] = np.rint(np.clip(np.stack([r, g, b], -1), 0, 255))
    return out


def _numbers(given: object, default: Sequence[float]) -> Sequence[float]:
    """Return a file's numbers, plain or as pairs of a fraction; the default if they are not as many, or no numbers."""
    try:
        numbers = [float(number) for number in given]  # pyright: ignore[reportGeneralTypeIssues]
        if len(numbers) == 2 * len(default):
            numbers = [top / bottom for top, bottom in zip(numbers[::2], numbers[1::2], strict=True)]
    except (TypeError, ValueError, ZeroDivisionError):
        return default
    return numbers if len(numbers) == len(default) and np.isfinite(numbers).all() else default


def _chunk(page: "TiffPage") -> tuple[int, int]:
    """Return rows and columns of a tile, or of a strip."""
    if page.is_tiled:
        return page.tilelength, page.tilewidth
    return min(page.rowsperstrip, page.imagelength), page.imagewidth


def _corner(number: int, rows: int, columns: int, width: int) -> tuple[int, int]:
    across = -(-width // columns)
    return number // across * rows, number % across * columns


def _bytes(rows: int, columns: int, factors: Sequence[int]) -> int:
    across, down = factors
    return -(-rows // down) * -(-columns // across) * (across * down + 2)


def _is_whole(page: "TiffPage", data: bytes) -> bool:
    """Return whether the first strip or tile holds three bytes for every pixel."""
    if page.planarconfig != 1 or page.compression not in _OF_BYTES:
        return False
    rows, columns = _chunk(page)
    size, at = 3 * rows * columns, page.dataoffsets[0]
    return len(_decoded(page, data[at : at + page.databytecounts[0]], size)) == size


def _decoded(page: "TiffPage", chunk: bytes, most: int) -> bytes:
    """Decompress the first `most` bytes of a strip or tile, or all that it holds."""
    import imagecodecs
    from tifffile import TIFF

    if page.fillorder == 2:
        chunk = bytes(imagecodecs.bitorder_decode(chunk))
    raw = chunk if page.compression == 1 else TIFF.DECOMPRESSORS[page.compression](chunk, out=most)
    return bytes(raw[:most])


def _units(raw: bytes, rows: int, columns: int, factors: Sequence[int]) -> UInt8[np.ndarray, "p q 3"]:
    """Take data units apart: each has the luma of a block of pixels, row by row, then its Cb and its Cr."""
    across, down = factors
    units = np.frombuffer(raw, np.uint8).reshape(-(-rows // down), -(-columns // across), across * down + 2)
    luma = units[..., :-2].reshape(*units.shape[:2], down, across).swapaxes(1, 2)
    colours = units[..., -2:].repeat(down, axis=0).repeat(across, axis=1)
    return np.concatenate([luma.reshape(*colours.shape[:2], 1), colours], axis=-1)

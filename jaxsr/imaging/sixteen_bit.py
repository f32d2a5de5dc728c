"""Files that Pillow cannot handle: 16-bit PNG and TIFF, exact to the last bit, and TIFF files with their EXIF.

Pillow silently reads 16-bit colour as 8 bit and cannot write it. imagecodecs (libpng, libtiff) decodes such files; it
is imported only when one occurs. No library writes the EXIF directory into a 16-bit TIFF. Therefore `encode_tiff`
writes plain TIFF 6.0 itself: strips of deflate with the horizontal predictor, which every TIFF reader supports.
"""

import struct
import zlib
from io import BytesIO

import numpy as np
from jaxtyping import UInt8, UInt16
from PIL.TiffImagePlugin import ImageFileDirectory_v2

from jaxsr.imaging.metadata import (
    EXIF_PREFIX,
    ICC_PROFILE,
    LONG,
    MAIN,
    SHORT,
    UNDEFINED,
    ByteOrder,
    pack_directories,
    parse_directories,
    tiff_header,
)

_STRIP_BYTES = 2**20
_CLASSIC_TIFF_BYTES = 2**32
_PNG_FIRST_CHUNK_END = 33  # signature and IHDR


def decode_png(data: bytes) -> UInt8[np.ndarray, "h w c"] | UInt16[np.ndarray, "h w c"]:
    """Decode a PNG at its own depth to 1 to 4 channels (grey, grey+alpha, RGB, RGBA), with tRNS expanded to alpha.

    Raises RuntimeError (imagecodecs.PngError) if the data is damaged or cut short.
    """
    import imagecodecs

    pixels = imagecodecs.png_decode(data)
    return pixels if pixels.ndim == 3 else pixels[..., None]


def encode_png16(pixels: UInt16[np.ndarray, "h w c"], icc: bytes | None, exif: bytes | None) -> bytes:
    """Encode 1 to 4 channels as a 16-bit PNG with its ICC profile and EXIF block."""
    import imagecodecs

    # Level 1: the low byte of a photograph is noise, so that a higher level takes longer but saves no space.
    data = bytes(imagecodecs.png_encode(pixels, level=1))
    metadata = _png_chunk(b"iCCP", b"ICC\0\0" + zlib.compress(icc)) if icc else b""
    metadata += _png_chunk(b"eXIf", exif.removeprefix(EXIF_PREFIX)) if exif else b""
    return data[:_PNG_FIRST_CHUNK_END] + metadata + data[_PNG_FIRST_CHUNK_END:]


def _png_chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">L", len(content)) + name + content + struct.pack(">L", zlib.crc32(name + content))


def tiff16_tags(data: bytes) -> ImageFileDirectory_v2 | None:
    """Read the main directory of a TIFF or BigTIFF file with 16-bit grey or RGB pixels; None for any other file."""
    if not data.startswith((b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")):
        return None
    tags = ImageFileDirectory_v2(data[:16] if b"+" in data[:4] else data[:8])
    stream = BytesIO(data)
    stream.seek(tags.next)
    tags.load(stream)
    unsigned = set(tags.get(339, (1,))) == {1}
    return tags if set(tags.get(258, ())) == {16} and unsigned and tags.get(262) in (0, 1, 2) else None


def decode_tiff16(data: bytes, tags: ImageFileDirectory_v2) -> UInt16[np.ndarray, "h w c"]:
    """Decode the first page of a 16-bit TIFF to 1 to 4 channels, alpha unassociated (not multiplied into the colour).

    `tags` is the result of `tiff16_tags`. Raises RuntimeError or IndexError if the data is damaged or cut short.
    """
    import imagecodecs

    pixels = imagecodecs.tiff_decode(data, index=0)
    if pixels.ndim == 2:
        pixels = pixels[..., None]
    elif tags.get(284) == 2:  # one plane per channel
        pixels = np.moveaxis(pixels, 0, -1)
    colours = 3 if tags.get(262) == 2 else 1
    if tags.get(262) == 0:  # white is zero
        pixels = np.concatenate([~pixels[..., :1], pixels[..., 1:]], axis=-1)
    extra = tags.get(338, (2,))[0]  # 1: associated alpha, 2: unassociated alpha, 0: unknown meaning
    channels = min(pixels.shape[-1], colours + (extra != 0))
    pixels = pixels[..., :channels]
    return _unassociate(pixels) if channels > colours and extra == 1 else pixels


def _unassociate(pixels: UInt16[np.ndarray, "h w c"]) -> UInt16[np.ndarray, "h w c"]:
    colour, alpha = pixels[..., :-1].astype(np.float64), pixels[..., -1:]
    colour = np.rint(np.minimum(colour * 65535 / np.maximum(alpha, 1), 65535))
    return np.concatenate([colour.astype(np.uint16), alpha], axis=-1)


def encode_tiff(
    pixels: UInt8[np.ndarray, "h w c"] | UInt16[np.ndarray, "h w c"], icc: bytes | None, exif: bytes | None
) -> bytes:
    """Encode 1 to 4 channels (grey, grey+alpha, RGB, RGBA) as a TIFF of the same depth, with ICC profile and EXIF.

    Raises ValueError if the file would be larger than 4 GiB, the limit of TIFF offsets.
    """
    order, directories = parse_directories(exif or b"")
    height, width, channels = pixels.shape
    rows = max(1, _STRIP_BYTES // pixels[0].nbytes)
    strips = [_encode_strip(pixels[top : top + rows], order) for top in range(0, height, rows)]
    lengths = [len(strip) for strip in strips]
    if sum(lengths) + _STRIP_BYTES > _CLASSIC_TIFF_BYTES:
        raise ValueError("more than the 4 GiB of a TIFF file")
    offsets = [8 + sum(lengths[:index]) for index in range(len(strips))]
    start = 8 + sum(lengths)
    start += start % 2

    def numbers(kind: int, *values: int) -> tuple[int, bytes]:
        return kind, struct.pack(f"{order}{len(values)}{'H' if kind == SHORT else 'L'}", *values)

    directories[MAIN] |= {
        256: numbers(LONG, width),
        257: numbers(LONG, height),
        258: numbers(SHORT, *[8 * pixels.itemsize] * channels),
        259: numbers(SHORT, 8),  # deflate
        262: numbers(SHORT, 2 if channels > 2 else 1),  # RGB, or black is zero
        273: numbers(LONG, *offsets),
        277: numbers(SHORT, channels),
        278: numbers(LONG, rows),
        279: numbers(LONG, *lengths),
        317: numbers(SHORT, 2),  # horizontal predictor
    }
    if channels in (2, 4):
        directories[MAIN][338] = numbers(SHORT, 2)  # unassociated alpha
    if icc:
        directories[MAIN][ICC_PROFILE] = (UNDEFINED, icc)
    body = b"".join(strips).ljust(start - 8, b"\0")
    return tiff_header(order, start) + body + pack_directories(directories, order, start)


def _encode_strip(rows: np.ndarray, order: ByteOrder) -> bytes:
    difference = rows.copy()
    difference[:, 1:] -= rows[:, :-1]  # wraps around, as the format requires
    return zlib.compress(difference.astype(rows.dtype.newbyteorder(order)).tobytes(), 3)

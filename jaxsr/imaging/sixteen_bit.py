"""Files that Pillow cannot handle: 16-bit PNG, exact to the last bit, and written TIFF files with their EXIF.

Pillow silently reads 16-bit colour as 8 bit and cannot write it. imagecodecs (libpng) decodes such files; it is
imported only when one occurs. No library writes the EXIF directory into a 16-bit TIFF. Therefore `encode_tiff`
writes plain TIFF 6.0 itself: strips of deflate with the horizontal predictor, which every TIFF reader supports.
"""

import struct
import zlib
from collections.abc import Iterator

import numpy as np
from jaxtyping import UInt8, UInt16

from jaxsr.imaging.metadata import (
    BYTE,
    EXIF_PREFIX,
    ICC_PROFILE,
    LONG,
    LONG8,
    MAIN,
    RATIONAL,
    SHORT,
    UNDEFINED,
    ByteOrder,
    pack_directories,
    parse_directories,
    tiff_header,
)

RECORD = "jaxsr"
"""The keyword of the PNG text that holds the record of how a picture was made."""
_STRIP_BYTES = 2**20
_XMP = 700
_CLASSIC_TIFF_BYTES = 2**32
_MARGIN = 2**24  # for metadata, and for pixels that deflate does not shrink
_PNG_FIRST_CHUNK_END = 33  # signature and IHDR


_SIGNATURE = b"\x89PNG\r\n\x1a\n"


def decode_png(data: bytes) -> UInt8[np.ndarray, "h w c"] | UInt16[np.ndarray, "h w c"]:
    """Decode a PNG at its own depth to 1 to 4 channels (grey, grey+alpha, RGB, RGBA), with tRNS expanded to alpha.

    Raises RuntimeError (imagecodecs.PngError) if the data is damaged or cut short.
    """
    import imagecodecs

    pixels = imagecodecs.png_decode(_pixels_alone(data))
    return pixels if pixels.ndim == 3 else pixels[..., None]


def _pixels_alone(data: bytes) -> bytes:
    """Return a PNG without the chunks before its pixels that say nothing of them; libpng prints warnings about some."""
    kept = [_SIGNATURE]
    for name, start, end in png_places(data):
        if name == b"IDAT":
            return b"".join([*kept, data[start:]])
        if name in (b"IHDR", b"PLTE", b"tRNS"):
            kept.append(data[start:end])
    return data


def png_places(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Yield name, start and end of each chunk of a PNG file, as its lengths say; the last may end beyond the file."""
    at = len(_SIGNATURE)
    while data.startswith(_SIGNATURE) and at + 8 <= len(data):
        size, name = struct.unpack_from(">L4s", data, at)
        yield name, at, at + 12 + size
        at += 12 + size


def encode_png16(pixels: UInt16[np.ndarray, "h w c"], icc: bytes | None, exif: bytes | None) -> bytes:
    """Encode 1 to 4 channels as a 16-bit PNG with its ICC profile and EXIF block."""
    import imagecodecs

    # Level 1: the low byte of a photograph is noise, so that a higher level takes longer but saves no space.
    data = bytes(imagecodecs.png_encode(pixels, level=1))
    metadata = _png_chunk(b"iCCP", b"ICC\0\0" + zlib.compress(icc)) if icc else b""
    metadata += _png_chunk(b"eXIf", exif.removeprefix(EXIF_PREFIX)) if exif else b""
    return data[:_PNG_FIRST_CHUNK_END] + metadata + data[_PNG_FIRST_CHUNK_END:]


def with_png_metadata(
    data: bytes, xmp: bytes | None, dpi: tuple[float, float] | None, record: str | None = None
) -> bytes:
    """Insert XMP, pixels per inch, and the record of how the picture was made, into a PNG file."""
    metadata = _png_chunk(b"iTXt", b"XML:com.adobe.xmp" + bytes(5) + xmp) if xmp else b""
    metadata += _png_chunk(b"iTXt", RECORD.encode() + bytes(5) + record.encode()) if record else b""
    if dpi:
        metadata += _png_chunk(b"pHYs", struct.pack(">LLB", *(round(number / 0.0254) for number in dpi), 1))
    return data[:_PNG_FIRST_CHUNK_END] + metadata + data[_PNG_FIRST_CHUNK_END:]


def _png_chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">L", len(content)) + name + content + struct.pack(">L", zlib.crc32(name + content))


def encode_tiff(
    pixels: UInt8[np.ndarray, "h w c"] | UInt16[np.ndarray, "h w c"],
    icc: bytes | None,
    exif: bytes | None,
    xmp: bytes | None = None,
    dpi: tuple[float, float] | None = None,
) -> bytes:
    """Encode 1 to 4 channels (grey, grey+alpha, RGB, RGBA) as a TIFF of the same depth, with its metadata.

    A resolution in the EXIF block goes before `dpi`. If the pixels could pass the 4 GiB of a TIFF file, the result is a
    BigTIFF.
    """
    order, directories = parse_directories(exif or b"")
    height, width, channels = pixels.shape
    big = pixels.nbytes + _MARGIN > _CLASSIC_TIFF_BYTES
    rows = max(1, _STRIP_BYTES // pixels[0].nbytes)
    strips = [_encode_strip(pixels[top : top + rows], order) for top in range(0, height, rows)]
    lengths = [len(strip) for strip in strips]
    first = len(tiff_header(order, 0, big=big))
    offsets = (first + np.cumsum([0, *lengths])).tolist()
    start = offsets.pop()
    start += start % 2
    letters = {SHORT: "H", LONG: "L", LONG8: "Q"}

    def numbers(kind: int, *values: int) -> tuple[int, bytes]:
        return kind, struct.pack(f"{order}{len(values)}{letters[kind]}", *values)

    place = LONG8 if big else LONG
    directories[MAIN] |= {
        256: numbers(LONG, width),
        257: numbers(LONG, height),
        258: numbers(SHORT, *[8 * pixels.itemsize] * channels),
        259: numbers(SHORT, 8),  # deflate
        262: numbers(SHORT, 2 if channels > 2 else 1),  # RGB, or black is zero
        273: numbers(place, *offsets),
        277: numbers(SHORT, channels),
        278: numbers(LONG, rows),
        279: numbers(place, *lengths),
        317: numbers(SHORT, 2),  # horizontal predictor
    }
    if channels in (2, 4):
        directories[MAIN][338] = numbers(SHORT, 2)  # unassociated alpha
    if icc:
        directories[MAIN][ICC_PROFILE] = (UNDEFINED, icc)
    if xmp:
        directories[MAIN][_XMP] = (BYTE, xmp)
    if dpi and 282 not in directories[MAIN]:
        for tag, number in zip((282, 283), dpi, strict=True):
            directories[MAIN][tag] = (RATIONAL, struct.pack(order + "LL", round(number * 1000), 1000))
        directories[MAIN][296] = numbers(SHORT, 2)  # per inch
    padding = bytes(start - first - sum(lengths))
    directory = pack_directories(directories, order, start, big=big)
    return b"".join([tiff_header(order, start, big=big), *strips, padding, directory])


def _encode_strip(rows: np.ndarray, order: ByteOrder) -> bytes:
    difference = rows.copy()
    difference[:, 1:] -= rows[:, :-1]  # wraps around, as the format requires
    return zlib.compress(difference.astype(rows.dtype.newbyteorder(order)).tobytes(), 3)

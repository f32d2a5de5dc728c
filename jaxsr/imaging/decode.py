"""Decoding of image files to upright pixels: the choice of the decoder, colour modes, EXIF orientation, size limit."""

import re
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from io import BytesIO
from typing import NamedTuple

import numpy as np
from jaxtyping import UInt8, UInt16
from PIL import Image

from jaxsr.errors import install
from jaxsr.imaging import jpeg_xl
from jaxsr.imaging.colour import (
    GAIN_MAP,
    bmp_profile,
    exif_profile,
    gif_metadata,
    has_late_metadata,
    heif_profile,
    png_profile,
)
from jaxsr.imaging.memory import check_memory, decoding_bytes
from jaxsr.imaging.metadata import clean_exif, read_orientation, to_srgb
from jaxsr.imaging.pixels import ImageFileError, Pixels
from jaxsr.imaging.sixteen_bit import RECORD, decode_png
from jaxsr.imaging.tiff import FIRST_ONLY, FROM_CMYK, HEADS, TEXTS, decode_tiff, full_range
from jaxsr.imaging.xmp import clean_xmp

# One gigapixel takes 12 GB as float RGB. Pillow's own limit of 0.09 is below a 12-megapixel photograph enlarged by 4.
MAX_PIXELS = 10**9
_FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF", "AVIF")
_HEADS = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"BM", b"GIF87a", b"GIF89a")
_PILLOW_LOCK = threading.Lock()
_GAIN_MAPS = rb"hdrgm:Version|ns\.adobe\.com/hdr-gain-map|hdrgainmap|urn:iso:std:iso:ts:21496:-1"
JPEG_XL = "lost its colour profile and metadata, if it had any (JPEG XL)"
_HEIC_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx"}
_AVIF_BRANDS = {b"avif", b"avis"}
_HEIF_BRANDS = {b"mif1", b"msf1", b"miaf"}  # of both
XMP_LOST, EXTENDED_XMP_LOST = "lost its XMP, which could not be read", "lost its extended XMP"
_EXTENDED_XMP = b"http://ns.adobe.com/xmp/extension/\0"
GREY_END = "ends in rows of plain grey, as JPEG files that are cut short do"
_HUFFMAN = {0xC0, 0xC1, 0xC2}  # frames whose codes have whole bits
_BLOCK, _MISSING = 8, 128  # libjpeg fills blocks that are missing with this grey, and does not say so

_Turned = UInt8[np.ndarray, "H W c"] | UInt16[np.ndarray, "H W c"]


class Decoded(NamedTuple):
    """The first frame of an image file.

    Attributes:
        pixels: upright, at full depth, in 1 to 4 channels: grey, grey+alpha, RGB or RGBA, with unassociated alpha.
        icc: the ICC profile of the file, or one that says what its colours mean; None for sRGB.
        exif, xmp: what still holds for the turned and enlarged image, or None.
        dpi: pixels per inch across and down, or None.
        lost: what the pixels and the metadata do not show, as ends of sentences that begin with "the image".
    """

    pixels: Pixels
    icc: bytes | None
    exif: bytes | None
    xmp: bytes | None
    dpi: tuple[float, float] | None
    lost: tuple[str, ...]


def decode(data: bytes, source: str, most_pixels: int | None = None) -> Decoded:
    """Decode the first frame of an image file. `source` names the file in errors.

    Raises ImageFileError for more than `most_pixels` (None: MAX_PIXELS), which the header tells before any pixel is
    decoded, and for pixel types without a fixed white. The decoders raise various
    errors for damaged data.
    """
    check = partial(check_size, most_pixels=most_pixels)
    with quiet_unlimited_pillow():
        if data.startswith(HEADS):
            found = decode_tiff(data, source, check)
            return _finish(found.pixels, found.icc, found.exif, found.xmp, found.dpi, found.lost, found.orientation)
        if data.startswith(jpeg_xl.HEADS):
            return _decode_jpeg_xl(data, source, most_pixels)
        formats = _FORMATS
        if is_avif(data):
            if data[8:12] not in _AVIF_BRANDS:
                data = data[:8] + b"avif" + data[12:]  # Pillow looks at the first brand alone
        elif _brands(data) & (_HEIC_BRANDS | _HEIF_BRANDS):
            formats = _open_heic(source)
        marker, bits = _jpeg_frame(data)
        if bits != 8:
            raise ImageFileError(f"{source}: a JPEG of {bits} bits is not supported; save it with 8, or as 16-bit TIFF")
        with Image.open(BytesIO(data), formats=formats) as image:
            channels = len(image.getbands()) + (image.has_transparency_data and "A" not in image.mode)
            # 16 bits a sample: byte 24 of a PNG is its depth, and Pillow has no mode for most of them.
            itemsize = 2 if image.format == "PNG" and data[24:25] == b"\x10" else 1
            check(*image.size, channels, itemsize, source)
            if marker in _HUFFMAN and image.width * image.height > 64 * 8 * len(data):
                raise ValueError("its pixels end too early")  # a block of 8x8 takes a bit at least
            pixels, icc, lost = _pillow_pixels(image, data, source)
            if image.format in ("JPEG", "MPO") and re.search(_GAIN_MAPS, data):
                lost += (GAIN_MAP,)
            elif _has_more_frames(image):
                lost += (FIRST_ONLY,)
            if image.format in ("JPEG", "MPO"):
                lost += (EXTENDED_XMP_LOST,) * (_EXTENDED_XMP in data)
                lost += (GREY_END,) * bool((pixels[-_BLOCK:] == _MISSING).all())
            if image.format == "PNG":
                icc, further = png_profile(data, icc, grey=pixels.shape[-1] < 3)
                lost += further
            packet = packet_of(image)
            if image.format == "GIF":
                icc, packet = gif_metadata(data)
            if image.format == "BMP":
                icc, further = bmp_profile(data)
                lost += further
            if image.format in ("AVIF", "HEIF"):
                made, further = heif_profile(data, grey=pixels.shape[-1] < 3)
                icc, lost = icc or made, lost + further
            if any(key in image.info for key in ("comment", "photoshop")) or _has_texts(image):
                lost += (TEXTS,)
            block = _exif_block(image)
            return _finish(pixels, icc, block, packet, _dpi(image), lost, read_orientation(block))


def _brands(data: bytes) -> set[bytes]:
    """Return the brands of a HEIC or AVIF file (ISO 14496-12, box `ftyp`), and nothing of other files."""
    if data[4:8] != b"ftyp":
        return set()
    size = min(int.from_bytes(data[:4]), 256)
    return {data[8:12], *(data[at : at + 4] for at in range(16, size - 3, 4))}


def is_avif(data: bytes) -> bool:
    """Return whether the first bytes of a file are those of an AVIF file, and not of a HEIC file."""
    brands = _brands(data)
    return bool(brands & _AVIF_BRANDS) and not brands & _HEIC_BRANDS


def _jpeg_frame(data: bytes) -> tuple[int, int]:
    """Return marker and bits per sample of a JPEG's frame (ITU-T T.81, B.2.2); 0 and 8 if its header says nothing."""
    at = 2
    while data.startswith(b"\xff\xd8") and data[at : at + 1] == b"\xff" and at + 5 <= len(data):
        marker = data[at + 1]
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            return marker, data[at + 4]
        at += 1 if marker == 0xFF else 2 + int.from_bytes(data[at + 2 : at + 4])
    return 0, 8


def _open_heic(source: str) -> tuple[str, ...]:
    """Teach Pillow to read HEIC. Raises ImageFileError without the optional package for it."""
    try:
        import pillow_heif  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise ImageFileError(f"{source}: HEIC needs one more package: {install('heic')}") from error
    pillow_heif.register_heif_opener()
    return ("HEIF",)


def _decode_jpeg_xl(data: bytes, source: str, most_pixels: int | None) -> Decoded:
    """Decode a JPEG XL file, whose metadata no library at hand gives."""
    import imagecodecs

    width, height = jpeg_xl.jpeg_xl_size(data)
    check_size(width, height, 4, 2, source, most_pixels)
    pixels = np.asarray(imagecodecs.jpegxl_decode(data))
    if pixels.dtype not in (np.uint8, np.uint16):
        raise ImageFileError(f"{source}: pixels of type {pixels.dtype} have no fixed white; save it as 8 or 16-bit RGB")
    lost = (JPEG_XL,)
    if pixels.ndim == 4 or (pixels.ndim == 3 and pixels.shape[:2] not in ((height, width), (width, height))):
        pixels, lost = pixels[0], (JPEG_XL, FIRST_ONLY)
    pixels = full_range(pixels if pixels.ndim == 3 else pixels[..., None], jpeg_xl.jpeg_xl_depth(data))
    return Decoded(pixels, None, None, None, None, lost)


def _finish(
    pixels: Pixels,
    icc: bytes | None,
    block: bytes | None,
    xmp: bytes | None,
    dpi: tuple[float, float] | None,
    lost: tuple[str, ...],
    orientation: int,
) -> Decoded:
    """Turn the pixels upright, find the profile that EXIF tells, and clean the metadata."""
    if not icc and FROM_CMYK not in lost:
        icc = exif_profile(block, grey=pixels.shape[-1] < 3)
    try:
        cleaned = clean_xmp(xmp)
    except ValueError:
        cleaned, lost = None, (*lost, XMP_LOST)
    return Decoded(_turn(pixels, orientation), icc, clean_exif(block), cleaned, dpi, lost)


@contextmanager
def quiet_unlimited_pillow() -> Iterator[None]:
    """Turn off Pillow's process-wide pixel limit and its warnings about odd metadata for one read; then restore both.

    A lock makes concurrent reads wait.
    """
    with _PILLOW_LOCK, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        try:
            yield
        finally:
            Image.MAX_IMAGE_PIXELS = limit


def check_size(
    width: int, height: int, channels: int, itemsize: int, source: str, most_pixels: int | None = None
) -> None:
    """Raise ImageFileError for a picture with too many pixels for us, or for this machine's memory, by its header."""
    limit = MAX_PIXELS if most_pixels is None else most_pixels
    if width * height > limit:
        raise ImageFileError(f"{source}: {width}x{height} is over the limit of {limit} pixels; cut it into parts")
    check_memory(decoding_bytes(width, height, channels, itemsize), f"a picture of {width}x{height}", source)


def is_image_head(head: bytes) -> bool:
    """Return whether the first bytes of a file are those of a type that `decode` reads."""
    return (
        head.startswith((*HEADS, *jpeg_xl.HEADS, *_HEADS))
        or head[4:8] == b"ftyp"
        or (head.startswith(b"RIFF") and head[8:12] == b"WEBP")
    )


def _pillow_pixels(image: Image.Image, data: bytes, source: str) -> tuple[Pixels, bytes | None, tuple[str, ...]]:
    """Return the pixels of an open image in 1 to 4 channels, their ICC profile, and what they lost."""
    if image.format == "PNG":  # libpng has every depth, and refuses pixels that end too early
        pixels = decode_png(data)
        if has_late_metadata(data):
            image.load()
        return pixels, image.info.get("icc_profile"), ()
    image.load()
    icc = image.info.get("icc_profile")
    if image.mode == "CMYK":
        converted, lost = to_srgb(image, icc)
        return np.asarray(converted), None, (FROM_CMYK, *lost)
    if image.mode.startswith(("I", "F", "LAB", "HSV")):
        raise ImageFileError(f"{source}: pixels of type {image.mode} have no fixed white; save it as 8 or 16-bit RGB")
    mode = "L" if image.mode in ("1", "L", "LA", "La") else "RGB"
    pixels = np.asarray(image.convert(mode + "A" if image.has_transparency_data else mode))
    return pixels if pixels.ndim == 3 else pixels[..., None], icc, ()


def _has_texts(image: Image.Image) -> bool:
    """Return whether a PNG has texts besides XMP and EXIF."""
    texts = getattr(image, "text", {}) if image.format == "PNG" else {}
    return bool(texts.keys() - {"XML:com.adobe.xmp", "Raw profile type exif", "Software", RECORD})


def packet_of(image: Image.Image) -> bytes | None:
    """Return the XMP packet of an open image, or None."""
    packet = image.info.get("xmp", image.info.get("XML:com.adobe.xmp"))
    return packet.encode() if isinstance(packet, str) else packet


def _dpi(image: Image.Image) -> tuple[float, float] | None:
    """Return the file's pixels per inch. Broken numbers must not stop the read."""
    if image.format in ("JPEG", "MPO") and image.info.get("jfif_unit") not in (1, 2):
        return None  # Pillow says 72 where JFIF says nothing
    try:
        across, down = (float(number) for number in image.info["dpi"])
    except (KeyError, TypeError, ValueError, ZeroDivisionError):
        return None
    return (across, down) if 0 < across < 1e6 and 0 < down < 1e6 else None


def _has_more_frames(image: Image.Image) -> bool:
    try:
        return getattr(image, "is_animated", False)
    except Exception:  # damage after the first frame must not stop the read
        return False


def _exif_block(image: Image.Image) -> bytes | None:
    text = image.info.get("Raw profile type exif")  # PNG carried EXIF here before its eXIf chunk existed
    try:
        return bytes.fromhex("".join(text.split("\n")[3:])) if text else image.info.get("exif")
    except ValueError:
        return None


def _turn(pixels: Pixels, orientation: int) -> _Turned:
    """Undo an EXIF orientation (Exif 2.32, tag 274). 5 to 8 exchange rows and columns; flips follow."""
    if orientation in (5, 6, 7, 8):
        pixels = pixels.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    return pixels[:, ::-1] if orientation in (2, 3, 6, 7) else pixels

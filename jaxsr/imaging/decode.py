"""Decoding of image files to upright pixels: the choice of the decoder, colour modes, EXIF orientation, size limit."""

import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO

import numpy as np
from jaxtyping import UInt8, UInt16
from PIL import Image

from jaxsr.imaging.metadata import clean_exif, read_orientation, to_srgb
from jaxsr.imaging.pixels import ImageFileError, Pixels
from jaxsr.imaging.sixteen_bit import decode_png
from jaxsr.imaging.tiff import FIRST_ONLY, FROM_CMYK, HEADS, decode_tiff

# One gigapixel takes 12 GB as float RGB. Pillow's own limit of 0.09 is below a 12-megapixel photograph enlarged by 4.
MAX_PIXELS = 10**9
_FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF")
_PILLOW_LOCK = threading.Lock()

_Turned = UInt8[np.ndarray, "H W c"] | UInt16[np.ndarray, "H W c"]


def decode(data: bytes, source: str) -> tuple[Pixels, bytes | None, bytes | None, tuple[str, ...]]:
    """Decode the first frame of an image file. `source` names the file in errors.

    Returns the upright pixels at full depth, the ICC profile, the EXIF that fits the pixels, and the losses that apply
    (see `jaxsr.imaging.tiff`). The pixels have 1 to 4 channels: grey, grey+alpha, RGB or RGBA, with unassociated alpha.
    Raises ImageFileError for too many pixels and for pixel types without a fixed white. The decoders raise various
    errors for damaged data.
    """
    with _quiet_unlimited_pillow():
        if data.startswith(HEADS):
            found = decode_tiff(data, source, MAX_PIXELS)
            return _turn(found.pixels, read_orientation(data)), found.icc, clean_exif(data), found.lost
        with Image.open(BytesIO(data), formats=_FORMATS) as image:
            _check_size(*image.size, source)
            pixels, icc = _pillow_pixels(image, data, source)
            lost = (FIRST_ONLY,) * _has_more_frames(image) + (FROM_CMYK,) * (image.mode == "CMYK")
            block = _exif_block(image)
            return _turn(pixels, read_orientation(block)), icc, clean_exif(block), lost


@contextmanager
def _quiet_unlimited_pillow() -> Iterator[None]:
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


def _check_size(width: int, height: int, source: str) -> None:
    if width * height > MAX_PIXELS:
        raise ImageFileError(f"{source}: {width}x{height} is over the limit of {MAX_PIXELS} pixels; cut it into parts")


def _pillow_pixels(image: Image.Image, data: bytes, source: str) -> tuple[Pixels, bytes | None]:
    """Return the pixels of an open image in 1 to 4 channels, and their ICC profile."""
    image.load()
    icc = image.info.get("icc_profile")
    # Pillow cuts 16 bits to 8, and ignores the transparent level of grey images of less than 8 bits.
    small_grey = image.mode in ("1", "L") and data[24] < 8 and "transparency" in image.info
    if image.format == "PNG" and (data[24] == 16 or small_grey):
        return decode_png(data), icc
    if image.mode == "CMYK":
        return np.asarray(to_srgb(image, icc)), None
    if image.mode.startswith(("I", "F", "LAB", "HSV")):
        raise ImageFileError(f"{source}: pixels of type {image.mode} have no fixed white; save it as 8 or 16-bit RGB")
    mode = "L" if image.mode in ("1", "L", "LA", "La") else "RGB"
    pixels = np.asarray(image.convert(mode + "A" if image.has_transparency_data else mode))
    return pixels if pixels.ndim == 3 else pixels[..., None], icc


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

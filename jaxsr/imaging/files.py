"""Photographs read from files and written to files: depth, alpha, ICC profile and EXIF are kept.

Every pixel mode becomes float RGB, and float RGB becomes every pixel mode.
"""

import hashlib
import os
import re
import select
import stat
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import lru_cache
from io import BytesIO
from pathlib import Path

import numpy as np
from jaxtyping import Float, UInt8
from numpy.typing import DTypeLike
from PIL import Image, UnidentifiedImageError

from jaxsr.choices import METADATA, Metadata, check_word
from jaxsr.imaging.decode import Decoded, decode, is_image_head
from jaxsr.imaging.memory import check_memory
from jaxsr.imaging.metadata import fits_icc, minimal_exif, to_srgb
from jaxsr.imaging.pixels import ImageFileError, Pixels, from_float, on_white
from jaxsr.imaging.sixteen_bit import encode_png16, encode_tiff, with_png_metadata
from jaxsr.imaging.xmp import add_record
from jaxsr.storage import sha256_file, write_whole

JPEG, WEBP, PNG, TIFF = (".jpg", ".jpeg"), (".webp",), (".png",), (".tif", ".tiff")
WRITTEN = (*PNG, *JPEG, *WEBP, *TIFF)
OTHER_JPEG = (".jfif", ".jpe", ".mpo", ".jif", ".jfi")
READ = (*WRITTEN, *OTHER_JPEG, ".bmp", ".dib", ".apng", ".gif", ".avif", ".heic", ".heif", ".hif", ".jxl")
PIPE_WAIT = 30.0
"""Seconds to wait for bytes from a pipe."""
_MOST_PIPED = 2**31
_SHOWN = 200  # characters of a decoder's error
_MAX_SIDE = {**dict.fromkeys(JPEG, 65500), **dict.fromkeys(WEBP, 16383)}
_MAX_JPEG = {"exif": 65533, "xmp": 65533 - len(b"http://ns.adobe.com/xap/1.0/\0")}


@dataclass(frozen=True, eq=False)
class Photo:
    """An upright photograph, with the data that a file can carry beside the pixels.

    Attributes:
        rgb: pixels, float32 in [0, 1], encoded as in the file (its ICC profile, else sRGB). If `grey`, the three
            channels are equal.
        alpha: opacity in [0, 1], not multiplied into `rgb`; or None.
        depth: bits per channel of the file, 8 or 16.
        grey: whether the photograph is written as one channel.
        icc: ICC profile of the file, or one that says what its colours mean; None for sRGB.
        exif: EXIF block from `Exif\\0\\0` on, with Orientation 1; or None.
        xmp, dpi: see `jaxsr.imaging.decode.Decoded`.
        record: JSON text that says how the pixels were made, which a written file carries; None for none. It is not
            read from a file: `jaxsr.imaging.record.read_record` does that.
        source: name of the file, for errors.
        lost: losses in reading the file, as `jaxsr.imaging.decode.decode` returns them.
    """

    rgb: Float[np.ndarray, "h w 3"]
    alpha: Float[np.ndarray, "h w"] | None
    depth: int
    grey: bool
    icc: bytes | None
    exif: bytes | None
    source: str
    lost: tuple[str, ...] = ()
    xmp: bytes | None = None
    dpi: tuple[float, float] | None = None
    record: str | None = None

    @property
    def shown(self) -> Float[np.ndarray, "h w 3"]:
        """The pixels as they show on white."""
        return self.rgb if self.alpha is None else on_white(self.rgb, self.alpha)


def read_photo(path: str | os.PathLike[str]) -> Photo:
    """Read a PNG, JPEG, WebP, TIFF, BMP or GIF (first frame or page) at its full depth, turned upright.

    16-bit grey and RGB are exact. CMYK becomes sRGB through its own profile, at 8 bits. Raises ImageFileError for a
    file that is missing, damaged, cut short, no image, or over MAX_PIXELS, and for pixels without a known white
    (32-bit, float).
    """
    source = os.fspath(path)
    return to_photo(read_decoded(source), source)


def read_decoded(source: str, most_pixels: int | None = None) -> Decoded:
    """Read an image file as `read_photo` does, without the conversion of its pixels to floats.

    More than `most_pixels` (None: MAX_PIXELS) are refused before they are decoded.
    """
    data = _read_bytes(source)
    try:
        return decode(data, source, most_pixels)
    except ImageFileError:
        raise
    except UnidentifiedImageError as error:
        raise _no_image(source) from error
    except MemoryError as error:
        raise ImageFileError(f"{source}: too large for this machine's memory; cut it into parts") from error
    except Exception as error:  # decoders raise almost anything on damaged bytes
        reason = " ".join(str(error).split())[:_SHOWN]
        if re.search(r"unsupported|not supported|not implemented", reason, re.IGNORECASE):
            advice = "save it as 8 or 16-bit PNG or TIFF"
            raise ImageFileError(f"{source}: a kind of image that is not supported ({reason}); {advice}") from error
        shown = f" ({reason})" if re.search(r"[A-Za-z]{3}", reason) else ""  # a number alone says nothing
        raise ImageFileError(f"{source}: damaged or cut short{shown}; copy or download it again") from error


def hash_photo(path: str | os.PathLike[str]) -> str:
    """Compute the SHA-256 of an image file's bytes. Raises ImageFileError if the file cannot be read."""
    source = os.fspath(path)
    with _readable(source):
        return hashlib.sha256(_read_pipe(source)).hexdigest() if is_pipe(source) else sha256_file(Path(path))


@contextmanager
def _readable(source: str) -> Iterator[None]:
    """Turn the system's errors about a file into ImageFileErrors, each one sentence."""
    try:
        yield
    except FileNotFoundError as error:
        raise ImageFileError(f"{source}: no such file; check the name") from error
    except IsADirectoryError as error:
        raise ImageFileError(f"{source}: a folder, not an image; name a file in it") from error
    except OSError as error:
        raise ImageFileError(f"{source}: cannot be read ({error.strerror}); check its permissions") from error


def _read_bytes(source: str) -> bytes:
    """Read a file whole if its first bytes are those of an image."""
    with _readable(source):
        data = _read_pipe(source) if is_pipe(source) else _read_image(source)
    if not data:
        raise ImageFileError(f"{source}: an empty file; copy or download it again")
    return data


def _read_image(source: str) -> bytes:
    with open(source, "rb") as file:
        head = file.read(64)
        if head and not is_image_head(head):
            raise _no_image(source)
        check_memory(os.fstat(file.fileno()).st_size, "the file", source)
        return head + file.read()


def _no_image(source: str) -> ImageFileError:
    known = "PNG, JPEG, WebP, TIFF, BMP, GIF, AVIF, HEIC or JPEG XL"
    return ImageFileError(f"{source}: no readable {known} image; convert it to one, or copy it again")


def is_pipe(source: str) -> bool:
    """Return whether a path is a pipe or a device, such as /dev/stdin."""
    mode = os.stat(source).st_mode
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))


@lru_cache(maxsize=4)
def _read_pipe(source: str) -> bytes:
    """Read a pipe to its end, once: it is kept, because the hash and the pixels both need its bytes."""
    parts, total = [], 0
    descriptor = os.open(source, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
    try:
        while select.select([descriptor], [], [], PIPE_WAIT)[0]:
            if not (part := os.read(descriptor, 2**20)):
                return b"".join(parts)
            parts.append(part)
            if (total := total + len(part)) > _MOST_PIPED:
                raise ImageFileError(
                    f"{source}: more than {_MOST_PIPED} bytes came through it; save it in a file first"
                )
    finally:
        os.close(descriptor)
    raise ImageFileError(f"{source}: nothing came through it for {PIPE_WAIT:g} s; check what writes to it")


def to_photo(decoded: Decoded, source: str) -> Photo:
    """Make the photograph of a decoded file; `source` names the file."""
    pixels = decoded.pixels
    colours = 3 if pixels.shape[-1] > 2 else 1
    values = pixels.astype(np.float32) / np.float32(np.iinfo(pixels.dtype).max)
    rgb = np.ascontiguousarray(np.broadcast_to(values[..., :colours], (*values.shape[:2], 3)))
    alpha = np.ascontiguousarray(values[..., -1]) if pixels.shape[-1] > colours else None
    fields = {name: getattr(decoded, name) for name in ("icc", "exif", "lost", "xmp", "dpi")}
    return Photo(rgb, alpha, 8 * pixels.itemsize, colours == 1, source=source, **fields)


def with_metadata(photo: Photo, level: Metadata) -> Photo:
    """Return a photograph with less metadata. `keep` changes nothing.

    `minimal` keeps author, copyright, dates and resolution, and drops places, serial numbers and all else. `strip`
    drops these too, and both drop the record. The profile is no metadata: it says what the colours are, and stays.
    """
    check_word("metadata", level, METADATA)
    if level == "keep":
        return photo
    exif = minimal_exif(photo.exif) if level == "minimal" else None
    return replace(photo, exif=exif, xmp=None, record=None, dpi=photo.dpi if level == "minimal" else None)


def write_photo(path: str | os.PathLike[str], photo: Photo, *, quality: int = 95) -> None:
    """Write a photograph as `write_pixels` does, with its own pixels rounded to the depth of the format.

    A grey pixel is the mean of the three channels. Raises the errors of `write_pixels`, and ImageFileError for pixels
    that are not numbers.
    """
    path = Path(path)
    if not np.isfinite(photo.rgb).all():
        raise ImageFileError(f"{path}: not written: the image has pixels that are not numbers; compute it in float32")
    write_pixels(path, _quantise(photo, pixel_dtype(path, photo.depth)), photo, quality=quality)


def write_pixels(path: str | os.PathLike[str], pixels: Pixels, photo: Photo, *, quality: int = 95) -> None:
    """Write pixels, with the profile and EXIF of `photo`, in the format that the extension names.

    Missing folders are created. The file appears whole or not at all. The pixels are not copied on the way to the
    encoder, except for JPEG: it has no alpha, and gets the image on white. A profile that does not fit the channels is
    left out.

    Args:
        path: the file; its extension decides the format.
        pixels: grey, grey+alpha, RGB or RGBA pixels, of the type that `pixel_dtype` returns, over its full range.
        photo: source of the profile and the EXIF.
        quality: quality of JPEG and WebP (lossy) only, 1 to 100.
    Raises:
        ValueError: for a quality out of range.
        ImageFileError: for an unknown extension, pixels that the format cannot hold, and a file that cannot be written.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix not in WRITTEN:
        raise ImageFileError(f"{path}: unknown extension {path.suffix!r}; use one of {' '.join(WRITTEN)}")
    if not 1 <= quality <= 100:
        raise ValueError(f"quality is {quality}; give a number from 1 to 100")
    if pixels.dtype != pixel_dtype(path, 8 * pixels.itemsize):
        raise ImageFileError(f"{path}: {suffix} holds 8 bits a channel; write .png or .tif")
    check_side(path, max(pixels.shape[:2]))
    try:
        data = _encode(suffix, pixels, photo, quality)
    except Exception as error:  # encoders raise almost anything, and one image must not stop the others
        raise ImageFileError(
            f"{path}: cannot be encoded ({error or type(error).__name__}); write .png instead"
        ) from error
    _write_file(path, data)


def pixel_dtype(path: str | os.PathLike[str], depth: int) -> type[np.uint8] | type[np.uint16]:
    """Return the type of pixels for a photograph of `depth` bits in this file.

    It is uint16 for 16 bits in PNG and TIFF, else uint8.
    """
    return np.uint16 if depth == 16 and Path(path).suffix.lower() in (*PNG, *TIFF) else np.uint8


def check_side(path: Path, longest: int) -> None:
    """Raise ImageFileError if the format that the extension names cannot hold a side of `longest` pixels."""
    suffix = path.suffix.lower()
    limit = _MAX_SIDE.get(suffix, longest)
    if longest > limit:
        raise ImageFileError(f"{path}: {suffix} holds at most {limit} pixels a side; write .png or .tif")


def _encode(suffix: str, pixels: Pixels, photo: Photo, quality: int) -> bytes:
    grey = pixels.shape[-1] < 3
    if suffix in JPEG and pixels.shape[-1] in (2, 4):
        pixels = _on_white(pixels)
    icc = photo.icc if fits_icc(photo.icc, grey=grey) else None
    if suffix in TIFF:
        return encode_tiff(pixels, icc, photo.exif, _packet(photo), photo.dpi)
    if pixels.dtype == np.uint16:
        return with_png_metadata(encode_png16(pixels, icc, photo.exif), photo.xmp, photo.dpi, photo.record)
    if suffix in WEBP and grey:  # WebP has RGB only, and a grey profile has no meaning there
        pixels, icc = _grey_to_srgb(pixels, icc), None
    if suffix in JPEG and (long := too_long_for_jpeg(photo)):
        for name in long:
            warnings.warn(f"{photo.source}: its {name.upper()} is too long for JPEG and is left out", stacklevel=3)
        photo = replace(photo, **dict.fromkeys(long))
    options = {"icc_profile": icc, "exif": photo.exif, "quality": quality, "subsampling": 0}
    if suffix not in PNG:
        options |= {"xmp": _packet(photo, _MAX_JPEG["xmp"] if suffix in JPEG else None), "dpi": photo.dpi}
    stream = BytesIO()
    image = Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels)
    image.save(stream, "JPEG" if suffix in JPEG else suffix[1:], **{k: v for k, v in options.items() if v is not None})
    data = stream.getvalue()
    return with_png_metadata(data, photo.xmp, photo.dpi, photo.record) if suffix in PNG else data


def too_long_for_jpeg(photo: Photo) -> list[str]:
    """List the metadata that no JPEG can hold: `exif`, `xmp`, both, or none."""
    return [name for name, limit in _MAX_JPEG.items() if len(getattr(photo, name) or b"") > limit]


def _packet(photo: Photo, limit: int | None = None) -> bytes | None:
    """Return the XMP of a file with the record in it, without the record if that would pass `limit` bytes."""
    if photo.record is None:
        return photo.xmp
    packet = add_record(photo.xmp, photo.record)
    return packet if limit is None or len(packet) <= limit else photo.xmp


def _quantise(photo: Photo, dtype: DTypeLike) -> Pixels:
    pixels = np.empty((*photo.rgb.shape[:2], (1 if photo.grey else 3) + (photo.alpha is not None)), dtype)
    for row, rgb in enumerate(photo.rgb):  # row by row, so that memory holds no second float photograph
        pixels[row, :, : 1 if photo.grey else 3] = from_float(rgb.mean(-1, keepdims=True) if photo.grey else rgb, dtype)
        if photo.alpha is not None:
            pixels[row, :, -1] = from_float(photo.alpha[row], dtype)
    return pixels


def _on_white(pixels: UInt8[np.ndarray, "h w c"]) -> UInt8[np.ndarray, "h w d"]:
    blended = np.empty((*pixels.shape[:2], pixels.shape[-1] - 1), np.uint8)
    for row, values in enumerate(pixels):
        alpha = values[:, -1:] / np.float32(255)
        blended[row] = np.rint(values[:, :-1] * alpha + 255 * (1 - alpha))
    return blended


def _grey_to_srgb(pixels: UInt8[np.ndarray, "h w c"], icc: bytes | None) -> UInt8[np.ndarray, "h w d"]:
    colour = np.asarray(to_srgb(Image.fromarray(pixels[..., 0]), icc)[0])
    return np.concatenate([colour, pixels[..., 1:]], axis=-1)


def _write_file(path: Path, data: bytes) -> None:
    try:
        write_whole(path, data)
    except OSError as error:
        raise ImageFileError(f"{path}: cannot be written ({error.strerror}); check the folder and its space") from error

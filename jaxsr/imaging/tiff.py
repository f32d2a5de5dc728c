"""TIFF files, read by tifffile: which directory is the photograph, and what its samples mean.

A TIFF file holds any number of images of many kinds. The photograph is the first one that is neither a reduced preview
nor a mask; in files of cameras (DNG) it lies in a sub-directory. Whatever has no fixed colours is refused by its name.
"""

import logging
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import BytesIO
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from jaxtyping import Bool, UInt8, UInt16
from PIL import Image

from jaxsr.imaging.metadata import EXIF_IFD, ICC_PROFILE, ORIENTATION, read_orientation, to_srgb
from jaxsr.imaging.pixels import ImageFileError, Pixels
from jaxsr.imaging.tiff_ycbcr import read_ycbcr

if TYPE_CHECKING:
    from tifffile import TiffFile, TiffPage

FIRST_ONLY, FROM_CMYK = "lost all frames but the first", "lost its CMYK colours (made sRGB, at 8 bits)"
EXTRA_CHANNELS, TEXTS = "lost its extra channels", "lost its IPTC data or comments"
MASK_LOST = "lost its transparency mask"
_NOT_KEPT = {37724: "lost its layers (Photoshop)", 34735: "lost its place on the map (GeoTIFF)"}
HEADS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_GREY = (0, 1)  # white is zero; black is zero
_RGB, _PALETTE, _CMYK, _YCBCR = 2, 3, 5, 6
_FAX, _OLD_JPEG, _JPEG = (2, 3, 4), 6, 7
_RAW = ("a raw file of a camera", "develop it to a TIFF or JPEG first")
_CFA, _LINEAR_RAW = 32803, 34892
_OTHER = {4: "a mask", 8: "CIE Lab", 9: "ICC Lab", 10: "ITU Lab", 32844: "LogL", 32845: "LogLuv"}
_ASSOCIATED, _UNASSOCIATED = 1, 2
_REDUCED, _MASK, _MASK_KIND = 1, 4, 4
_XMP, _INK_SET, _IPTC = 700, 332, (33723, 34377)
_ABOUT = {EXIF_IFD, *(270, 271, 272, 305, 306, 315, 33432)}  # Exif, description, camera, software, date, author, rights
_MOST_PAGES = 1000
_quiet_lock = threading.RLock()
# Sizes, sample format, colours, palette, compression, places of strips and tiles.
_DECIDING = {254, 256, 257, 258, 259, 262, 266, 273, 277, 278, 279, 284, 317, 320, *range(322, 326), 332, 338, 339, 530}

_Meant = UInt8[np.ndarray, "h w d"] | UInt16[np.ndarray, "h w d"]


class TiffImage(NamedTuple):
    """A photograph from a TIFF file.

    Attributes:
        pixels: grey, grey+alpha, RGB or RGBA, uint8 or uint16 over the full range, as stored (not turned); alpha is not
            multiplied into the colours.
        icc, xmp: the ICC profile and the XMP packet, or None.
        exif: the file, or what of it holds the directory with the photograph's EXIF; see `parse_directories`.
        orientation: 1 to 8, as Exif counts.
        dpi: pixels per inch across and down, or None.
        lost: what the pixels do not show.
    """

    pixels: Pixels
    icc: bytes | None
    xmp: bytes | None
    exif: bytes
    orientation: int
    dpi: tuple[float, float] | None
    lost: tuple[str, ...]


def decode_tiff(data: bytes, source: str, check_size: Callable[[int, int, int, int, str], None]) -> TiffImage:
    """Decode the photograph in a TIFF or BigTIFF file. `source` names the file in errors.

    Samples of 1 to 8 bits become 8 bits, those of 9 to 16 bits become 16 bits: white is the largest number of the
    file's own bits. CMYK becomes sRGB at 8 bits, through its profile.

    Raises ImageFileError for a type of pixels or a compression without support, whose name the message says, and what
    `check_size` raises for (width, height, channels, bytes per sample, source). Damaged data raises various errors.
    """
    import tifffile

    with _quiet(), tifffile.TiffFile(BytesIO(data)) as file:
        if data[8:10] == b"CR":
            raise _refusal(source, *_RAW)
        page, several, mask = _photograph(file)
        width, height = page.imagewidth, page.imagelength
        _check_kind(page, source)
        planes = 2 if page.planarconfig == 2 else 1  # which are decoded before they are interleaved
        check_size(width, height, planes * page.samplesperpixel, 2 if page.bitspersample > 8 else 1, source)
        _check_whole(page, data)
        tags = page.tags
        icc = tags[ICC_PROFILE].value if ICC_PROFILE in tags else None
        pixels, lost = _meaning(page, _samples(page, data, source), icc, source)
        if mask is not None:
            pixels, lost = _with_mask(pixels, mask, data, lost)
        lost = (FIRST_ONLY,) * several + lost + tuple(text for code, text in _NOT_KEPT.items() if code in tags)
        # From the photograph's own directory, else from the first one, as in files of cameras.
        own = _beginning_with(page, data)
        orientation = read_orientation(own if ORIENTATION in tags else data)
        exif = own if any(code in tags for code in _ABOUT) else data
        xmp = tags.valueof(_XMP, file.pages.first.tags.valueof(_XMP))
        if any(code in tags for code in _IPTC):
            lost += (TEXTS,)
        icc, xmp = None if FROM_CMYK in lost else icc, xmp if isinstance(xmp, bytes) else None
        return TiffImage(pixels, icc, xmp, exif, orientation, _dpi(page), lost)


def _beginning_with(page: "TiffPage", data: bytes) -> bytes:
    """Return the file with a header that points to the directory of `page` as the first one."""
    form = page.parent.tiff
    first, start = struct.pack(form.offsetformat, page.offset), form.offsetsize  # 4 bytes after 4, or 8 after 8
    return data if data[start : 2 * start] == first else data[:start] + first + data[2 * start :]


def _without_orientation(page: "TiffPage", data: bytes) -> bytes:
    """Return the file with the orientation 1 in the directory of `page`: libtiff turns some pictures by itself."""
    tag, form = page.tags.get(ORIENTATION), page.parent.tiff
    if tag is None:
        return data
    entry = struct.pack(f"{form.byteorder}HH", ORIENTATION, 3) + struct.pack(form.offsetformat, 1)
    entry = (entry + struct.pack(f"{form.byteorder}H", 1)).ljust(form.tagsize, b"\0")
    return data[: tag.offset] + entry + data[tag.offset + form.tagsize :]


def _dpi(page: "TiffPage") -> tuple[float, float] | None:
    """Return the pixels per inch. Broken numbers must not stop the read."""
    unit = {2: 1.0, 3: 2.54}.get(page.tags.valueof(296, 2))
    try:
        across, down = (top / bottom * unit for top, bottom in (page.tags.valueof(tag) for tag in (282, 283)))
    except (TypeError, ValueError, ZeroDivisionError):
        return None
    return (across, down) if min(across, down) > 0 and max(across, down) < 1e6 else None


def tiff_size(path: Path) -> tuple[int, int]:
    """Read (width, height) of the photograph in a TIFF file, as stored. Damaged data raises various errors."""
    import tifffile

    with _quiet(), tifffile.TiffFile(path) as file:
        page, *_ = _photograph(file)
        return page.imagewidth, page.imagelength


def _photograph(file: "TiffFile") -> tuple["TiffPage", bool, "TiffPage | None"]:
    """Find the image that is the photograph, whether others could be it too, and its transparency mask or None."""
    pages = list(islice(_pages(file), _MOST_PAGES))
    if not pages:
        raise ValueError("without an image")
    whole = [page for page in pages if not _subfile(page) & (_REDUCED | _MASK)]
    page = whole[0] if whole else max(pages, key=lambda page: page.imagewidth * page.imagelength)
    size, mask = (page.imagewidth, page.imagelength), None
    for one in pages[pages.index(page) + 1 :]:  # up to the next photograph, whose mask another one may be
        if one in whole and one.photometric != _MASK_KIND:
            break
        if one.photometric == _MASK_KIND and (one.imagewidth, one.imagelength) == size:
            mask = one
            break
    return page, len([one for one in whole if one.photometric != _MASK_KIND]) > 1, mask


def _with_mask(pixels: Pixels, page: "TiffPage", data: bytes, lost: tuple[str, ...]) -> tuple[_Meant, tuple[str, ...]]:
    """Add the transparency mask of a photograph as its alpha; 1 is opaque. One that cannot be used is told."""
    try:
        _check_whole(page, data)
        mask = page.asarray().reshape(*pixels.shape[:2], 1) > 0
    except Exception:  # decoders raise almost anything, and the photograph itself is whole
        mask = None
    if mask is None or pixels.shape[-1] in (2, 4):
        return pixels, (*lost, MASK_LOST)
    return np.concatenate([pixels, mask * np.iinfo(pixels.dtype).max], axis=-1).astype(pixels.dtype), lost


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence tifffile's log of odd metadata for one read; one thread at a time."""
    logger = logging.getLogger("tifffile")
    with _quiet_lock:
        before, logger.disabled = logger.disabled, True
        try:
            yield
        finally:
            logger.disabled = before


def _pages(file: "TiffFile") -> Iterator["TiffPage"]:
    """Yield the images of the main chain, and after a reduced one those of its sub-directories."""
    for page in file.pages:
        page = page.aspage()
        yield page
        if _subfile(page) & _REDUCED and page.subifds:
            yield from (sub.aspage() for sub in page.pages or ())


def _subfile(page: "TiffPage") -> int:
    kind = page.tags.valueof(254)
    old = page.tags.valueof(255)  # SubfileType of TIFF 5.0: 2 is a reduced image
    return int(kind) if isinstance(kind, int) else _REDUCED if old == 2 else 0


def _refusal(source: str, what: str, advice: str = "save it as 8 or 16-bit RGB") -> ImageFileError:
    return ImageFileError(f"{source}: {what}; {advice}")


def _no_compression(source: str, name: object) -> ImageFileError:
    return _refusal(source, f"the TIFF compression {name} is not supported", "save it with LZW or Deflate")


def _check_kind(page: "TiffPage", source: str) -> None:
    """Raise ImageFileError for images whose numbers have no fixed colours here."""
    from tifffile import COMPRESSION, TIFF

    photometric, dtype = page.photometric, np.dtype(page.dtype or "V1")
    if photometric in (_CFA, _LINEAR_RAW):
        raise _refusal(source, *_RAW)
    known = (*_GREY, _RGB, _PALETTE, _CMYK, _YCBCR)
    if photometric not in known or (photometric == _CMYK and page.tags.valueof(_INK_SET, 1) != 1):
        name = _OTHER.get(photometric, "special inks" if photometric == _CMYK else f"the kind {int(photometric)}")
        raise _refusal(source, f"its colours are {name}, which have no conversion here")
    if photometric == _YCBCR and (page.bitspersample != 8 or page.samplesperpixel != 3):
        raise _refusal(source, f"YCbCr of {page.samplesperpixel} channels and {page.bitspersample} bits is not read")
    if isinstance(page.bitspersample, tuple):
        raise _refusal(source, f"its samples have {', '.join(map(str, page.bitspersample))} bits, which is not read")
    if dtype.kind not in "bu" or dtype.itemsize > 2 or page.sampleformat not in (1, 4):
        raise _refusal(source, f"pixels of type {dtype.name} have no fixed white")
    if page.imagedepth > 1:
        raise _refusal(source, "a volume of images, not a photograph")
    if page.compression not in TIFF.DECOMPRESSORS:
        try:
            name = COMPRESSION(page.compression).name
        except ValueError:
            name = f"number {page.compression}"
        raise _no_compression(source, name)


def _check_whole(page: "TiffPage", data: bytes) -> None:
    """Raise ValueError if the directory, a value that decides the pixels, a strip or a tile is not in the file.

    tifffile goes on without what it cannot read, with defaults in its place.
    """
    form = page.parent.tiff
    (count,) = struct.unpack_from(form.tagnoformat, data, page.offset)
    start = page.offset + form.tagnosize
    codes = {struct.unpack_from(f"{form.byteorder}H", data, start + n * form.tagsize)[0] for n in range(count)}
    if unread := sorted(codes & _DECIDING - {tag.code for tag in page.tags}):
        raise ValueError(f"its tag {unread[0]} cannot be read")
    segments = list(zip(page.dataoffsets, page.databytecounts, strict=True))
    if len(segments) < np.prod(page.chunked) or any(at + size > len(data) for at, size in segments):
        raise ValueError("its pixels end too early")
    if not all(at and size for at, size in segments):
        raise ValueError("some of its strips or tiles are missing")


def _samples(page: "TiffPage", data: bytes, source: str) -> Bool[np.ndarray, "h w c"] | Pixels:
    """Decode the samples, on the last axis. YCbCr becomes RGB."""
    import imagecodecs

    name = getattr(page.compression, "name", page.compression)
    by_libtiff = page.compression in (*_FAX, _OLD_JPEG)
    if by_libtiff and len(page.treeindex) > 1:  # libtiff counts the main chain alone
        raise _no_compression(source, name)
    try:
        if page.photometric == _YCBCR and page.compression == _OLD_JPEG:
            return imagecodecs.tiff_decode(_without_orientation(page, data), index=page.index, asrgb=True)[..., :3]
        if page.photometric == _YCBCR and (page.compression != _JPEG or page.planarconfig == 2):
            return read_ycbcr(page, data, source)
        samples = imagecodecs.tiff_decode(data, index=page.index) if by_libtiff else page.asarray()
        # Fax data has no checksum: damage is known only where two decoders read different pixels.
        if page.compression in _FAX and np.any(samples.ravel() != page.asarray().ravel()):
            raise ValueError("two decoders read different pixels")
    except imagecodecs.DelayedImportError as error:
        raise _no_compression(source, name) from error
    if page.samplesperpixel == 1:
        return samples.reshape(page.imagelength, page.imagewidth, 1)
    return np.moveaxis(samples, 0, -1) if page.planarconfig == 2 else samples


def _meaning(
    page: "TiffPage", samples: Bool[np.ndarray, "h w c"] | Pixels, icc: bytes | None, source: str
) -> tuple[_Meant, tuple[str, ...]]:
    """Turn samples into pixels, and say what is lost."""
    photometric = page.photometric
    colours = {_RGB: 3, _YCBCR: 3, _CMYK: 4}.get(photometric, 1)
    kinds, further = tuple(page.extrasamples), samples.shape[-1] - colours
    if further < 0 or (photometric in _GREY and further >= 2 and not {_ASSOCIATED, _UNASSOCIATED} & {*kinds[:1]}):
        raise _refusal(source, f"{samples.shape[-1]} channels without a meaning as colours")
    alphas = [i for i, kind in enumerate(kinds[:further]) if kind in (_ASSOCIATED, _UNASSOCIATED)]
    associated = bool(alphas) and kinds[alphas[0]] == _ASSOCIATED
    lost = (EXTRA_CHANNELS,) * (further > len(alphas[:1]))
    if photometric == _PALETTE:
        colour = _look_up(page, samples[..., 0])
    else:
        samples = full_range(samples, page.bitspersample)
        colour = ~samples[..., :1] if photometric == 0 else samples[..., :colours]
    if photometric == _CMYK:
        samples = _eight_bits(samples)
        inks = samples[..., :colours]
        if associated:  # the inks are multiplied, which their colours would not be
            inks = _unassociate(np.concatenate([inks, samples[..., colours + alphas[0], None]], axis=-1))[..., :-1]
            associated = False
        converted, further_lost = to_srgb(Image.fromarray(np.ascontiguousarray(inks), "CMYK"), icc)
        colour, lost = np.asarray(converted), (*lost, FROM_CMYK, *further_lost)
    if not alphas:
        return colour, lost
    alpha = samples[..., colours + alphas[0], None]
    if photometric == _PALETTE:
        alpha = _eight_bits(full_range(alpha, page.bitspersample))
    pixels = np.concatenate([colour, alpha.astype(colour.dtype)], axis=-1)
    return (_unassociate(pixels) if associated else pixels), lost


def _look_up(page: "TiffPage", indices: UInt8[np.ndarray, "h w"] | UInt16[np.ndarray, "h w"]) -> Pixels:
    """Look up the colours of a palette. Some writers store 8 bits in the 16 of each entry."""
    table = np.asarray(page.colormap)
    table = table if table.max() < 256 else table >> 8
    return np.moveaxis(table.astype(np.uint8)[:, indices.astype(np.intp)], 0, -1)


def full_range(samples: Bool[np.ndarray, "h w c"] | Pixels, bits: int | tuple[int, ...]) -> Pixels:
    """Stretch samples of fewer bits than their type has, so that the largest number is white."""
    if samples.dtype == bool:
        return samples.astype(np.uint8) * np.uint8(255)
    if not isinstance(bits, int) or bits in (8, 16):
        return samples
    white = np.iinfo(samples.dtype).max
    return np.rint(samples * (white / (2**bits - 1))).astype(samples.dtype)


def _eight_bits(samples: Pixels) -> UInt8[np.ndarray, "h w c"]:
    return samples if samples.dtype == np.uint8 else np.rint(samples / np.float32(257)).astype(np.uint8)


def _unassociate(pixels: Pixels) -> Pixels:
    white = np.iinfo(pixels.dtype).max
    colour, alpha = pixels[..., :-1].astype(np.float64), pixels[..., -1:]
    colour = np.rint(np.minimum(colour * white / np.maximum(alpha, 1), white))
    return np.concatenate([colour.astype(pixels.dtype), alpha], axis=-1)

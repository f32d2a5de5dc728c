"""Images prepared for comparison: read, checked, cropped, divided and rounded as the protocol says."""

from dataclasses import dataclass
from pathlib import Path

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Shaped, UInt8, UInt16

from jaxsr.evaluation.pairs import Item, Source
from jaxsr.evaluation.protocols import Protocol, pixel_hash
from jaxsr.imaging.files import read_photo
from jaxsr.imaging.pixels import from_float
from jaxsr.imaging.resize import downsample_bicubic, downsample_bicubic_uint8

Stored = UInt8[np.ndarray, "_ _ 3"] | UInt16[np.ndarray, "_ _ 3"]
Ready = UInt8[np.ndarray, "_ _ 3"] | Float[np.ndarray, "_ _ 3"]
"""Pixels to be compared: uint8, or float32 in [0, 1] where the protocol does not round."""


class ImageError(ValueError):
    """An image that does not fit the others or the crop. The message names it."""


@dataclass(frozen=True, eq=False)
class Picture:
    """An image as its file stores it, in RGB, whether the file is grey or transparent, and its ICC profile or None."""

    pixels: Stored
    grey: bool
    transparent: bool = False
    icc: bytes | None = None


@dataclass(frozen=True, eq=False)
class Pair:
    """One image, or one patch of an image, to score.

    Attributes:
        image, patch: the item's name, and the number of the patch.
        hr: the original, or None.
        lr: the input of the result, or None.
        sr: the result, or None if it is still to be made.
        grey: whether the original's file is grey.
    """

    image: str
    patch: int
    hr: Ready | None
    lr: Ready | None
    sr: Ready | None
    grey: bool


@dataclass(frozen=True, eq=False)
class Loaded:
    """The pairs of one item, and the hashes of its pixels (None if there was no image).

    Attributes:
        hr_hash: hash of the pixels of the original's file.
        lr_hash: hash of the LR pixels that were used, given or made.
        transparent: whether a file is transparent; it is compared as it shows on white.
        recoloured: whether the profiles of original and result differ; their numbers are compared as they are.
    """

    pairs: tuple[Pair, ...]
    hr_hash: str | None
    lr_hash: str | None
    transparent: bool = False
    recoloured: bool = False


def read_picture(source: Source) -> Picture:
    """Read a file, or the image of a data set, at its own depth. Raises ImageFileError (a ValueError).

    A transparent image is compared as it shows on white.
    """
    if not isinstance(source, Path):
        return Picture(source(), False)
    photo = read_photo(source)
    transparent = photo.alpha is not None and bool((photo.alpha < 1).any())
    pixels = from_float(photo.shown, np.uint16 if photo.depth == 16 else np.uint8)
    return Picture(pixels, photo.grey, transparent, photo.icc)


def load(item: Item, protocol: Protocol, *, make_lr: bool = False) -> Loaded:
    """Load the pairs of an item, one per patch.

    With `make_lr`, a missing LR image is made from the original with MATLAB's bicubic.

    Raises:
        ImageError: if the sizes of the images do not fit each other or the crop.
        ImageFileError: if an image is unreadable.
        ProtocolError: if the images are not the ones that the protocol lists.
    """
    hr, lr, sr = (None if source is None else read_picture(source) for source in (item.target, item.lr, item.pred))
    hr_hash = None if hr is None else protocol.check(item.name, hr.pixels)
    if lr is not None:
        protocol.check(item.name, lr.pixels, lr=True)
    size = _lr_size(item, hr, lr, sr, protocol.scale)
    whole = {"hr": hr and _fit(item, "the original", hr, size, protocol), "sr": None}
    whole["lr"] = lr and ready(lr.pixels, protocol)
    if lr is None and make_lr and whole["hr"] is not None:
        whole["lr"] = _shrink(whole["hr"], protocol)
    if sr is not None:
        whole["sr"] = _fit(item, "the result", sr, size, protocol, None if hr is None else hr.pixels.shape)
    grey = hr is not None and hr.grey
    lr_hash = None if whole["lr"] is None else pixel_hash(whole["lr"])
    transparent = any(picture.transparent for picture in (hr, lr, sr) if picture is not None)
    recoloured = hr is not None and sr is not None and _colours(hr.icc) != _colours(sr.icc)
    return Loaded(tuple(_cut(item.name, whole, size, protocol, grey)), hr_hash, lr_hash, transparent, recoloured)


def _colours(icc: bytes | None) -> bytes | None:
    """Return a profile, or None for one that calls itself sRGB, which files without a profile are too."""
    text = (icc or b"").replace(b"\0", b"")  # the text of a profile may be UTF-16
    return None if icc is None or (b"sRGB" in text and b"linear" not in text.lower()) else icc


def ready(pixels: Shaped[np.ndarray, "h w 3"], protocol: Protocol) -> Ready:
    """Convert 8-bit, 16-bit or float pixels to the form in which the protocol compares them."""
    if protocol.bits == 8 and pixels.dtype == np.uint8:
        return pixels
    peak = 1 if np.issubdtype(pixels.dtype, np.floating) else np.iinfo(pixels.dtype).max
    return from_float(pixels.astype(np.float32) / np.float32(peak), np.uint8 if protocol.bits == 8 else np.float32)


def to_float(pixels: Ready) -> Float[np.ndarray, "h w 3"]:
    """Convert pixels to float32 in [0, 1]."""
    return pixels.astype(np.float32) / np.float32(255) if pixels.dtype == np.uint8 else pixels


def _shrink(hr: Ready, protocol: Protocol) -> Ready:
    """Shrink an original by MATLAB's bicubic, rounded if the protocol rounds."""
    if hr.dtype == np.uint8:
        return downsample_bicubic_uint8(hr, protocol.scale)
    return np.asarray(jnp.clip(downsample_bicubic(jnp.asarray(hr)[None], protocol.scale)[0], 0, 1))


def _lr_size(item: Item, hr: Picture | None, lr: Picture | None, sr: Picture | None, scale: int) -> tuple[int, int]:
    """Compute height and width in whole LR pixels: of the LR image, or else of the original, or else of the result."""
    first = lr or hr or sr
    if first is None:
        raise ImageError(f"{item.name}: has no original, no LR image and no result; give at least one of them.")
    height, width = first.pixels.shape[:2] if lr else (n // scale for n in first.pixels.shape[:2])
    if lr and hr and tuple(n // scale for n in hr.pixels.shape[:2]) != (height, width):
        raise ImageError(
            f"{item.name}: the original of {_size(hr)} and the LR image of {_size(lr)} pixels are not a pair of "
            f"scale {scale}; give images of one scene, or a protocol of another scale."
        )
    return height, width


def _fit(
    item: Item,
    what: str,
    picture: Picture,
    size: tuple[int, int],
    protocol: Protocol,
    original: tuple[int, ...] | None = None,
) -> Ready:
    """Crop an image at the bottom and the right to whole LR pixels.

    Raises ImageError if a result has neither that size nor the original's.
    """
    height, width = (protocol.scale * n for n in size)
    shape = picture.pixels.shape
    if what == "the result" and shape[:2] not in ((height, width), original and original[:2]):
        raise ImageError(
            f"{item.name}: the result has {_size(picture)} pixels in place of {width}x{height}; "
            f"check that it was made at scale {protocol.scale} from this image."
        )
    return ready(picture.pixels[:height, :width], protocol)


def _size(picture: Picture) -> str:
    return f"{picture.pixels.shape[1]}x{picture.pixels.shape[0]}"


def _cut(
    name: str, whole: dict[str, Ready | None], size: tuple[int, int], protocol: Protocol, grey: bool
) -> list[Pair]:
    """Cut one pair per patch of the centre crop, row by row, or one of the whole image if the protocol has no crop."""
    if protocol.crop is None:
        return [Pair(name, 0, **whole, grey=grey)]
    if min(size) < protocol.crop:
        raise ImageError(
            f"{name}: its {size[1]}x{size[0]} LR pixels do not hold the crop of {protocol.crop}x{protocol.crop} of "
            f"protocol {protocol.name}; leave the image out, or give another protocol."
        )
    side = protocol.crop // protocol.patches
    top, left = ((n - protocol.crop) // 2 for n in size)
    pairs = []
    for patch in range(protocol.patches**2):
        row, column = divmod(patch, protocol.patches)
        corner = (top + row * side, left + column * side)
        parts = {key: _window(x, corner, side, 1 if key == "lr" else protocol.scale) for key, x in whole.items()}
        pairs.append(Pair(name, patch, **parts, grey=grey))
    return pairs


def _window(x: Ready | None, corner: tuple[int, int], side: int, scale: int) -> Ready | None:
    y, z = (scale * n for n in corner)
    return None if x is None else x[y : y + scale * side, z : z + scale * side]

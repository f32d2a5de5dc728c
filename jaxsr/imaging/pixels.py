"""Pixels: the type of a file's pixels, and the conversion of users' arrays to float32 RGB in [0, 1] and back."""

import os
from typing import Any

import numpy as np
from jaxtyping import Float, Num, Shaped, UInt8, UInt16
from numpy.typing import DTypeLike
from PIL import Image

Pixels = UInt8[np.ndarray, "h w c"] | UInt16[np.ndarray, "h w c"]
"""Pixels of a file, over the full range of their type."""


_MODES = ("RGB", "L", "I;16", "I;16L", "I;16B", "I;16N")


class ImageFileError(ValueError):
    """An image file cannot be read or written. The message is one sentence that names the file and says what to do."""


def as_array(image: Any) -> Shaped[np.ndarray, "..."]:
    """Convert anything that NumPy accepts to an array. Pillow images must have a mode whose numbers are colours.

    Raises:
        ValueError: for a path, or a Pillow image of another mode than RGB, L or I;16 in any byte order (the numbers of
            a palette image are not colours).
    """
    if isinstance(image, str | os.PathLike):
        raise ValueError(
            f"image: open {os.fspath(image)} first and give its pixels, a NumPy array or a Pillow image, "
            "such as Image.open(path).convert('RGB')."
        )
    if isinstance(image, Image.Image) and image.mode not in _MODES:
        raise ValueError(f"image: a Pillow image must be RGB, L or I;16, not {image.mode}; {_advice(image.mode)}.")
    array = np.asarray(image)
    native = isinstance(image, Image.Image) and array.dtype.kind == "u"
    return array.astype(array.dtype.newbyteorder("="), copy=False) if native else array


def _advice(mode: str) -> str:
    """Say how to convert a Pillow image of another mode. `convert('RGB')` would cut numbers beyond 8 bits to white."""
    if mode == "I":
        return "if 65535 is white, give np.asarray(image).astype(np.uint16)"
    if mode == "F":
        return "give np.asarray(image) divided by its white"
    return "use image.convert('RGB')"


def to_float_rgb(image: Num[np.ndarray, "..."]) -> tuple[Float[np.ndarray, "h w 3"], bool]:
    """Convert an (h, w, 3) or grey (h, w) image, uint8, uint16 or float, to float32 RGB in [0, 1].

    Returns the RGB image, and whether the input was grey.

    Raises:
        ValueError: for another shape or type, an empty image, or float pixels outside [0, 1].
    """
    grey = image.ndim == 2
    if image.ndim == 3 and image.shape[2] in (2, 4):
        raise ValueError(
            f"image: give it without the alpha channel, image[..., {':3' if image.shape[2] == 4 else '0'}], "
            f"got shape {image.shape}; the command, python -m jaxsr.sample, keeps transparency."
        )
    if not (grey or (image.ndim == 3 and image.shape[2] == 3)) or 0 in image.shape:
        raise ValueError(f"image: must be (h, w, 3) or grey (h, w) with at least one pixel, got shape {image.shape}.")
    if np.issubdtype(image.dtype, np.floating):
        values = image.astype(np.float32)
        if not (values.min() >= 0 and values.max() <= 1):  # this also refuses NaN
            raise ValueError("image: float pixels must be in [0, 1].")
    elif image.dtype in (np.uint8, np.uint16):
        values = image.astype(np.float32) / np.float32(np.iinfo(image.dtype).max)
    else:
        raise ValueError(f"image: pixels must be uint8, uint16 or float, got {image.dtype}.")
    return (np.broadcast_to(values[..., None], (*image.shape, 3)) if grey else values), grey


def on_white(rgb: Float[np.ndarray, "h w 3"], alpha: Float[np.ndarray, "h w"]) -> Float[np.ndarray, "h w 3"]:
    """Show pixels in [0, 1] with their opacity on white."""
    return 1 - alpha[..., None] * (1 - rgb)


def from_float(values: Float[np.ndarray, "*shape"], dtype: DTypeLike) -> Num[np.ndarray, "*shape"]:
    """Clip pixels of about [0, 1] and convert them to `dtype`; uint8 and uint16 are rounded to 0..255 or 0..65535."""
    values = np.clip(values, 0, 1)  # blending weights may sum to 1 up to rounding
    if np.issubdtype(dtype, np.floating):
        return values.astype(dtype, copy=False)
    return np.rint(values * np.iinfo(dtype).max).astype(dtype)

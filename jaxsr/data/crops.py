"""Crops of photographs: plain, turned or mirrored, or cut from the bicubic LR image of a photograph."""

import numpy as np
from jaxtyping import UInt8

from jaxsr.data.photographs import RGB
from jaxsr.imaging.resize import downsample_bicubic_uint8

LR_MARGIN = 4
"""LR pixels kept around a crop that is downsampled. The bicubic kernel reaches less than 2 pixels beyond it."""


def crop(image: RGB, y: int, x: int, size: int) -> RGB:
    """Cut out the square of `size` pixels whose upper left corner is at row y and column x, as a view."""
    return image[y : y + size, x : x + size]


def dihedral(image: RGB, k: int) -> RGB:
    """Apply one of the eight flips and rotations of a square: k % 4 quarter turns, then a mirror for k >= 4."""
    turned = np.rot90(image, k % 4)
    return turned[:, ::-1] if k >= 4 else turned


def downsample_crop(image: RGB, y: int, x: int, size: int, scale: int) -> UInt8[np.ndarray, "p p 3"]:
    """Compute the crop at (y, x) of a photograph's bicubic LR image from nearby pixels alone, equal to the last bit."""
    (top, bottom), (left, right) = (
        (max(start - LR_MARGIN, 0), min(start + size + LR_MARGIN, n // scale))
        for start, n in zip((y, x), image.shape, strict=False)
    )
    part = image[top * scale : bottom * scale, left * scale : right * scale]
    return crop(downsample_bicubic_uint8(part, scale), y - top, x - left, size)

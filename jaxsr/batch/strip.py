"""A strip: the results of one image with several alphas, side by side, each below the label of its alpha."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageDraw, ImageFont

GAP = 4  # white pixels to the right of every panel


def strip_shape(height: int, width: int, panels: int) -> tuple[int, int, int]:
    """Return (height, width, channels) of a strip of `panels` results of height x width pixels."""
    return height + _label_height(width), panels * (width + GAP), 3


def new_strip(height: int, width: int, alphas: Sequence[float]) -> UInt8[np.ndarray, "S W 3"]:
    """Make a white strip with its labels. The results are written into its `panels` later."""
    strip, label = np.full(strip_shape(height, width, len(alphas)), 255, np.uint8), _label_height(width)
    for left, alpha in zip(range(0, strip.shape[1], width + GAP), alphas, strict=True):
        strip[:label, left : left + width] = _label(f"alpha {alpha:g}", label, width)
    return strip


def panels(strip: UInt8[np.ndarray, "S W 3"], number: int) -> UInt8[np.ndarray, "h w k 3"]:
    """Return a view of the results in a strip of `number` panels, for writing them."""
    width = strip.shape[1] // number - GAP
    columns = strip.reshape(len(strip), number, width + GAP, 3)
    return columns[_label_height(width) :, :, :width].swapaxes(1, 2)


def _label_height(width: int) -> int:
    return min(max(width // 10, 14), 64)


def _label(text: str, height: int, width: int) -> UInt8[np.ndarray, "h w 3"]:
    image = Image.new("RGB", (width, height), "white")
    ImageDraw.Draw(image).text((1, 0), text, "black", ImageFont.load_default(0.75 * height))
    return np.asarray(image)

"""A strip: several results of one image, side by side, each below its label."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageDraw, ImageFont

GAP = 4  # white pixels to the right of every panel


def strip_shape(height: int, width: int, panels: int) -> tuple[int, int, int]:
    """Return (height, width, channels) of a strip of `panels` results of height x width pixels."""
    return height + _label_height(width), panels * (width + GAP), 3


def new_strip(height: int, width: int, labels: Sequence[str]) -> UInt8[np.ndarray, "S W 3"]:
    """Make a white strip with its labels. The results are written into its `panels` later."""
    strip, label = np.full(strip_shape(height, width, len(labels)), 255, np.uint8), _label_height(width)
    for left, text in zip(range(0, strip.shape[1], width + GAP), labels, strict=True):
        strip[:label, left : left + width] = _label(text, label, width)
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

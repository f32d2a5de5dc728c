"""A strip: results of one image with several alphas beside each other, each under its number."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageDraw, ImageFont

GAP = 4  # white pixels right of every panel


def strip_shape(height: int, width: int, panels: int) -> tuple[int, int, int]:
    """(height, width, channels) of the strip of so many results of height x width pixels."""
    return height + _label_height(width), panels * (width + GAP), 3


def new_strip(height: int, width: int, alphas: Sequence[float]) -> UInt8[np.ndarray, "S W 3"]:
    """A white strip with its labels, for results that are yet to be written into its `panels`."""
    strip, label = np.full(strip_shape(height, width, len(alphas)), 255, np.uint8), _label_height(width)
    for left, alpha in zip(range(0, strip.shape[1], width + GAP), alphas, strict=True):
        strip[:label, left : left + width] = _label(f"alpha {alpha:g}", label, width)
    return strip


def panels(strip: UInt8[np.ndarray, "S W 3"], number: int) -> UInt8[np.ndarray, "h w k 3"]:
    """The results in a strip of so many panels: a view, to be written to."""
    width = strip.shape[1] // number - GAP
    columns = strip.reshape(len(strip), number, width + GAP, 3)
    return columns[_label_height(width) :, :, :width].swapaxes(1, 2)


def _label_height(width: int) -> int:
    return min(max(width // 10, 14), 64)


def _label(text: str, height: int, width: int) -> UInt8[np.ndarray, "h w 3"]:
    image = Image.new("RGB", (width, height), "white")
    ImageDraw.Draw(image).text((1, 0), text, "black", ImageFont.load_default(0.75 * height))
    return np.asarray(image)

"""The size of a result: the part of the input, the network's own size, the one that was asked for, and the bytes."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np

from jaxsr.batch.request import Request
from jaxsr.batch.strip import strip_shape
from jaxsr.choices import MOST_SCALE
from jaxsr.guidance.region import Box
from jaxsr.imaging.files import Photo, pixel_dtype


def network_size(size: tuple[int, int], scale: int) -> tuple[int, int]:
    """Return (height, width) of what the network makes of an image of `size`."""
    return scale * size[0], scale * size[1]


def final_size(size: tuple[int, int], scale: int, request: Request) -> tuple[int, int]:
    """Return (height, width) of the result of an image of `size` (height, width).

    Args:
        size: the image.
        scale: the network's scale, which applies if the request asks for no other.
        request: it may give a scale, a width, a height, or both sides.
    Raises:
        ValueError: if the result would be smaller than the image or more than MOST_SCALE times as large, or if both
            sides are given and do not have the proportions of the image. The message begins with the option's name.
    """
    height, width = size
    if request.scale is not None:
        return _rounded(request.scale * height), _rounded(request.scale * width)
    if request.width is None and request.height is None:
        return network_size(size, scale)
    asked = request.height, request.width
    rows = asked[0] or _rounded(asked[1] * height / width) if asked[1] else asked[0]
    columns = asked[1] or _rounded(asked[0] * width / height) if asked[0] else asked[1]
    assert rows is not None
    assert columns is not None
    if None not in asked and rows != _rounded(columns * height / width) and columns != _rounded(rows * width / height):
        fitting = f"{columns}x{_rounded(columns * height / width)}"
        raise ValueError(
            f"height: {columns}x{rows} has not the proportions of the image of {width}x{height}; give one side alone, "
            f"or {fitting}."
        )
    name, side, own = ("width", columns, width) if asked[1] else ("height", rows, height)
    if not own <= side <= MOST_SCALE * own:
        raise ValueError(
            f"{name}: {side} pixels are {side / own:.3g} times those of the image of {width}x{height}; choose "
            f"{own} to {math.floor(MOST_SCALE * own)}."
        )
    return rows, columns


def is_resized(size: tuple[int, int], scale: int, request: Request) -> bool:
    """Return whether the result has another size than the network gives it."""
    return final_size(size, scale, request) != network_size(size, scale)


def _rounded(pixels: float) -> int:
    return max(math.floor(pixels + 0.5), 1)


def cropped(photo: Photo, crop: Box | None) -> Photo:
    """Return the part (x, y, width, height) of a photograph. Raises ValueError unless it lies inside."""
    if crop is None:
        return photo
    (x, y, width, height), (rows, columns) = crop, photo.rgb.shape[:2]
    if x + width > columns or y + height > rows:
        raise ValueError(
            f"crop: {x},{y},{width},{height} is not inside of the image of {columns}x{rows}; choose a part of it."
        )
    part = (slice(y, y + height), slice(x, x + width))
    alpha = None if photo.alpha is None else photo.alpha[part].copy()
    return replace(photo, rgb=photo.rgb[part].copy(), alpha=alpha)


def is_changed(photo: Photo, scale: int, request: Request) -> bool:
    """Return whether a result is resized or corrected after the network."""
    return request.colour_fix is not None or is_resized(photo.rgb.shape[:2], scale, request)


def result_bytes(photo: Photo, scale: int, request: Request, target: Path) -> int:
    """Estimate the bytes that a result takes: its pixels, the encoder's copy of them, and the file.

    A result that is resized or corrected has a canvas of the network's size too.
    """
    shape = result_shape(photo, scale, request)
    held = 3 * math.prod(shape) * np.dtype(pixel_dtype(target, photo.depth)).itemsize
    if not is_changed(photo, scale, request):
        return held
    channels = len(request.labels) * 3 or (1 if photo.grey else 3)
    return held + math.prod(network_size(photo.rgb.shape[:2], scale)) * channels * np.dtype(np.uint16).itemsize


def result_shape(photo: Photo, scale: int, request: Request) -> tuple[int, int, int]:
    """Return (height, width, channels) of the result, or of its strip. Raises ValueError for a size out of range."""
    height, width = final_size(photo.rgb.shape[:2], scale, request)
    if request.labels:
        return strip_shape(height, width, len(request.labels))
    return height, width, (1 if photo.grey else 3) + (photo.alpha is not None)

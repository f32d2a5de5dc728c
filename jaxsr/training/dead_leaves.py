"""Synthetic training crops: shapes of one colour each that cover one another, and flat or evenly changing areas.

Photographs have few areas without any texture and few edges that are exactly straight. A network that has seen
photographs alone may paint a pattern into the first and a second line beside the second. The shapes are those of Lee,
Mumford and Huang, "Occlusion Models for Natural Images", IJCV 2001, but fewer: their radii r have the density r^-2
instead of r^-3, so that few shapes fill a crop.
"""

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageDraw

FLAT_SHARE = 0.4
"""Share of the crops that are one colour, or change evenly from one colour to another."""
_FINE = 4  # the shapes are drawn this many times larger and averaged, so that edges are smooth
_LEAVES = (3, 40)
_LEAST_RADIUS = 1.5  # pixels


def dead_leaves(
    photograph: UInt8[np.ndarray, "h w 3"], size: int, rng: np.random.Generator
) -> UInt8[np.ndarray, "s s 3"]:
    """Draw a square crop of `size` pixels, in colours of the photograph."""
    first, second = _colours(photograph, 2, rng)
    if rng.random() < FLAT_SHARE:
        return _even(first, second if rng.random() < 0.5 else first, size, rng)
    canvas = Image.new("RGB", (size * _FINE, size * _FINE), tuple(first.tolist()))
    draw, count = ImageDraw.Draw(canvas), int(rng.integers(*_LEAVES))
    for colour in _colours(photograph, count, rng):
        _draw_leaf(draw, tuple(colour.tolist()), size, rng)
    return np.asarray(canvas.reduce(_FINE))


def _colours(photograph: np.ndarray, count: int, rng: np.random.Generator) -> UInt8[np.ndarray, "n 3"]:
    height, width = photograph.shape[:2]
    return photograph[rng.integers(height, size=count), rng.integers(width, size=count)]


def _even(first: np.ndarray, second: np.ndarray, size: int, rng: np.random.Generator) -> UInt8[np.ndarray, "s s 3"]:
    """Return a crop that changes evenly from one colour to another in a random direction."""
    angle = rng.uniform(0, 2 * np.pi)
    place = np.linspace(-0.5, 0.5, size)
    along = 0.5 + (place[:, None] * np.sin(angle) + place * np.cos(angle)) / np.sqrt(2)
    mixed = first + along[..., None] * (second.astype(float) - first)
    return np.rint(mixed).astype(np.uint8)


def _draw_leaf(draw: ImageDraw.ImageDraw, colour: tuple[int, ...], size: int, rng: np.random.Generator) -> None:
    """Draw an ellipse, a polygon or a line. Radii r have the density r^-2 between the least one and half the crop."""
    low, high = 1 / _LEAST_RADIUS, 2 / size
    radius = _FINE / (low - rng.random() * (low - high))
    x, y = rng.uniform(0, size * _FINE, 2)
    kind = rng.random()
    if kind < 0.4:
        flat = radius * rng.uniform(0.3, 1)
        draw.ellipse((x - radius, y - flat, x + radius, y + flat), fill=colour)
    elif kind < 0.8:
        angles = np.sort(rng.uniform(0, 2 * np.pi, int(rng.integers(3, 7))))
        draw.polygon([(x + radius * np.cos(a), y + radius * np.sin(a)) for a in angles], fill=colour)
    else:
        angle, length = rng.uniform(0, np.pi), rng.uniform(0.2, 1) * size * _FINE
        ends = [(x + s * length * np.cos(angle), y + s * length * np.sin(angle)) for s in (-1, 1)]
        draw.line(ends, fill=colour, width=max(_FINE, round(min(radius, 4 * _FINE))))

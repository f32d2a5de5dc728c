"""Tiles of one fixed shape that cover an image of any size, and their blending into one image, band by band.

Memory never holds a padded input or a whole result: `cut` pads one tile at a time, at the right and the bottom, and
`blend_tiles` yields rows as soon as no later tile can reach them. There are two ways to blend:

- "feather": neighbours fade into each other by a sin^2 ramp. Origins are multiples of a unit; the last tiles are moved
  back as far as this unit allows, so that less than one unit of them is padding.
- "mean": the last tiles are moved back to fit, and overlaps are plain averages, as in the released ResShift tool. It
  leaves a hard step at every edge of a tile. It exists to reproduce published numbers.

The diagram shows two feathered tiles along one axis. The margins have no weight, because the network sees too little
context there:

    tile 0  -----------------------------------~~~~~~~~~~~~~~~~.........
    tile 1                            .........~~~~~~~~~~~~~~~~-----------------------------------
                                       margin        ramp       margin
                                         1/4          1/2         1/4    of the overlap
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain

import numpy as np
from jaxtyping import Float, Shaped

from jaxsr.choices import BLENDS

# Weights are multiples of 2**-12, so that products of two weights, and sums of these, are exact in float32.
WEIGHT_STEPS = 2**12


@dataclass(frozen=True)
class TilePlan:
    """The positions of the tiles of one image, in pixels of the (low-resolution) input. `plan_tiles` makes it.

    Tiles are rectangles of one shape, numbered in row-major order.

    Attributes:
        height, width: size of the image.
        tile: height and width of the tiles.
        overlap: smallest overlap of neighbouring tiles. It has no meaning along an axis with a single tile.
        blend: "feather" or "mean".
        tops: first image row of each row of tiles.
        lefts: first image column of each column of tiles.
    """

    height: int
    width: int
    tile: tuple[int, int]
    overlap: int
    blend: str
    tops: tuple[int, ...]
    lefts: tuple[int, ...]

    def origin(self, index: int) -> tuple[int, int]:
        """Return (top, left) of tile number `index`. Raises ValueError if the plan has no such tile."""
        if not 0 <= index < len(self):
            raise ValueError(f"The plan has tiles 0 to {len(self) - 1}, but tile {index} was named.")
        row, column = divmod(index, len(self.lefts))
        return self.tops[row], self.lefts[column]

    def __len__(self) -> int:
        return len(self.tops) * len(self.lefts)


def plan_tiles(
    height: int, width: int, tile: int | tuple[int, int], overlap: int, align: int = 1, blend: str = "feather"
) -> TilePlan:
    """Cover height x width pixels with tiles that overlap their neighbours by `overlap` pixels or more.

    Each tile begins tile - overlap after the one before it, but the last tiles are moved back. With "feather", every
    origin is a multiple of `align`, and the last tiles extend over the right and bottom edges by less than `align`.
    Attention windows therefore fall on the same places of the image in every tile, and every plan pads the image by the
    same pixels. With "mean", the last tiles end with the image, so that their origins are not aligned.

    Args:
        height, width: size of the image.
        tile: height and width of the tiles; one number makes squares.
        overlap: smallest overlap of neighbouring tiles.
        align: number of which tile and overlap must be multiples.
        blend: "feather" or "mean".
    Raises:
        ValueError: for an empty image, an overlap below 0 or as large as a tile that has a neighbour along this axis,
            unless tile and overlap are multiples of `align`, and for an unknown `blend`.
    """
    if min(height, width) < 1:
        raise ValueError(f"The image must have at least one pixel, but is {height} x {width}.")
    tile = (tile, tile) if isinstance(tile, int) else tile
    if min(tile) < 1:
        raise ValueError(f"tile must be at least 1, but is {min(tile)}.")
    axes = tuple(zip((height, width), tile, strict=True))
    least = min((side for size, side in axes if size > side), default=overlap + 1)
    if not 0 <= overlap < least:
        raise ValueError(f"overlap must be at least 0 and less than the tile ({least}), but is {overlap}.")
    if align < 1 or tile[0] % align or tile[1] % align or overlap % align:
        raise ValueError(
            f"tile ({tile}) and overlap ({overlap}) must be multiples of align, a positive number ({align})."
        )
    if blend not in BLENDS:
        raise ValueError(f"blend must be one of {', '.join(BLENDS)}, but is {blend!r}.")
    unit = align if blend == "feather" else 1
    tops, lefts = (_starts(size, side, side - overlap, unit) if size > side else (0,) for size, side in axes)
    return TilePlan(height, width, tile, overlap, blend, tops, lefts)


def _starts(size: int, tile: int, stride: int, unit: int) -> tuple[int, ...]:
    last = -(-(size - tile) // unit) * unit
    return (*range(0, last, stride), last)


def cut(image: Shaped[np.ndarray, "h w c"], plan: TilePlan, index: int) -> Shaped[np.ndarray, "th tw c"]:
    """Cut tile number `index` out of the image, as a copy of the same dtype.

    Beyond the right and bottom edges, the image continues by reflection about its last pixel, as often as needed. A
    side of one pixel is repeated. Memory: one tile. Raises ValueError if image or index do not belong to the plan.
    """
    if image.shape[:2] != (plan.height, plan.width):
        raise ValueError(f"The plan is for {plan.height} x {plan.width} pixels, but the image has {image.shape[:2]}.")
    top, left = plan.origin(index)
    rows = _reflected(np.arange(top, top + plan.tile[0]), plan.height)
    columns = _reflected(np.arange(left, left + plan.tile[1]), plan.width)
    return image[rows[:, None], columns]


def _reflected(positions: np.ndarray, size: int) -> np.ndarray:
    """Fold the positions 0, 1, 2, ... of a line back and forth onto 0 .. size - 1, without repeating the ends."""
    last = size - 1
    return last - np.abs(positions % (2 * last) - last) if last else np.zeros_like(positions)


def axis_weights(plan: TilePlan, scale: int) -> tuple[Float[np.ndarray, "rows n"], Float[np.ndarray, "columns m"]]:
    """Compute the weights of each row of tiles over its n = scale * height output rows, and the same for columns.

    They are float32. The weight of a tile at a pixel is the product of its row's and its column's weight. The weights
    of all tiles that cover a pixel sum to 1: exactly with "feather", up to float32 rounding with "mean".
    """
    return _weights(plan, plan.tops, plan.tile[0], scale), _weights(plan, plan.lefts, plan.tile[1], scale)


def _weights(plan: TilePlan, origins: tuple[int, ...], side: int, scale: int) -> Float[np.ndarray, "k n"]:
    starts, size = np.array(origins)[:, None] * scale, side * scale
    pixels = starts + np.arange(size)
    if plan.blend == "mean":
        begun, ended = (np.searchsorted(edges.ravel(), pixels, "right") for edges in (starts, starts + size))
        return (1 / (begun - ended)).astype(np.float32)
    # Tile k has the weight S_k - S_(k+1), where the ramp S_k rises from 0 to 1 in the middle of what tiles k - 1 and k
    # share. All ramps are equally long, so that the sum telescopes to 1, also where more than two tiles meet.
    overlap = plan.overlap * scale
    middles = (starts[1:] + starts[:-1] + size) / 2
    weights = np.ones(pixels.shape)
    weights[1:] = _ramp(pixels[1:] + 0.5 - middles, overlap)
    weights[:-1] -= _ramp(pixels[:-1] + 0.5 - middles, overlap)
    return weights.astype(np.float32)


def _ramp(distance: np.ndarray, overlap: int) -> np.ndarray:
    """Compute a sin^2 ramp over the middle half of an overlap, rounded to multiples of 1 / WEIGHT_STEPS.

    `distance` counts from the middle of the overlap.

    The outer quarters are flat: a tile has no weight in a margin of overlap / 4 at an edge with a neighbour.
    """
    phase = np.clip(0.5 + distance / max(overlap / 2, 1), 0, 1)
    return np.round(np.sin(np.pi / 2 * phase) ** 2 * WEIGHT_STEPS) / WEIGHT_STEPS


def blend_tiles(
    plan: TilePlan, scale: int, outputs: Iterable[tuple[int, Float[np.ndarray, "n m c"]]]
) -> Iterator[tuple[int, Float[np.ndarray, "rows w c"]]]:
    """Blend output tiles, given as (number, tile), into scale*height x scale*width pixels.

    Yields bands as (first row, rows). Bands are float32, come from top to bottom, and join without gap or overlap.
    Tiles may come in any order, and every order gives the same bits: tiles are always added in the order of their
    numbers, and a tile that comes early waits. If tiles come in order, memory holds slightly more than two rows of
    tiles, one of them in the yielded band. If they come in any order within their row, it holds one more row of tiles.

    Raises ValueError for a tile that is not in the plan, has another shape, comes twice, or never comes.
    """
    weights_y, weights_x = axis_weights(plan, scale)
    tiles = _in_order(plan, scale, outputs)
    first = next(tiles)
    tiles = chain([first], tiles)
    carry = np.zeros((0, plan.width * scale, first.shape[2]), np.float32)
    for top, end, weight in zip(plan.tops, (*plan.tops[1:], plan.height), weights_y, strict=True):
        band = np.zeros((plan.tile[0] * scale, *carry.shape[1:]), np.float32)
        _add_row(band, plan, scale, tiles, weights_x)
        band *= weight[:, None, None]
        band[: len(carry)] += carry
        carry = band[(end - top) * scale :]
        yield top * scale, band[: (end - top) * scale]
    next(tiles, None)  # reads to the end, so that `_in_order` refuses a tile too many


def _in_order(
    plan: TilePlan, scale: int, outputs: Iterable[tuple[int, Float[np.ndarray, "n m c"]]]
) -> Iterator[Float[np.ndarray, "n m c"]]:
    """Yield the tiles 0, 1, 2, ... from outputs in any order."""
    rows, columns = (side * scale for side in plan.tile)
    done, waiting = 0, {}
    for index, tile in outputs:
        plan.origin(index)
        if tile.shape[:2] != (rows, columns):
            raise ValueError(f"Output tiles must be {rows} x {columns} pixels, but tile {index} has {tile.shape[:2]}.")
        if index in waiting or index < done:
            raise ValueError(f"Tile {index} was given twice.")
        waiting[index] = tile
        while done in waiting:
            yield waiting.pop(done)
            done += 1
    if done < len(plan):
        missing = len(plan) - done - len(waiting)
        raise ValueError(f"{missing} of {len(plan)} tiles are missing, the first is tile {done}.")


def _add_row(
    band: Float[np.ndarray, "n w c"],
    plan: TilePlan,
    scale: int,
    tiles: Iterator[Float[np.ndarray, "n m c"]],
    weights: Float[np.ndarray, "columns m"],
) -> None:
    """Take one row of tiles and add them to `band`, weighted along x, without the padding at the right."""
    width = band.shape[1]
    for left, weight in zip(plan.lefts, weights, strict=True):
        start, stop = left * scale, min((left + plan.tile[1]) * scale, width)
        band[:, start:stop] += (next(tiles) * weight[:, None])[:, : stop - start]

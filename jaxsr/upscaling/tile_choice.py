"""The tiles of an image for one model: the units of their sides and origins, and the shapes that `auto` and `off` take.

There are two kinds of networks. Where a norm or the autoencoder's attention sees the whole image, as in every released
network, a tile changes the result, and so does padding. Such a network gets the whole image, padded along each side to
its nominal size, as long as memory allows. The bundled network has no such part: every shape of tile gives the same
pixels away from the tile's border, so that a few shapes, each compiled once, serve all images.
"""

import math

from jaxsr.imaging import tiling
from jaxsr.models.presets import ModelPreset, PixelCodecConfig
from jaxsr.models.swin_unet import SwinUNetConfig
from jaxsr.options import Options, options_like, tile_sides

Tile = tuple[int, int]
"""Height and width, in pixels of the input."""

SMALL_SIDES = (32, 64, 96)
"""Shortest sides of `auto` for networks that do not see the whole image. Smaller pictures than the last take less time
than another compilation."""
AUTO_SIDE = 448
"""Longest side of `auto` for these networks. Longer ones overlap less, and take more memory."""
AUTO_STEPS = 16
"""For a single tile, a side between these is longer than the one before it by a part of itself, one of so many, and at
least by one unit. Few sides make few programs to compile, and near sides make little padding."""
AUTO_PIXELS = 2**20
"""Most pixels of the result per tile of `auto`, for networks that see the whole image; docs/performance.md has the
memory that they take."""
_LEAST_OVERLAP = 16
_LOCAL_OVERLAP = 24
"""Overlap of networks that do not see the whole image. With photo-x4, tiles then differ from the whole image by as much
as rounding to 8 bits does (59 dB)."""
_LEAST_SIDE = 128  # narrower tiles would compute fewer pixels of a large image, but see too little of it


def sees_whole_image(preset: ModelPreset) -> bool:
    """Return whether a pixel of the result depends on the whole tile, through GroupNorm or an autoencoder."""
    return preset.network.norm == "group" or not isinstance(preset.codec, PixelCodecConfig)


def tile_unit(preset: ModelPreset) -> int:
    """Return the unit of tile sides in input pixels. Its multiples fit the windows and positions of all levels."""
    return preset.align


def whole_unit(preset: ModelPreset) -> int:
    """Return the unit to whose next multiple each side of a whole image is padded, in input pixels.

    It is the network's nominal size where the network sees the whole image, as in the released tool, because padding
    changes the result there. Elsewhere it is the unit of tile sides, which computes least.
    """
    unit, network = tile_unit(preset), preset.network
    return math.lcm(unit, network.lq_size) if isinstance(network, SwinUNetConfig) and sees_whole_image(preset) else unit


def origin_unit(preset: ModelPreset) -> int:
    """Return the unit of overlaps, and therefore of the origins of feathered tiles, in input pixels.

    Its multiples are whole windows of the first level, hence whole latent positions. Where a tile gives the pixels of
    the whole image, they are whole positions of all levels. It divides the unit of tile sides.
    """
    network = preset.network
    if not isinstance(network, SwinUNetConfig) or not sees_whole_image(preset):
        return tile_unit(preset)
    return max(network.window_size * preset.latent_factor // preset.scale, 1)


def whole_tile(preset: ModelPreset, size: Tile) -> Tile:
    """Return the smallest tile that holds a whole image of `size` (height, width)."""
    unit = whole_unit(preset)
    return -(-size[0] // unit) * unit, -(-size[1] // unit) * unit


def choose_tiles(preset: ModelPreset, size: Tile, options: Options) -> tiling.TilePlan:
    """Plan the tiles of an image of `size` (height, width): of all shapes that the options allow, the cheapest.

    A side that was asked for shrinks to the image's, if that is smaller, where padding would change the result, and
    for the blend `mean`.

    Raises:
        ValueError: if tile or overlap do not fit the model; the message begins with the option's name.
    """
    unit = tile_unit(preset)
    if options.tile == "auto":
        limit = max(AUTO_PIXELS // preset.scale**2, unit**2)
        return _cheapest(preset, size, options, _auto_tiles(preset, size, options, limit))
    if options.tile == "off":
        return _plan(preset, size, options, whole_tile(preset, size))
    tile = tile_sides(options.tile)
    for side in tile:
        _check_multiple("tile", side, unit)
    if options.overlap is not None and options.overlap >= max(tile):
        raise ValueError(f"overlap: must be less than the tile ({max(tile)}), got {options.overlap}.")
    if options.blend == "mean" or sees_whole_image(preset):
        rows, columns = whole_tile(preset, size)
        tile = min(tile[0], rows), min(tile[1], columns)
    return _plan(preset, size, options, tile)


def check_like(preset: ModelPreset, like: str | None) -> None:
    """Raise ValueError, naming --like, if its tiles are smaller than the network takes."""
    if like is not None and (side := options_like(like)["tile"]) % (unit := tile_unit(preset)):
        raise ValueError(
            f"--like: {like} has tiles of {side} pixels, but {preset.name} takes multiples of {unit}; give another."
        )


def smaller_tiles(preset: ModelPreset, asked: Options, plan: tiling.TilePlan) -> tiling.TilePlan | None:
    """Plan smaller tiles of `auto`, of half the pixels if there are any; None if the overlap allows no smaller ones."""
    size, (height, width) = (plan.height, plan.width), plan.tile
    if sees_whole_image(preset):
        tiles = _auto_tiles(preset, size, asked, height * width // 2)
    else:
        tiles = [half_tile(preset, plan.tile)]
    tiles = [tile for tile in tiles if tile != plan.tile and min(tile) > (asked.overlap or 0)]
    return _cheapest(preset, size, asked, tiles) if tiles else None


def half_tile(preset: ModelPreset, tile: Tile) -> Tile:
    """Return the largest tile with half the sides, or less, that has room for an overlap; at last `tile` itself."""
    unit = tile_unit(preset)
    least = unit if sees_whole_image(preset) else 2 * unit
    height, width = (max(side // 2 // unit * unit, min(side, least)) for side in tile)
    return height, width


def _auto_tiles(preset: ModelPreset, size: Tile, options: Options, limit: int) -> list[Tile]:
    """List the shapes that `auto` may take; those of networks that see the whole image have at most `limit` pixels."""
    unit = tile_unit(preset)
    if not sees_whole_image(preset):
        overlap = _LOCAL_OVERLAP if options.overlap is None else options.overlap
        height, width = (_cheapest_side(n, auto_sides(unit, n), overlap) for n in size)
        return [(height, width)]
    whole, overlap = whole_tile(preset, size), options.overlap or 0
    if whole[0] * whole[1] <= limit:
        return [whole]
    heights, widths = (range(unit, min(side, limit // unit) + 1, unit) for side in whole)
    shapes = [(h, w) for h in heights for w in widths if h * w <= limit]
    for least in (max(_LEAST_SIDE, overlap + 1), overlap + 1):
        wide = [tile for tile in shapes if tile[0] >= min(size[0], least) and tile[1] >= min(size[1], least)]
        if wide:
            return wide
    return shapes[-1:]


def auto_sides(unit: int, length: int) -> list[int]:
    """List the sides of `auto` for networks that do not see the whole image, along an axis of `length` pixels.

    They are multiples of `unit`: all where the axis needs several tiles, as these take longer than a compilation.
    """
    if length > AUTO_SIDE:
        return list(range(SMALL_SIDES[-1], AUTO_SIDE + 1, unit))
    sides = [-(-side // unit) * unit for side in SMALL_SIDES]
    while (following := sides[-1] + max(sides[-1] // AUTO_STEPS // unit, 1) * unit) <= AUTO_SIDE:
        sides.append(following)
    return sides


def _cheapest_side(length: int, sides: list[int], overlap: int) -> int:
    """Return the side whose tiles compute the fewest pixels along an axis, and of these sides the longest."""

    def cost(side: int) -> tuple[int, int]:
        count = 1 if side >= length else -(-(length - overlap) // (side - overlap))
        return count * side, count

    possible = [side for side in sides if side >= length or side > overlap]
    return min(possible, key=cost) if possible else sides[-1]  # which the plan refuses


def _cheapest(preset: ModelPreset, size: Tile, options: Options, tiles: list[Tile]) -> tiling.TilePlan:
    """Plan with each shape, and return the plan that computes the fewest pixels, and has the fewest tiles of these."""
    plans = [_plan(preset, size, options, tile) for tile in tiles]
    return min(plans, key=lambda plan: (computed_pixels(plan), len(plan), max(plan.tile)))


def computed_pixels(plan: tiling.TilePlan) -> int:
    """Return the number of input pixels in all tiles, with overlaps and padding."""
    return len(plan) * plan.tile[0] * plan.tile[1]


def _plan(preset: ModelPreset, size: Tile, options: Options, tile: Tile) -> tiling.TilePlan:
    feather, unit = options.blend == "feather", origin_unit(preset)
    overlap = _default_overlap(preset, size, tile) if options.overlap is None else options.overlap
    if feather and options.overlap is None and not overlap and (size[0] > tile[0] or size[1] > tile[1]):
        raise ValueError(
            f"tile: {min(tile)} leaves no room for an overlap, so that seams show; give {2 * unit} or more, "
            "or overlap 0 if you want them."
        )
    if feather:
        _check_multiple("overlap", overlap, unit)
    if overlap >= max(tile) and size[0] <= tile[0] and size[1] <= tile[1]:
        overlap = 0  # a single tile has none, and its options must stay valid
    return tiling.plan_tiles(*size, tile, overlap, align=unit if feather else 1, blend=options.blend)


def _default_overlap(preset: ModelPreset, size: Tile, tile: Tile) -> int:
    """Return an eighth of the longer side, at least 16, in whole units; only axes with several tiles count, if any.

    Where a tile gives the pixels of the whole image, the border that differs is as wide in every tile, and so is the
    overlap, but at most half of the tile.
    """
    sides = [side for side, n in zip(tile, size, strict=True) if n > side] or list(tile)
    unit = origin_unit(preset)
    if not sees_whole_image(preset):
        return min(_LOCAL_OVERLAP, min(sides) // 2) // unit * unit
    return min(math.ceil(max(max(sides) / 8, _LEAST_OVERLAP) / unit) * unit, min(sides) - unit)


def _check_multiple(name: str, value: int, unit: int) -> None:
    if value % unit:
        raise ValueError(f"{name}: must be a multiple of {unit} for this model, got {value}.")

"""The part of a guide that a tile needs: maps at the size of the input, crops of the reference, scales.

The guide holds maps at the size of the input, and the reference in its given type. Only a few tiles at a time exist as
floats at the size of the result.
"""

from typing import Any, NamedTuple

import numpy as np

from jaxsr.guidance.guide import Guide, Scales
from jaxsr.guidance.region import Region, cut_region
from jaxsr.imaging import tiling

Values = Any  # float32: np.ndarray when cut, jax.Array inside the compiled function


class TileReference(NamedTuple):
    """The HR reference of some tiles.

    Attributes:
        weight: weights of the reference, shape (b, h, w, 1), at the size of the input.
        image: the reference in [0, 1], shape (b, H, W, 3), at the size of the result.
        scale, offset: slope and offset of Eq. 10, one number per step.
    """

    weight: Values
    image: Values
    scale: Values
    offset: Values


class TileGuides(NamedTuple):
    """The guidance of some tiles.

    Attributes:
        scale: LR scales, which are the same for all tiles: for each tile one number per step, or one row of them per
            panel of a strip.
        weight: factors of the LR scale, shape (b, h, w, 1), or None.
        hr: the HR reference, or None.
    """

    scale: Values
    weight: Values | None
    hr: TileReference | None


def cut_guides(guide: Guide, scales: Scales, plan: tiling.TilePlan, indices: list[int], scale: int) -> TileGuides:
    """Cut the guidance of the tiles `indices` out of a guide, for a model that enlarges by `scale`."""
    hr = weight = None
    if guide.alpha_map is not None:
        weight = np.stack([tiling.cut(guide.alpha_map[..., None], plan, i) for i in indices]).astype(np.float32)
    if guide.region is not None:
        zeros = ((0.0,) * len(scales.lr[0]),) * 2
        slope, offset = (scales.hr, scales.offset) if scales.hr and scales.offset else zeros
        hr = cut_reference(guide.region, plan, indices, scale, slope, offset)
        weight = (1 - hr.weight) * (1 if weight is None else weight)
    lr = np.array(scales.lr if guide.strip else scales.lr[0], np.float32)
    return TileGuides(np.stack([lr] * len(indices)), weight, hr)


def cut_reference(
    region: Region,
    plan: tiling.TilePlan,
    indices: list[int],
    scale: int,
    slope: tuple[float, ...] = (),
    offset: tuple[float, ...] = (),
) -> TileReference:
    """Cut the reference of the tiles `indices` out of a region, with its slope and offset per step."""
    crops = [cut_region(region, plan, i, scale) for i in indices]
    weight, image = (np.stack(parts) for parts in zip(*crops, strict=True))
    return TileReference(weight, image, np.array(slope, np.float32), np.array(offset, np.float32))

"""The region for which an HR reference is known (a telephoto inset): its place, its weights, and its part in each tile.

It is the Reference Region of the paper; the rest is the Non-Reference Region. Inside, the mean of every step is
corrected with slope and offset of the regression of Delta_t on Sigma_t G_t with c = HR (Eq. 9-11). Outside, it is
corrected with the LR scale that is fitted in the region. The two corrections fade into each other inside the region,
because there is no reference outside.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Num

from jaxsr.guidance.option_conflicts import Given, find_reference_conflict, refuse
from jaxsr.imaging import tiling
from jaxsr.imaging.pixels import to_float_rgb
from jaxsr.metrics.consistency import lr_consistency_by_bands

FEATHER = 8
# In 25 photographs of RealSR, the matching HR image reaches 22 to 34 dB when shrunk. Another half of the same picture
# reaches 7 to 17 dB.
_LEAST_CONSISTENCY = 18.0

Box = tuple[int, int, int, int]
"""(x, y, width, height) in pixels of the input."""


@dataclass(frozen=True, eq=False)
class Region:
    """A reference and the region where it applies. `make_region` makes it.

    Attributes:
        box: the smallest box that contains the region.
        weight: weight of the reference at every pixel of the box, in [0, 1]; 0 where the reference is unknown.
        image: the reference in the box, `scale` times the size of the box: uint8, uint16, or float in [0, 1].
    """

    box: Box
    weight: Float[np.ndarray, "h w"]
    image: Num[np.ndarray, "H W 3"]


def make_region(
    rgb: Float[np.ndarray, "h w 3"],
    reference: Num[np.ndarray, "..."],
    scale: int,
    *,
    box: Box | None = None,
    mask: Num[np.ndarray, "p q"] | None = None,
    feather: int = FEATHER,
) -> Region:
    """Make the region of the image `rgb` that a box or a mask marks. Exactly one of the two must be given.

    Args:
        rgb: the input, in [0, 1].
        reference: the HR image, (H, W, 3) or grey (H, W). With a box, its size is `scale` times the box. With a mask,
            its size is `scale` times the image, or `scale` times the smallest box around the mask.
        scale: factor by which the model enlarges.
        box: box that the reference shows.
        mask: weights of the reference, in [0, 1], at the size of the input.
        feather: pixels of the input over which the reference fades in from the border of the region.
    Raises:
        ValueError: for arguments that do not fit, or a reference that shows something other than the input there.
    """
    height, width = rgb.shape[:2]
    reference = _as_rgb(reference)
    refuse(
        find_reference_conflict(Given(reference=True, reference_box=box is not None, reference_mask=mask is not None))
    )
    if feather < 0:
        raise ValueError(f"feather: must be at least 0 pixels, got {feather}.")
    (x, y, w, h), weight = _from_box(box, height, width) if box else _from_mask(mask, height, width)
    if mask is not None and reference.shape[:2] == (scale * height, scale * width):
        reference = reference[scale * y : scale * (y + h), scale * x : scale * (x + w)]
    if reference.shape[:2] != (scale * h, scale * w):
        raise ValueError(
            f"reference: must be {scale * w}x{scale * h} pixels, {scale} times the box {w}x{h} of the input, "
            f"but is {reference.shape[1]}x{reference.shape[0]}; check the reference and where it lies."
        )
    _check_content(reference, rgb[y : y + h, x : x + w], scale, weight > 0)
    at_edge = (y == 0, y + h == height, x == 0, x + w == width)
    return Region((x, y, w, h), weight * _fade(weight > 0, feather, at_edge), reference)


def _as_rgb(reference: Num[np.ndarray, "..."]) -> Num[np.ndarray, "H W 3"]:
    if reference.ndim == 2:
        reference = np.broadcast_to(reference[..., None], (*reference.shape, 3))
    if reference.ndim != 3 or reference.shape[2] != 3:
        raise ValueError(f"reference: must be (H, W, 3) or grey (H, W), got shape {reference.shape}.")
    floats = np.issubdtype(reference.dtype, np.floating)
    if not (floats and reference.min() >= 0 and reference.max() <= 1) and reference.dtype not in (np.uint8, np.uint16):
        raise ValueError("reference: pixels must be uint8, uint16 or float in [0, 1].")
    return reference


def _from_box(box: Box, height: int, width: int) -> tuple[Box, Float[np.ndarray, "h w"]]:
    x, y, w, h = box
    if not (0 <= x < x + w <= width and 0 <= y < y + h <= height):
        raise ValueError(f"reference_box: {x},{y},{w},{h} (x, y, width, height) is not inside of {width}x{height}.")
    return box, np.ones((h, w), np.float32)


def _from_mask(mask: Num[np.ndarray, "p q"] | None, height: int, width: int) -> tuple[Box, Float[np.ndarray, "h w"]]:
    assert mask is not None
    if mask.shape != (height, width):
        raise ValueError(
            f"reference_mask: must be {width}x{height} pixels, as the image is, but is {mask.shape[1]}x{mask.shape[0]}."
        )
    if not (mask.min() >= 0 and mask.max() <= 1):
        raise ValueError("reference_mask: must be in [0, 1].")
    if not mask.any():
        raise ValueError("reference_mask: marks no pixel; make it white where the reference is to be used.")
    rows, columns = (np.flatnonzero(mask.any(axis)) for axis in (1, 0))
    (y, bottom), (x, right) = ((int(line[0]), int(line[-1]) + 1) for line in (rows, columns))
    return (x, y, right - x, bottom - y), mask[y:bottom, x:right].astype(np.float32)


def _check_content(
    image: Num[np.ndarray, "H W 3"], rgb: Float[np.ndarray, "h w 3"], scale: int, known: Bool[np.ndarray, "h w"]
) -> None:
    likeness = lr_consistency_by_bands(image, rgb, scale, known)
    if not likeness >= _LEAST_CONSISTENCY:  # NaN is refused too
        raise ValueError(
            f"reference: does not show what the input shows there ({likeness:.1f} dB when shrunk, expected at least "
            f"{_LEAST_CONSISTENCY:.0f}); check the box, which is x, y, width, height in pixels of the input."
        )


def _fade(
    known: Bool[np.ndarray, "h w"], feather: int, at_edge: tuple[bool, bool, bool, bool]
) -> Float[np.ndarray, "h w"]:
    """Make weights that rise from 0 to 1 over `feather` pixels, from the border of the region inwards.

    An edge of the image does not count as a border.
    """
    from scipy.ndimage import distance_transform_edt  # slow to import

    top, bottom, left, right = at_edge
    padded = np.pad(known, 1)
    padded[0, 1:-1], padded[-1, 1:-1] = known[0] & top, known[-1] & bottom
    padded[1:-1, 0], padded[1:-1, -1] = known[:, 0] & left, known[:, -1] & right
    padded[[0, 0, -1, -1], [0, -1, 0, -1]] = True
    if not feather or padded.all():
        return known.astype(np.float32)
    distance = np.asarray(distance_transform_edt(padded))[1:-1, 1:-1] - 0.5
    return np.clip(distance / feather, 0, 1).astype(np.float32)


def cut_region(
    region: Region, plan: tiling.TilePlan, index: int, scale: int
) -> tuple[Float[np.ndarray, "th tw 1"], Float[np.ndarray, "TH TW 3"]]:
    """Cut one tile out of the region, as (weight, reference in [0, 1]). Both are 0 outside the region."""
    (top, left), (x, y, w, h), (rows, columns) = plan.origin(index), region.box, plan.tile
    weight = np.zeros((rows, columns, 1), np.float32)
    image = np.zeros((scale * rows, scale * columns, 3), np.float32)
    there, here = zip(_overlap(y, h, top, rows), _overlap(x, w, left, columns), strict=True)
    if all(span.stop > span.start for span in here):
        weight[here] = region.weight[there][..., None]
        enlarged = [tuple(slice(scale * s.start, scale * s.stop) for s in spans) for spans in (here, there)]
        image[enlarged[0]] = to_float_rgb(region.image[enlarged[1]])[0]
    return weight, image


def _overlap(start: int, size: int, tile_start: int, tile: int) -> tuple[slice, slice]:
    """Return the part that two spans share, as a slice from the start of each: the box, then the tile."""
    first, end = max(start, tile_start), min(start + size, tile_start + tile)
    return slice(first - start, end - start), slice(first - tile_start, end - tile_start)


def tiles_of(region: Region, plan: tiling.TilePlan) -> list[int]:
    """List the numbers of the tiles that overlap the region."""
    x, y, w, h = region.box
    sees = lambda origin, side, start, size: origin < start + size and start < origin + side  # noqa: E731
    (rows, columns), origins = plan.tile, [plan.origin(i) for i in range(len(plan))]
    return [i for i, (top, left) in enumerate(origins) if sees(top, rows, y, h) and sees(left, columns, x, w)]

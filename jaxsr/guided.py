"""What guides one image beside the numbers of `Options`, and what a tile needs of it: maps and crops of the reference.

Maps are held at the size of the input, the reference as it was given; floats at the size of the result exist for a few
tiles at a time only.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Num

from jaxsr.choices import OBJECTIVES, Objective
from jaxsr.imaging import tiling
from jaxsr.imaging.pixels import as_array
from jaxsr.options import Options, Scales
from jaxsr.region import FEATHER, Box, Region, cut_region, make_region

Values = Any  # float32, np.ndarray where it is cut, jax.Array in the compiled function


class TileReference(NamedTuple):
    """The HR reference of some tiles.

    Attributes:
        weight: shape (b, t, t, 1), at the size of the input.
        image: in [0, 1], shape (b, T, T, 3), at the size of the result.
        scale, offset: one number per step.
    """

    weight: Values
    image: Values
    scale: Values
    offset: Values


class TileGuides(NamedTuple):
    """What guides some tiles.

    Attributes:
        scale: LR scale, one number per step, or a row of them for each panel of a strip.
        weight: map of the LR scale's factors, shape (b, t, t, 1), or None.
        hr: reference, or None.
    """

    scale: Values
    weight: Values | None
    hr: TileReference | None


@dataclass(frozen=True, eq=False)
class Guide:
    """What guides one image beside the numbers of `Options`; nothing by default.

    Attributes:
        alpha_map: factor of alpha at every pixel of the input, any number.
        region: where an HR reference is known; alpha is that of the rest then.
        objective: how alpha is fitted in the region where it is not given: `lstsq` (Eq. 10) where None, or `norm`.
        strip: in place of alpha several of them, each of which gives a result of its own.
    Raises:
        ValueError: for a map of numbers that are not finite, or an unknown objective.
    """

    alpha_map: Float[np.ndarray, "h w"] | None = None
    region: Region | None = None
    objective: Objective | None = None
    strip: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if self.alpha_map is not None and not np.isfinite(self.alpha_map).all():
            raise ValueError("alpha_map: has numbers that are not finite; give one factor for every pixel.")
        if self.objective not in (*OBJECTIVES, None):
            raise ValueError(f"objective: no {self.objective!r}; choose one of {', '.join(OBJECTIVES)}.")


def make_guide(
    rgb: Float[np.ndarray, "h w 3"],
    scale: int,
    *,
    alpha_map: Any = None,
    reference: Any = None,
    box: Box | None = None,
    mask: Any = None,
    feather: int | None = None,
    objective: Objective | None = None,
    strip: tuple[float, ...] = (),
) -> Guide:
    """The guide of the image `rgb`, of what users give: see `Upscaler.upscale`, and `make_region` for the reference.

    Maps of uint8 and uint16 are taken over their range, as 0 to 1.

    Raises:
        ValueError: for what does not fit.
    """
    factors = None if alpha_map is None else _as_map(as_array(alpha_map), "alpha_map")
    if reference is None:
        where = {"reference_box": box, "reference_mask": mask, "feather": feather, "objective": objective}
        if needless := [name for name, value in where.items() if value is not None]:
            raise ValueError(f"{needless[0]}: says how a reference is used; give the reference too.")
        return Guide(factors, strip=strip)
    weight = None if mask is None else _as_map(as_array(mask), "reference_mask")
    width = FEATHER if feather is None else feather
    region = make_region(rgb, as_array(reference), scale, box=box, mask=weight, feather=width)
    return Guide(factors, region, objective, strip)


def _as_map(values: Num[np.ndarray, "..."], name: str) -> Float[np.ndarray, "h w"]:
    if values.ndim != 2:
        raise ValueError(f"{name}: must be (h, w), got shape {values.shape}.")
    peak = np.iinfo(values.dtype).max if values.dtype in (np.uint8, np.uint16) else 1
    return values.astype(np.float32) / np.float32(peak)


def check_guide(guide: Guide, options: Options, size: tuple[int, int]) -> None:
    """Refuse what does not fit the image of `size` (height, width), and what would change nothing.

    Raises:
        ValueError: the message begins with the option's name.
    """
    if guide.alpha_map is not None and guide.alpha_map.shape != size:
        (height, width), (rows, columns) = size, guide.alpha_map.shape
        raise ValueError(f"alpha_map: must be {width}x{height} pixels as the image is, but is {columns}x{rows}.")
    if guide.strip and options.alpha is not None:
        raise ValueError("strip: gives the alphas, so leave alpha (or the preset) out.")
    if guide.objective and not is_fitted(guide, options):
        raise ValueError("objective: is for an alpha that is fitted; leave alpha (or preset, or strip) out.")
    if guide.alpha_map is not None and not (any(options.alphas) or guide.strip or is_fitted(guide, options)):
        raise ValueError("alpha_map: multiplies alpha, which is 0; give alpha, a preset, a strip or a reference.")
    if options.reference_mean == "shifted" and guide.region is None:
        raise ValueError("reference_mean: the shifted mean of the LR image is that image; it needs a reference.")
    if options.reference_variance == "marginal" and guide.region and not (any(options.alphas) or guide.strip):
        raise ValueError("reference_variance: the fit to the reference takes this factor back; give alpha too.")
    if options.guiding and not is_guided(guide, options):
        raise ValueError(f"{options.guiding[0]}: there is nothing that guides; give alpha, a preset or a reference.")


def is_guided(guide: Guide, options: Options) -> bool:
    """Whether anything guides; otherwise the plain sampler runs."""
    return any(options.alphas) or bool(guide.strip) or guide.region is not None


def is_fitted(guide: Guide, options: Options) -> bool:
    """Whether alpha is fitted in the region of a reference."""
    return guide.region is not None and options.alpha is None and not guide.strip


def lr_scales(guide: Guide, options: Options) -> tuple[tuple[float, ...], ...]:
    """The LR scale of every step, t = 1 first: one row, or one for each panel of the strip; for resolved options."""
    rows = [(alpha,) for alpha in guide.strip] or [options.alphas or (0.0,)]
    return tuple(row * (options.steps or 1) if len(row) == 1 else row for row in rows)


def cut_guides(guide: Guide, scales: Scales, plan: tiling.TilePlan, indices: list[int], scale: int) -> TileGuides:
    """What the tiles `indices` need, for a model that enlarges by `scale`."""
    hr = weight = None
    if guide.alpha_map is not None:
        weight = np.stack([tiling.cut(guide.alpha_map[..., None], plan, i) for i in indices]).astype(np.float32)
    if guide.region is not None:
        zeros = ((0.0,) * len(scales.lr[0]),) * 2
        slope, offset = (scales.hr, scales.offset) if scales.hr and scales.offset else zeros
        hr = cut_reference(guide.region, plan, indices, scale, slope, offset)
        weight = (1 - hr.weight) * (1 if weight is None else weight)
    lr = np.array(scales.lr if guide.strip else scales.lr[0], np.float32)
    return TileGuides(lr, weight, hr)


def cut_reference(
    region: Region,
    plan: tiling.TilePlan,
    indices: list[int],
    scale: int,
    slope: tuple[float, ...] = (),
    offset: tuple[float, ...] = (),
) -> TileReference:
    """The reference at the tiles `indices`."""
    crops = [cut_region(region, plan, i, scale) for i in indices]
    weight, image = (np.stack(parts) for parts in zip(*crops, strict=True))
    return TileReference(weight, image, np.array(slope, np.float32), np.array(offset, np.float32))

"""The guidance of one image apart from the numbers in `Options`: alpha map, reference region, objective, strip."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Float, Shaped

from jaxsr.choices import OBJECTIVES, Objective, check_word
from jaxsr.guidance.option_conflicts import Given, find_conflict, find_reference_conflict, refuse
from jaxsr.guidance.region import FEATHER, Box, Region, make_region
from jaxsr.imaging.pixels import as_array
from jaxsr.options import Options


@dataclass(frozen=True)
class Scales:
    """The numbers of the guidance, one per step, t = 1 (the last step taken) first.

    Attributes:
        lr: scales of the guidance by the LR image: one row, or one row per panel of a strip.
        hr: scales of the guidance by the HR reference (slope of Eq. 10); a negative scale leads toward the reference.
            None without a reference.
        offset: offset of the same regression; None without a reference.
        quality: how well a fit explains the error, by name, one number per step; empty if nothing was fitted. `r2` and
            `cosine` are of the fit with c = LR, `reference_r2` and `reference_cosine` of the fit with c = HR.
    """

    lr: tuple[tuple[float, ...], ...]
    hr: tuple[float, ...] | None = None
    offset: tuple[float, ...] | None = None
    quality: Mapping[str, tuple[float, ...]] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Guide:
    """The guidance of one image apart from the numbers in `Options`. The default guides nothing.

    Attributes:
        alpha_map: factor that multiplies alpha at every pixel of the input; any finite number.
        region: the region for which an HR reference is known. Alpha then applies outside this region.
        objective: how alpha is fitted in the region if it is not given: `lstsq` (Eq. 10; also for None), `norm` or
            `step-norm`.
        strip: several values in place of alpha. Each value makes one result, a panel of the strip.
    Raises:
        ValueError: for a map with numbers that are not finite, or an unknown objective.
    """

    alpha_map: Float[np.ndarray, "h w"] | None = None
    region: Region | None = None
    objective: Objective | None = None
    strip: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if self.alpha_map is not None and not np.isfinite(self.alpha_map).all():
            raise ValueError("alpha_map: has numbers that are not finite; give a finite factor for every pixel.")
        check_word("objective", self.objective, (*OBJECTIVES, None))


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
    """Make the guide of the image `rgb` from the arguments of `jaxsr.Upscaler.upscale`.

    `make_region` describes the arguments of the reference. A map of uint8 or uint16 is divided by the largest value of
    its type, so that it covers 0 to 1.

    Raises:
        ValueError: for arguments that do not fit the image, or that contradict each other.
    """
    factors = None if alpha_map is None else as_map(as_array(alpha_map), "alpha_map")
    reference_options = {"reference_box": box, "reference_mask": mask, "feather": feather, "objective": objective}
    given: dict[str, Any] = {name: value is not None for name, value in reference_options.items()}
    refuse(find_reference_conflict(Given(reference=reference is not None, **given)))
    if reference is None:
        return Guide(factors, strip=strip)
    weight = None if mask is None else as_map(as_array(mask), "reference_mask")
    width = FEATHER if feather is None else feather
    region = make_region(rgb, as_array(reference), scale, box=box, mask=weight, feather=width)
    return Guide(factors, region, objective, strip)


def as_map(values: Shaped[np.ndarray, "..."], name: str) -> Float[np.ndarray, "h w"]:
    """Convert a map of one number per pixel to float32; uint8 and uint16 are divided by the largest value of the type.

    `name` names the option in the ValueError for another shape.
    """
    if values.ndim != 2:
        raise ValueError(f"{name}: must be (h, w), one number per pixel, got shape {values.shape}.")
    peak = np.iinfo(values.dtype).max if values.dtype in (np.uint8, np.uint16) else 1
    return values.astype(np.float32) / np.float32(peak)


def check_guide(guide: Guide, options: Options, size: tuple[int, int]) -> None:
    """Refuse a guide that does not fit the image of `size` (height, width), or that would change nothing.

    Raises:
        ValueError: for such a guide; the message begins with the option's name.
    """
    if guide.alpha_map is not None and guide.alpha_map.shape != size:
        (height, width), (rows, columns) = size, guide.alpha_map.shape
        raise ValueError(f"alpha_map: must be {width}x{height} pixels, as the image is, but is {columns}x{rows}.")
    given = Given(
        alpha=None if options.alpha is None else options.alphas,
        strip=bool(guide.strip),
        alpha_map=guide.alpha_map is not None,
        reference=guide.region is not None,
        reference_box=guide.region is not None,
        objective=guide.objective is not None,
        reference_slope=options.reference_slope is not None,
        form=options.gradient,
    )
    refuse(find_conflict(given))
    fitted = options.reference_slope is None and not (any(options.alphas) or guide.strip)
    if options.reference_variance == "marginal" and guide.region and fitted:
        raise ValueError(
            "reference_variance: has no effect with a fitted reference, since the fit rescales it; give alpha or "
            "reference_slope too."
        )


def is_guided(guide: Guide, options: Options) -> bool:
    """Return whether the guide or the options guide the sampler; otherwise the plain sampler runs."""
    return any(options.alphas) or bool(guide.strip) or guide.region is not None


def is_fitted(guide: Guide, options: Options) -> bool:
    """Return whether alpha is fitted in the region of a reference, because neither alpha nor a strip is given."""
    return guide.region is not None and options.alpha is None and not guide.strip


def given_reference(options: Options) -> tuple[tuple[float, ...], tuple[float, ...]] | None:
    """Return slope and offset of the HR guidance, one number per step each, if the options give them; else None.

    `options` must be resolved: its number of steps is known.
    """
    if options.reference_slope is None:
        return None
    steps, offset = options.steps or 1, options.numbers("reference_offset") or (0.0,)
    slope, offset = (row * steps if len(row) == 1 else row for row in (options.numbers("reference_slope"), offset))
    return slope, offset


def lr_scales(guide: Guide, options: Options) -> tuple[tuple[float, ...], ...]:
    """Return the LR scale of every step, t = 1 first: one row, or one row per panel of the strip.

    `options` must be resolved: its number of steps is known.
    """
    rows = [(alpha,) for alpha in guide.strip] or [options.alphas or (0.0,)]
    return tuple(row * (options.steps or 1) if len(row) == 1 else row for row in rows)

"""Fits of the guidance scales to the moments of many images, on the host in float64: least squares, weighted median.

The first axis of every array is the step; index 0 is t = 1. The second axis of the moments is the image.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from jaxsr.choices import Objective
from jaxsr.guidance.moments import Moments

PerStep = Float[np.ndarray, " t"]


class Fit(NamedTuple):
    """The fit Delta = slope S + offset, its R^2, and the cosine between Delta and S.

    The fields have shape (T,), or (T, n) for one fit per image.
    """

    slope: Float[np.ndarray, " t *n"]
    offset: Float[np.ndarray, " t *n"]
    r2: Float[np.ndarray, " t *n"]
    cosine: Float[np.ndarray, " t *n"]


def concatenate(parts: Sequence[Moments]) -> Moments:
    """Join the moments of several batches along the second axis, the images, as float64 on the host.

    Raises ValueError if there are no images, if a number is not finite, or if the mask excludes a whole image.
    """
    if not parts:
        raise ValueError("calibration: there are no images to calibrate on.")
    fields = zip(*parts, strict=True)
    whole = Moments(*(np.concatenate([np.asarray(part, np.float64) for part in field], 1) for field in fields))
    bad = ~np.isfinite(np.stack(whole)).all(0)
    if bad.any():
        step, image = np.argwhere(bad)[0]
        raise ValueError(
            f"calibration: image {image} gives numbers that are not finite at t = {step + 1}; "
            "check that image and the checkpoint, or use --precision fp32."
        )
    if (whole.n <= 0).any():
        raise ValueError(
            f"calibration: the mask excludes all of image {np.argwhere(whole.n <= 0)[0, 1]}; leave that image out."
        )
    return whole


def select(moments: Moments, images: Int[np.ndarray, " n"]) -> Moments:
    """Select the moments of the images with these numbers. A number may repeat."""
    return Moments(*(field[:, images] for field in moments))


def norms(moments: Moments) -> tuple[Float[np.ndarray, "t n"], Float[np.ndarray, "t n"]]:
    """Return ||Delta_i|| and ||S_i||, the Euclidean norms per image (weighted by the mask)."""
    delta = moments.square_delta + moments.n * np.square(moments.mean_delta)
    s = moments.square_s + moments.n * np.square(moments.mean_s)
    return np.sqrt(delta), np.sqrt(s)


def unit(objective: Objective, variance: PerStep) -> PerStep:
    """Return the unit in which an objective counts its scales, per step: Sigma_t for `norm`, 1 for the others.

    S = Sigma_t G, so ||scale G|| = ||multiple S|| with scale = Sigma_t * multiple. In this unit the losses of `norm`
    and of `step-norm` are the same numbers.

    Args:
        objective: the objective.
        variance: Sigma_t, `Schedule.variance_clipped`.
    """
    return np.asarray(variance, np.float64) if objective == "norm" else np.ones(len(variance))


def weighted_median(moments: Moments) -> PerStep:
    """Compute the multiple >= 0 that minimises the norm loss over all real numbers, in closed form.

    The loss is sum_i w_i |r_i - multiple| with r = ||Delta||/||S|| and w = ||S||. Its minimiser is the weighted median
    of r (the lower one of two). It is 0 where S vanishes in every image. `unit` turns a multiple into a scale.
    """
    delta, s = norms(moments)
    ratio = np.divide(delta, s, out=np.full_like(delta, np.inf), where=s > 0)
    order = np.argsort(ratio, 1)
    ratio, weight = np.take_along_axis(ratio, order, 1), np.take_along_axis(s, order, 1).cumsum(1)
    middle = (weight >= weight[:, -1:] / 2 * (1 - 1e-12)).argmax(1)
    return np.where(weight[:, -1] > 0, ratio[np.arange(len(ratio)), middle], 0.0)


def fit_lstsq(moments: Moments, *, pooled: bool = True, offset: bool = True) -> Fit:
    """Fit Delta = slope S + offset (Eq. 10) by least squares over all elements, per step.

    Args:
        moments: the result of `concatenate`.
        pooled: make one fit over all images; otherwise one per image.
        offset: fit the offset too; otherwise it is 0, and R^2 is taken about 0 instead of about the mean.
    Returns:
        the fit. R^2 is 0 where Delta does not vary, and the slope is 0 where S does not vary. The cosine always
        compares the whole vectors, with their means.
    """
    m = _pool(moments) if pooled else moments
    lifts = m.n * np.square(m.mean_delta), m.n * np.square(m.mean_s), m.n * m.mean_delta * m.mean_s
    centred = (m.square_delta, m.square_s, m.product)
    raw = tuple(second + lift for second, lift in zip(centred, lifts, strict=True))
    dd, ss, ds = centred if offset else raw
    slope = _divide(ds, ss)
    constant = m.mean_delta - slope * m.mean_s if offset else np.zeros_like(slope)
    cosine = _divide(raw[2], np.sqrt(raw[0] * raw[1]))
    return Fit(slope, constant, _divide(slope * ds, dd), cosine)


def fit_reference(moments: Sequence[Moments]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Fit slope and offset per step by the pooled regression (Eq. 10), from moments against the HR image."""
    fit = fit_lstsq(concatenate(moments))
    return tuple(fit.slope.tolist()), tuple(fit.offset.tolist())


def fit_lr_scale(moments: Sequence[Moments], objective: Objective, variance: PerStep) -> tuple[float, ...]:
    """Fit the LR scale per step from moments against the LR image. Each tile is one image of Algorithm 1.

    `norm` is the objective that the paper prints: the scale >= 0 for which scale * G is as long as the error. The step
    that it adds is Sigma_t times as long as the error. `step-norm` makes the step itself as long as the error. Both
    ignore the direction of the error. `lstsq` is the slope of Eq. 10 without offset, of either sign: the scale that
    brings the mean of a step closest to the mean of the reference.

    Args:
        moments: moments of the tiles.
        objective: the objective.
        variance: Sigma_t, `Schedule.variance_clipped`.
    """
    whole = concatenate(moments)
    if objective == "lstsq":
        return tuple(fit_lstsq(whole, offset=False).slope.tolist())
    return tuple((unit(objective, variance) * weighted_median(whole)).tolist())


def fit_quality(against_lr: Sequence[Moments], against_hr: Sequence[Moments]) -> dict[str, tuple[float, ...]]:
    """Return R^2 and cosine per step of both fits, by the names in `jaxsr.guidance.guide.Scales`."""
    fits = {"": fit_lstsq(concatenate(against_lr), offset=False), "reference_": fit_lstsq(concatenate(against_hr))}
    names = ("r2", "cosine")
    return {f"{prefix}{name}": tuple(getattr(fit, name).tolist()) for prefix, fit in fits.items() for name in names}


def _pool(moments: Moments) -> Moments:
    """Pool the moments of all images; each field has shape (T,). Second moments are taken about the pooled means."""
    count = moments.n.sum(1)
    mean_delta, mean_s = ((moments.n * mean).sum(1) / count for mean in (moments.mean_delta, moments.mean_s))
    delta, s = moments.mean_delta - mean_delta[:, None], moments.mean_s - mean_s[:, None]
    pairs = ((moments.square_delta, delta, delta), (moments.square_s, s, s), (moments.product, delta, s))
    seconds = ((second + moments.n * a * b).sum(1) for second, a, b in pairs)
    return Moments(count, mean_delta, mean_s, *seconds)


def _divide(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Divide a by b; the result is 0 where b is 0."""
    return np.divide(a, b, out=np.zeros_like(a), where=b != 0)

"""Algorithm 1, what is chosen: guidance scales from the moments of many images, on the host in float64.

Two objectives, per step. `norm`, the paper's: the scale whose correction is as long as the error,
sum_i | ||Delta_i|| - |scale| ||S_i|| |, Euclidean norms per image. `lstsq`, Eq. 10: Delta = slope S + offset by least
squares. Arrays have a leading axis of T, index 0 being t = 1; images are the second axis of the moments.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int

from jaxsr.calibration.open_loop import Moments
from jaxsr.choices import OBJECTIVES, Objective

PerStep = Float[np.ndarray, " t"]


class Fit(NamedTuple):
    """Delta = slope S + offset, its R^2, and the cosine between Delta and S; of shape (T,), or (T, n) per image."""

    slope: Float[np.ndarray, "t *n"]
    offset: Float[np.ndarray, "t *n"]
    r2: Float[np.ndarray, "t *n"]
    cosine: Float[np.ndarray, "t *n"]


def concatenate(parts: Sequence[Moments]) -> Moments:
    """The moments of several batches as one, float64 on the host, images along the second axis.

    Raises ValueError for no images, numbers that are not finite, or an image that a mask leaves nothing of.
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
            "check that image and the checkpoint, or take --precision fp32."
        )
    if (whole.n <= 0).any():
        raise ValueError(f"calibration: the mask leaves nothing of image {np.argwhere(whole.n <= 0)[0, 1]}.")
    return whole


def norms(moments: Moments) -> tuple[Float[np.ndarray, "t n"], Float[np.ndarray, "t n"]]:
    """||Delta_i|| and ||S_i||, Euclidean per image (weighted by the mask)."""
    delta = moments.square_delta + moments.n * np.square(moments.mean_delta)
    s = moments.square_s + moments.n * np.square(moments.mean_s)
    return np.sqrt(delta), np.sqrt(s)


def norm_losses(moments: Moments, candidates: Float[np.ndarray, " k"]) -> Float[np.ndarray, "t k"]:
    """sum_i | ||Delta_i|| - |scale| ||S_i|| | for every candidate; a scale and its negative have one loss."""
    delta, s = norms(moments)
    losses = [np.abs(delta - abs(scale) * s).sum(1) for scale in candidates]  # one by one: K x n can be large
    return np.stack(losses, 1)


def norm_scale(moments: Moments, candidates: Float[np.ndarray, " k"]) -> PerStep:
    """The candidate of least norm loss at every step: line 11 of Algorithm 1.

    The norm cannot tell a scale from its negative: the candidates decide the sign, and where both are among them the
    positive one is taken, which leads to perception as in the paper. Of other equals, the one nearest to 0.
    """
    losses, delta = norm_losses(moments, candidates), norms(moments)[0]
    order = np.lexsort((-candidates, np.round(np.abs(candidates), 12)))  # a grid's -0.3 may not be -(0.3) exactly
    least = losses.min(1, keepdims=True)
    equal = losses <= least + 1e-9 * (least + delta.sum(1, keepdims=True))
    return candidates[order][equal[:, order].argmax(1)]


def weighted_median(moments: Moments) -> PerStep:
    """The scale >= 0 of least norm loss over all numbers, in closed form.

    The loss is sum_i w_i |r_i - scale| with r = ||Delta||/||S|| and w = ||S||: its minimum is the weighted median of r
    (the lower one of two). 0 where S vanishes in every image.
    """
    delta, s = norms(moments)
    ratio = np.divide(delta, s, out=np.full_like(delta, np.inf), where=s > 0)
    order = np.argsort(ratio, 1)
    ratio, weight = np.take_along_axis(ratio, order, 1), np.take_along_axis(s, order, 1).cumsum(1)
    middle = (weight >= weight[:, -1:] / 2 * (1 - 1e-12)).argmax(1)
    return np.where(weight[:, -1] > 0, ratio[np.arange(len(ratio)), middle], 0.0)


def fit_lstsq(moments: Moments, *, pooled: bool = True, offset: bool = True) -> Fit:
    """Least squares of Delta = slope S + offset (Eq. 10) over all elements, per step.

    Args:
        moments: of `concatenate`.
        pooled: one fit over all images; else one for each.
        offset: fit the second constant too; else it is 0 and R^2 is about 0, not about the mean.
    Returns:
        R^2 is 0 where Delta does not vary, the slope 0 where S does not. The cosine is that of the whole vectors,
        whatever is fitted.
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


def choose(moments: Moments, candidates: Float[np.ndarray, " k"], objective: Objective) -> PerStep:
    """Algorithm 1's scale for every step: `norm_scale`, or by `lstsq` the pooled slope without an offset.

    Raises ValueError for another objective.
    """
    if objective not in OBJECTIVES:
        raise ValueError(f"objective: no {objective!r}; choose one of {', '.join(OBJECTIVES)}.")
    return norm_scale(moments, candidates) if objective == "norm" else fit_lstsq(moments, offset=False).slope


def bootstrap(
    statistic: Callable[[Moments], Float[np.ndarray, "..."]],
    moments: Moments,
    seed: int,
    *,
    n: int = 1000,
    level: float = 0.95,
    groups: Int[np.ndarray, " n"] | None = None,
) -> tuple[Float[np.ndarray, "..."], Float[np.ndarray, "..."]]:
    """Percentile interval (low, high) of a statistic, over `n` resamplings of the images with replacement.

    `groups` numbers the photograph that each image is a crop of: crops of one are not independent and are drawn
    together. Raises ValueError for fewer than 2 groups, of which no interval can be had.
    """
    labels = np.arange(moments.n.shape[1]) if groups is None else groups
    members = [np.flatnonzero(labels == label) for label in np.unique(labels)]
    if len(members) < 2:
        raise ValueError("calibration: an interval needs at least 2 photographs; give more pairs.")
    generator, values = np.random.default_rng(seed), []
    for _ in range(n):
        drawn = np.concatenate([members[i] for i in generator.integers(len(members), size=len(members))])
        values.append(statistic(Moments(*(field[:, drawn] for field in moments))))
    low, high = np.quantile(np.stack(values), [(1 - level) / 2, (1 + level) / 2], axis=0)
    return low, high


def table(
    moments: Moments,
    candidates: Float[np.ndarray, " k"],
    *,
    seed: int,
    groups: Int[np.ndarray, " n"] | None = None,
) -> dict[str, Any]:
    """All that the open loop found, as JSON can hold it: lists with one entry (or row) per step, t = 1 first.

    Losses of the candidates, mean over images; the grid's pick, the weighted median and its 95 % interval; the pooled
    fits with and without offset, the interval of the slope, and the quartiles over images of the fits of each.
    """
    each, slope = fit_lstsq(moments, pooled=False), lambda m: fit_lstsq(m).slope
    found = {
        "losses": norm_losses(moments, candidates) / moments.n.shape[1],
        "norm_scale": norm_scale(moments, candidates),
        "weighted_median": weighted_median(moments),
        "weighted_median_interval": np.stack(bootstrap(weighted_median, moments, seed, groups=groups), 1),
        "slope_interval": np.stack(bootstrap(slope, moments, seed, groups=groups), 1),
    }
    fits = {
        "pooled": fit_lstsq(moments)._asdict(),
        "pooled_without_offset": fit_lstsq(moments, offset=False)._asdict(),
        "per_image_quartiles": {k: np.quantile(v, [0.25, 0.5, 0.75], 1).T for k, v in each._asdict().items()},
    }
    lists = {name: {key: values.tolist() for key, values in fit.items()} for name, fit in fits.items()}
    return {key: values.tolist() for key, values in found.items()} | {"lstsq": lists}


def _pool(moments: Moments) -> Moments:
    """The moments of all images together, each field of shape (T,): means combine, second moments about the new one."""
    count = moments.n.sum(1)
    mean_delta, mean_s = ((moments.n * mean).sum(1) / count for mean in (moments.mean_delta, moments.mean_s))
    delta, s = moments.mean_delta - mean_delta[:, None], moments.mean_s - mean_s[:, None]
    pairs = ((moments.square_delta, delta, delta), (moments.square_s, s, s), (moments.product, delta, s))
    seconds = ((second + moments.n * a * b).sum(1) for second, a, b in pairs)
    return Moments(count, mean_delta, mean_s, *seconds)


def _divide(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """a / b, and 0 where b is."""
    return np.divide(a, b, out=np.zeros_like(a), where=b != 0)

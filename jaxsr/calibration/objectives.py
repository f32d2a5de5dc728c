"""The two objectives of Algorithm 1, which choose a guidance scale per step from the moments of many images.

`norm` makes the correction as long as the error: it takes the candidate that minimises
sum_i | ||Delta_i|| - |scale| ||S_i|| |, with Euclidean norms per image. `lstsq` takes the slope of Delta = slope S,
without an offset (Eq. 10).
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from jaxsr.choices import OBJECTIVES, Objective, check_word
from jaxsr.guidance.fits import PerStep, fit_lstsq, norms, select, weighted_median
from jaxsr.guidance.moments import Moments
from jaxsr.metrics.statistics import bootstrap_interval


def norm_losses(moments: Moments, candidates: Float[np.ndarray, " k"]) -> Float[np.ndarray, "t k"]:
    """Compute sum_i | ||Delta_i|| - |scale| ||S_i|| | for every candidate. The sign of a scale does not matter."""
    delta, s = norms(moments)
    losses = [np.abs(delta - abs(scale) * s).sum(1) for scale in candidates]  # one by one, because K x n can be large
    return np.stack(losses, 1)


def norm_scale(moments: Moments, candidates: Float[np.ndarray, " k"]) -> PerStep:
    """Choose the candidate of least norm loss at every step: line 11 of Algorithm 1.

    The norm cannot distinguish a scale from its negative, so the candidates decide the sign. If both are candidates,
    the positive one is chosen, which leads to perception as in the paper. Among other equal losses, the candidate
    nearest to 0 is chosen.
    """
    losses, delta = norm_losses(moments, candidates), norms(moments)[0]
    order = np.lexsort((-candidates, np.round(np.abs(candidates), 12)))  # a grid's -0.3 may not be -(0.3) exactly
    least = losses.min(1, keepdims=True)
    equal = losses <= least + 1e-9 * (least + delta.sum(1, keepdims=True))
    return candidates[order][equal[:, order].argmax(1)]


def choose(moments: Moments, candidates: Float[np.ndarray, " k"], objective: Objective) -> PerStep:
    """Return Algorithm 1's scale for every step: `norm_scale`, or for `lstsq` the pooled slope without an offset.

    Raises ValueError for another objective.
    """
    check_word("objective", objective, OBJECTIVES)
    return norm_scale(moments, candidates) if objective == "norm" else fit_lstsq(moments, offset=False).slope


def table(
    moments: Moments,
    candidates: Float[np.ndarray, " k"],
    *,
    seed: int,
    groups: Int[np.ndarray, " n"] | None = None,
) -> dict[str, Any]:
    """Compute the results of the open loop as plain JSON: lists with one entry (or row) per step, t = 1 first.

    They hold the losses of the candidates (mean over images); the candidate of least loss; the weighted median with
    its 95 % interval; the pooled fits with and without offset, with the interval of the slope; and the quartiles, over
    images, of the fits to single images.

    Args:
        moments: moments of all images, float64.
        candidates: the grid of scales.
        seed: seed of the bootstrap.
        groups: the photograph that each image is a crop of; by default each image is a photograph of its own.
    Raises:
        ValueError: for fewer than two photographs, which have no interval.
    """
    each, count = fit_lstsq(moments, pooled=False), moments.n.shape[1]
    photographs = np.arange(count) if groups is None else groups
    if len(np.unique(photographs)) < 2:
        raise ValueError("calibration: an interval needs at least 2 photographs; give more pairs.")

    def interval(statistic: Callable[[Moments], PerStep]) -> Float[np.ndarray, "t 2"]:
        low_high = bootstrap_interval(lambda drawn: statistic(select(moments, drawn)), photographs, seed=seed)
        return np.stack(low_high, 1)

    found = {
        "losses": norm_losses(moments, candidates) / count,
        "norm_scale": norm_scale(moments, candidates),
        "weighted_median": weighted_median(moments),
        "weighted_median_interval": interval(weighted_median),
        "slope_interval": interval(lambda some: fit_lstsq(some).slope),
    }
    fits = {
        "pooled": fit_lstsq(moments)._asdict(),
        "pooled_without_offset": fit_lstsq(moments, offset=False)._asdict(),
        "per_image_quartiles": {k: np.quantile(v, [0.25, 0.5, 0.75], 1).T for k, v in each._asdict().items()},
    }
    lists = {name: {key: values.tolist() for key, values in fit.items()} for name, fit in fits.items()}
    return {key: values.tolist() for key, values in found.items()} | {"lstsq": lists}

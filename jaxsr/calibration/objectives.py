"""The objectives of Algorithm 1, which choose a guidance scale per step from the moments of many images.

`norm` is line 8 of Algorithm 1 as the paper prints it: it takes the scale that minimises
sum_i | ||Delta_i|| - ||scale G_i|| |, with Euclidean norms per image. `step-norm` has Sigma_t inside of the norm:
sum_i | ||Delta_i|| - ||scale Sigma_t G_i|| |, so that the added step is as long as the error. `lstsq` takes the slope
of Delta = slope S without an offset (Eq. 10).

With S = Sigma_t G, both norms have the same losses for the scale `multiple * unit`, where the unit is Sigma_t for
`norm` and 1 for `step-norm`. The candidates of the open loop are such multiples: scales of `norm` span orders of
magnitude over the steps, their multiples do not.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from jaxsr.choices import OBJECTIVES, Objective, check_word
from jaxsr.guidance.fits import PerStep, fit_lstsq, norms, select, unit, weighted_median
from jaxsr.guidance.moments import Moments
from jaxsr.metrics.statistics import bootstrap_interval

NORMS: tuple[Objective, ...] = ("norm", "step-norm")


def norm_losses(moments: Moments, candidates: Float[np.ndarray, " k"]) -> Float[np.ndarray, "t k"]:
    """Compute sum_i | ||Delta_i|| - |multiple| ||S_i|| | for every candidate, of either sign."""
    delta, s = norms(moments)
    losses = [np.abs(delta - abs(multiple) * s).sum(1) for multiple in candidates]  # one by one: K x n can be large
    return np.stack(losses, 1)


def norm_multiple(moments: Moments, candidates: Float[np.ndarray, " k"]) -> PerStep:
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


def choose(moments: Moments, candidates: Float[np.ndarray, " k"], objective: Objective, variance: PerStep) -> PerStep:
    """Return Algorithm 1's scale for every step: of `norm_multiple`, or for `lstsq` the pooled slope without an offset.

    Args:
        moments: moments of all images, float64.
        candidates: multiples of the objective's unit.
        objective: the objective.
        variance: Sigma_t, `Schedule.variance_clipped`.
    Raises:
        ValueError: for another objective.
    """
    check_word("objective", objective, OBJECTIVES)
    if objective == "lstsq":
        return fit_lstsq(moments, offset=False).slope
    return unit(objective, variance) * norm_multiple(moments, candidates)


def table(
    moments: Moments,
    candidates: Float[np.ndarray, " k"],
    variance: PerStep,
    *,
    seed: int,
    groups: Int[np.ndarray, " n"] | None = None,
) -> dict[str, Any]:
    """Compute the results of the open loop as plain JSON: lists with one entry (or row) per step, t = 1 first.

    `variance` is Sigma_t. `losses` has one row per step over the `multiples`, the mean over images. `norm` and
    `step-norm` hold, as scales, the candidate of least loss and the weighted median with its 95 % interval. `lstsq`
    holds the pooled fits with and without offset, and the quartiles, over images, of the fits to single images;
    `slope_interval` is the interval of the pooled slope.

    Args:
        moments: moments of all images, float64.
        candidates: multiples of the objectives' units.
        variance: Sigma_t, `Schedule.variance_clipped`.
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

    multiples = {
        "candidate": norm_multiple(moments, candidates),
        "weighted_median": weighted_median(moments),
        "weighted_median_interval": interval(weighted_median),
    }
    readings = {
        name: {key: (unit(name, variance) * values.T).T.tolist() for key, values in multiples.items()} for name in NORMS
    }
    fits = {
        "pooled": fit_lstsq(moments)._asdict(),
        "pooled_without_offset": fit_lstsq(moments, offset=False)._asdict(),
        "per_image_quartiles": {k: np.quantile(v, [0.25, 0.5, 0.75], 1).T for k, v in each._asdict().items()},
    }
    return {
        "variance": np.asarray(variance, np.float64).tolist(),
        "multiples": candidates.tolist(),
        "losses": (norm_losses(moments, candidates) / count).tolist(),
        **readings,
        "slope_interval": interval(lambda some: fit_lstsq(some).slope).tolist(),
        "lstsq": {name: {key: values.tolist() for key, values in fit.items()} for name, fit in fits.items()},
    }

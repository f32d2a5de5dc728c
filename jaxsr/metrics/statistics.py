"""95 % intervals over images and seeds, and paired differences. All intervals are computed here.

Means have intervals of Student's t. Smooth statistics such as ratios have Student's t intervals by the jackknife.
Medians and quantiles have percentile-bootstrap intervals, because the jackknife fails for them. With few images the
bootstrap is too narrow: with three, a nominal 95 % interval covers the truth in 71 % of cases.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int
from scipy.special import stdtrit

Interval = tuple[float, float]
LEVEL = 0.95
Statistic = Callable[[Int[np.ndarray, " n"]], Any]
"""A statistic: takes the numbers of the images, some perhaps repeated, and returns an array."""


class Mean(NamedTuple):
    """A mean with its 95 % intervals: over images of the same kind, and over seeds (None with a single seed)."""

    mean: float
    images: Interval | None
    seeds: Interval | None


def mean_with_intervals(values: Float[np.ndarray, "s n"], groups: Int[np.ndarray, " n"]) -> Mean:
    """Compute the mean over seeds and images, with 95 % intervals of Student's t.

    Args:
        values: one row per seed, one column per image (or patch), all finite.
        groups: the photograph of each column. The patches of one photograph count as one draw.
    Returns:
        The mean. An interval is None if there is only one photograph, or only one seed.
    """
    seeds = _interval(values.mean(1), np.arange(len(values)))
    return Mean(float(values.mean()), _interval(values.mean(0), groups), seeds)


def _interval(values: Float[np.ndarray, " n"], groups: Int[np.ndarray, " n"]) -> Interval | None:
    """Compute the 95 % interval of the mean of all values from the deviations of the groups' sums; None for one group.

    If the groups differ in size, the mean is a ratio of sums; this function uses its linearised standard error.
    """
    _, member = np.unique(groups, return_inverse=True)
    n = member.max() + 1
    if n < 2:
        return None
    mean = values.mean()
    deviations = np.bincount(member, values - mean)
    error = np.sqrt(n / (n - 1) * np.square(deviations).sum()) / len(values)
    half = stdtrit(n - 1, (1 + LEVEL) / 2) * error
    return float(mean - half), float(mean + half)


def jackknife_interval(statistic: Statistic, images: int) -> tuple[Float[np.ndarray, "*s"], Float[np.ndarray, "*s"]]:
    """Compute the 95 % interval (low, high) of a smooth statistic: its value -+ t times the jackknife's standard error.

    The statistic is recomputed without each image in turn. For a mean this is Student's t interval. The interval is NaN
    where one of these values is NaN, or if there is only one image.
    """
    everything = np.arange(images)
    value = np.asarray(statistic(everything), np.float64)
    if images < 2:
        return np.full_like(value, np.nan), np.full_like(value, np.nan)
    without = np.stack([np.asarray(statistic(np.delete(everything, i)), np.float64) for i in range(images)])
    error = np.sqrt((images - 1) / images * np.square(without - without.mean(0)).sum(0))
    half = stdtrit(images - 1, (1 + LEVEL) / 2) * error
    return np.asarray(value - half), np.asarray(value + half)


def bootstrap_interval(
    statistic: Statistic, groups: Int[np.ndarray, " n"], *, seed: int, resamples: int = 1000, level: float = LEVEL
) -> tuple[Float[np.ndarray, "*s"], Float[np.ndarray, "*s"]]:
    """Compute the percentile interval (low, high) of a statistic, resampling the photographs with replacement.

    Args:
        statistic: computed from the drawn images.
        groups: the photograph of each image. Crops of one photograph are dependent and are drawn together.
        seed: seed of the draws.
        resamples: number of draws.
        level: nominal coverage.
    Raises:
        ValueError: if there are fewer than two photographs.
    """
    members = [np.flatnonzero(groups == label) for label in np.unique(groups)]
    if len(members) < 2:
        raise ValueError("an interval needs at least 2 photographs: give more images")
    generator, values = np.random.default_rng(seed), []
    for _ in range(resamples):
        drawn = np.concatenate([members[i] for i in generator.integers(len(members), size=len(members))])
        values.append(np.asarray(statistic(drawn), np.float64))
    low, high = np.quantile(np.stack(values), [(1 - level) / 2, (1 + level) / 2], axis=0)
    return np.asarray(low), np.asarray(high)


class Difference(NamedTuple):
    """First minus second over the same images: the mean, its 95 % interval, and how many photographs each won."""

    mean: float
    interval: Interval | None
    wins: int
    losses: int
    n: int


def paired_difference(
    first: Float[np.ndarray, " n"],
    second: Float[np.ndarray, " n"],
    groups: Int[np.ndarray, " n"],
    *,
    up: bool | None,
) -> Difference:
    """Compare two methods on the same images.

    Args:
        first, second: one number per image (or patch).
        groups: the photograph of each number. Wins are counted per photograph, by the mean of its patches; n counts
            photographs.
        up: True if more is better, False if less is better; None if neither is, and then no method wins.
    """
    gap = first - second
    _, member = np.unique(groups, return_inverse=True)
    sums = np.bincount(member, gap)
    higher, lower = int((sums > 0).sum()), int((sums < 0).sum())
    wins, losses = {True: (higher, lower), False: (lower, higher), None: (0, 0)}[up]
    return Difference(float(gap.mean()), _interval(gap, groups), wins, losses, len(sums))

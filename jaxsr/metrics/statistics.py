"""95 % intervals over images and seeds, and paired differences: the only place where intervals are computed.

Student's t serves means, and by the jackknife smooth statistics such as ratios. The percentile bootstrap serves medians
and quantiles, for which the jackknife fails. With few images it is too narrow: with three, a nominal 95 % interval
covers the truth in 71 % of cases.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int
from scipy.special import stdtrit

Interval = tuple[float, float]
LEVEL = 0.95
Statistic = Callable[[Int[np.ndarray, " n"]], Any]
"""Takes the numbers of images, some perhaps several times, and returns an array."""


class Mean(NamedTuple):
    """A mean with its 95 % intervals: over images of the same kind, and over seeds (None with a single seed)."""

    mean: float
    images: Interval | None
    seeds: Interval | None


def mean_with_intervals(values: Float[np.ndarray, "s n"], groups: Int[np.ndarray, " n"]) -> Mean:
    """The mean over seeds and images, with 95 % intervals of Student's t.

    Args:
        values: one row per seed, one column per image (or patch), all finite.
        groups: the photograph of each column. The patches of one photograph count as one draw.
    Returns:
        An interval is None where there is only one photograph, or one seed.
    """
    seeds = _interval(values.mean(1), np.arange(len(values)))
    return Mean(float(values.mean()), _interval(values.mean(0), groups), seeds)


def _interval(values: Float[np.ndarray, " n"], groups: Int[np.ndarray, " n"]) -> Interval | None:
    """The 95 % interval of the mean of all values, from the deviations of the groups' sums; None for one group.

    Where groups differ in size the mean is a ratio of sums, and this uses its linearised standard error.
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
    """The 95 % interval (low, high) of a smooth statistic: its value -+ t times the jackknife's standard error.

    The statistic is computed again without each of the images in turn. For a mean this is Student's t interval. Where
    one of these values is NaN, or there is only one image, the interval is NaN.
    """
    everything = np.arange(images)
    value = np.asarray(statistic(everything), np.float64)
    if images < 2:
        return np.full_like(value, np.nan), np.full_like(value, np.nan)
    without = np.stack([np.asarray(statistic(np.delete(everything, i)), np.float64) for i in range(images)])
    error = np.sqrt((images - 1) / images * np.square(without - without.mean(0)).sum(0))
    half = stdtrit(images - 1, (1 + LEVEL) / 2) * error
    return value - half, value + half


def bootstrap_interval(
    statistic: Statistic, groups: Int[np.ndarray, " n"], *, seed: int, resamples: int = 1000, level: float = LEVEL
) -> tuple[Float[np.ndarray, "*s"], Float[np.ndarray, "*s"]]:
    """The percentile interval (low, high) of a statistic, over resamplings of the photographs with replacement.

    Args:
        statistic: of the drawn images.
        groups: the photograph of each image. Crops of one photograph are dependent and are drawn together.
        seed: of the draws.
        resamples: number of draws.
        level: nominal coverage.
    Raises:
        ValueError: for fewer than two photographs.
    """
    members = [np.flatnonzero(groups == label) for label in np.unique(groups)]
    if len(members) < 2:
        raise ValueError("an interval needs at least 2 photographs")
    generator, values = np.random.default_rng(seed), []
    for _ in range(resamples):
        drawn = np.concatenate([members[i] for i in generator.integers(len(members), size=len(members))])
        values.append(np.asarray(statistic(drawn), np.float64))
    low, high = np.quantile(np.stack(values), [(1 - level) / 2, (1 + level) / 2], axis=0)
    return low, high


class Difference(NamedTuple):
    """First minus second over the same images: the mean with its 95 % interval, and the photographs that each won."""

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
        up: True where more is better, False where less is; None where neither is, and nobody wins.
    """
    gap = first - second
    _, member = np.unique(groups, return_inverse=True)
    sums = np.bincount(member, gap)
    more, less = int((sums > 0).sum()), int((sums < 0).sum())
    wins, losses = {True: (more, less), False: (less, more), None: (0, 0)}[up]
    return Difference(float(gap.mean()), _interval(gap, groups), wins, losses, len(sums))

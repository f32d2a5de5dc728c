"""Means with bootstrap intervals over images and over seeds, and paired differences."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

Interval = tuple[float, float]
DRAWS = 2000


class Mean(NamedTuple):
    """A mean with 95 % intervals: of other images of the same kind, and of other seeds (None with one seed)."""

    mean: float
    images: Interval | None
    seeds: Interval | None


def mean_with_intervals(
    values: Float[np.ndarray, "s n"], groups: Int[np.ndarray, " n"], *, seed: int = 0, draws: int = DRAWS
) -> Mean:
    """The mean over seeds and images, with percentile bootstrap intervals.

    Args:
        values: one row per seed, one column per image (or patch), all finite.
        groups: the photograph that each column is of: patches of one are drawn together.
        seed: of the resampling.
        draws: resamplings.
    Returns:
        Intervals are None where there is one photograph, or one seed, alone: nothing can be said of others.
    """
    generator = np.random.default_rng(seed)
    images = _interval(_resampled_groups(values.mean(0), groups, generator, draws))
    seeds = _resampled_groups(values.mean(1), np.arange(len(values)), generator, draws)
    return Mean(float(values.mean()), images, _interval(seeds))


def _resampled_groups(
    values: Float[np.ndarray, " n"], groups: Int[np.ndarray, " n"], generator: np.random.Generator, draws: int
) -> Float[np.ndarray, " draws"] | None:
    """Means of `draws` samples of as many groups, with replacement; None for one group."""
    _, member = np.unique(groups, return_inverse=True)
    counts = np.bincount(member)
    if len(counts) < 2:
        return None
    sums = np.bincount(member, values)
    drawn = generator.integers(len(counts), size=(draws, len(counts)))
    return sums[drawn].sum(1) / counts[drawn].sum(1)


def _interval(samples: Float[np.ndarray, " draws"] | None) -> Interval | None:
    if samples is None:
        return None
    low, high = np.quantile(samples, [0.025, 0.975])
    return float(low), float(high)


class Difference(NamedTuple):
    """First less second over the same images: mean, 95 % interval over images, and how many each won; rest ties."""

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
    seed: int = 0,
    draws: int = DRAWS,
) -> Difference:
    """How two methods differ on the same images; `up` tells which way is better, None that neither is (no wins)."""
    gap = first - second
    better: Bool[np.ndarray, " n"] = gap > 0 if up else gap < 0
    worse: Bool[np.ndarray, " n"] = gap < 0 if up else gap > 0
    wins, losses = (0, 0) if up is None else (int(better.sum()), int(worse.sum()))
    samples = _resampled_groups(gap, groups, np.random.default_rng(seed), draws)
    return Difference(float(gap.mean()), _interval(samples), wins, losses, len(gap))

"""Means with Student-t intervals over images and over seeds, and paired differences."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int
from scipy.special import stdtrit

Interval = tuple[float, float]
LEVEL = 0.95


class Mean(NamedTuple):
    """A mean with 95 % intervals: of other images of the same kind, and of other seeds (None with one seed)."""

    mean: float
    images: Interval | None
    seeds: Interval | None


def mean_with_intervals(values: Float[np.ndarray, "s n"], groups: Int[np.ndarray, " n"]) -> Mean:
    """The mean over seeds and images, with 95 % intervals of Student's t.

    The intervals hold for few images too, where those of the bootstrap are too narrow: of three images, or seeds, its
    95 % are 71 %.

    Args:
        values: one row per seed, one column per image (or patch), all finite.
        groups: the photograph that each column is of: the patches of one count as one draw.
    Returns:
        Intervals are None where there is one photograph, or one seed, alone: nothing can be said of others.
    """
    seeds = _interval(values.mean(1), np.arange(len(values)))
    return Mean(float(values.mean()), _interval(values.mean(0), groups), seeds)


def _interval(values: Float[np.ndarray, " n"], groups: Int[np.ndarray, " n"]) -> Interval | None:
    """95 % of the mean of all values, by how the groups' sums leave it; None for one group.

    Where groups differ in size the mean is a ratio of sums, and this is its linearised standard error.
    """
    _, member = np.unique(groups, return_inverse=True)
    n = member.max() + 1
    if n < 2:
        return None
    mean = values.mean()
    left = np.bincount(member, values - mean)
    error = np.sqrt(n / (n - 1) * np.square(left).sum()) / len(values)
    half = stdtrit(n - 1, (1 + LEVEL) / 2) * error
    return float(mean - half), float(mean + half)


class Difference(NamedTuple):
    """First less second over the same images: mean, its 95 % interval, and how many photographs each won; rest ties."""

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
    """How two methods differ on the same images.

    Args:
        first, second: one number per image (or patch).
        groups: the photograph that each is of; wins are counted by the mean of a photograph's patches, and n is of
            photographs.
        up: more is better; None where neither is, and nobody wins.
    """
    gap = first - second
    _, member = np.unique(groups, return_inverse=True)
    sums = np.bincount(member, gap)
    more, less = int((sums > 0).sum()), int((sums < 0).sum())
    wins, losses = {True: (more, less), False: (less, more), None: (0, 0)}[up]
    return Difference(float(gap.mean()), _interval(gap, groups), wins, losses, len(sums))

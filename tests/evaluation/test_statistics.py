"""Bootstrap against what statistics says of it, and paired differences."""

import numpy as np
import pytest

from jaxsr.evaluation.statistics import mean_with_intervals, paired_difference


def test_the_interval_over_images_is_that_of_the_standard_error():
    values = np.random.default_rng(0).normal(30, 2, (1, 400))
    mean, images, seeds = mean_with_intervals(values, np.arange(400), draws=4000)
    assert mean == values.mean()
    assert seeds is None
    error = values.std() / np.sqrt(400)
    np.testing.assert_allclose(images, [mean - 1.96 * error, mean + 1.96 * error], atol=0.12 * error)


def test_the_interval_over_seeds_is_of_the_seeds_means():
    values = 30 + np.array([[-1.0], [0.0], [1.0]]) + np.zeros((3, 50))
    _, images, seeds = mean_with_intervals(values, np.arange(50))
    assert images == (30.0, 30.0)  # all images have one mean
    assert seeds is not None
    # three seeds of equal chance: all three alike has 1/27, above the 2.5 % at each end
    np.testing.assert_allclose(seeds, [29, 31])


def test_patches_of_one_photograph_are_drawn_together():
    photographs = np.random.default_rng(1).normal(0, 1, 60)
    alone = mean_with_intervals(photographs[None], np.arange(60)).images
    patched = mean_with_intervals(photographs.repeat(4)[None], np.arange(60).repeat(4)).images
    independent = mean_with_intervals(photographs.repeat(4)[None], np.arange(240)).images
    np.testing.assert_allclose(patched, alone)
    assert alone is not None
    assert independent is not None
    np.testing.assert_allclose(np.ptp(independent), np.ptp(alone) / 2, rtol=0.15)


def test_one_photograph_says_nothing_of_others():
    assert mean_with_intervals(np.ones((1, 4)), np.zeros(4, int)).images is None


@pytest.mark.parametrize(("up", "wins", "losses"), [(True, 2, 1), (False, 1, 2), (None, 0, 0)])
def test_paired_difference_counts_wins_in_the_metrics_direction(up, wins, losses):
    first, second = np.array([3.0, 5, 1, 2]), np.array([1.0, 4, 2, 2])
    found = paired_difference(first, second, np.arange(4), up=up)
    assert (found.mean, found.wins, found.losses, found.n) == (0.5, wins, losses, 4)


def test_what_all_images_share_leaves_the_paired_interval_narrow():
    images = np.random.default_rng(2).normal(25, 5, 100)
    found = paired_difference(images + 0.5, images, np.arange(100), up=True)
    np.testing.assert_allclose(found.interval, [0.5, 0.5])
    assert found.wins == 100

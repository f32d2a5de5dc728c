"""Test how often the intervals cover the truth, what they are taken over, and paired differences."""

import numpy as np
import pytest
from scipy import stats

from jaxsr.metrics.statistics import bootstrap_interval, jackknife_interval, mean_with_intervals, paired_difference


@pytest.mark.parametrize("n", [2, 3, 5, 14, 100])
@pytest.mark.parametrize("of", ["images", "photographs of unlike numbers of patches", "seeds"])
def test_95_percent_of_the_intervals_hold_the_truth(n, of):
    """The test counts 2000 samples of normal data; the standard error of the share is 0.005."""
    generator = np.random.default_rng(n)
    sizes = np.arange(n) % 2 + 1 if of.startswith("photographs") and n > 5 else np.full(n, 1)
    groups, held = np.arange(n).repeat(sizes), 0
    for row in generator.normal(0, 1, (2000, n)):
        if of == "seeds":
            interval = mean_with_intervals(row[:, None], np.zeros(1, int)).seeds
        else:
            interval = mean_with_intervals(row.repeat(sizes)[None], groups).images
        assert interval is not None
        held += interval[0] <= 0 <= interval[1]
    assert held / 2000 == pytest.approx(0.95, abs=0.015)


def test_the_interval_is_that_of_scipys_t_test():
    first, second = np.random.default_rng(0).normal(30, 2, (2, 7))
    _, images, seeds = mean_with_intervals(first[None], np.arange(7))
    assert seeds is None
    np.testing.assert_allclose(images, stats.ttest_1samp(first, 0).confidence_interval(), rtol=1e-12)
    paired = paired_difference(first, second, np.arange(7), up=True).interval
    np.testing.assert_allclose(paired, stats.ttest_rel(first, second).confidence_interval(), rtol=1e-12)


def test_the_interval_over_seeds_is_of_the_seeds_means():
    values = 30 + np.array([[-1.0], [0.0], [1.0]]) + np.zeros((3, 50))
    _, images, seeds = mean_with_intervals(values, np.arange(50))
    assert images == (30.0, 30.0)  # all images have the same mean
    half = stats.t.ppf(0.975, 2) / np.sqrt(3)
    np.testing.assert_allclose(seeds, [30 - half, 30 + half])


def test_patches_of_one_photograph_count_as_one():
    photographs = np.random.default_rng(1).normal(0, 1, 60)
    alone = mean_with_intervals(photographs[None], np.arange(60)).images
    patched = mean_with_intervals(photographs.repeat(4)[None], np.arange(60).repeat(4)).images
    independent = mean_with_intervals(photographs.repeat(4)[None], np.arange(240)).images
    np.testing.assert_allclose(patched, alone)
    assert alone is not None
    assert independent is not None
    narrower = np.ptp(independent) / np.ptp(alone)
    assert narrower == pytest.approx(np.sqrt(59 / 239) * stats.t.ppf(0.975, 239) / stats.t.ppf(0.975, 59))


def test_one_photograph_says_nothing_of_others():
    assert mean_with_intervals(np.ones((1, 4)), np.zeros(4, int)).images is None


@pytest.mark.parametrize(("up", "wins", "losses"), [(True, 2, 1), (False, 1, 2), (None, 0, 0)])
def test_paired_difference_counts_wins_in_the_metrics_direction(up, wins, losses):
    first, second = np.array([3.0, 5, 1, 2]), np.array([1.0, 4, 2, 2])
    found = paired_difference(first, second, np.arange(4), up=up)
    assert (found.mean, found.wins, found.losses, found.n) == (0.5, wins, losses, 4)


def test_wins_are_of_photographs_and_not_of_patches():
    first, photographs = np.array([1.0, 1, 1, -9, 1, 1]), np.array([0, 0, 0, 0, 1, 1])
    found = paired_difference(first, np.zeros(6), photographs, up=True)
    assert (found.wins, found.losses, found.n) == (1, 1, 2)


def test_what_all_images_share_leaves_the_paired_interval_narrow():
    images = np.random.default_rng(2).normal(25, 5, 100)
    found = paired_difference(images + 0.5, images, np.arange(100), up=True)
    np.testing.assert_allclose(found.interval, [0.5, 0.5])
    assert found.wins == 100


def mean_of(values: np.ndarray):
    """Return the mean of these values as a function of the drawn indices."""
    return lambda drawn: values[drawn].mean(keepdims=True)


def test_the_bootstrap_covers_the_truth_as_often_as_it_says() -> None:
    generator = np.random.default_rng(1)
    intervals = [
        bootstrap_interval(mean_of(generator.normal(1.0, 0.5, 40)), np.arange(40), seed=seed, resamples=200)
        for seed in range(120)
    ]
    low, high = np.array(intervals)[..., 0].T
    assert 0.86 <= np.mean((low <= 1) & (high >= 1)) <= 0.99  # 95 %, with 2 % of sampling error
    np.testing.assert_allclose(np.mean(high - low), 2 * 1.96 * 0.5 / np.sqrt(40), rtol=0.1)


def test_level_seed_and_groups_of_the_bootstrap_matter() -> None:
    some = np.random.default_rng(2).normal(1.0, 0.5, 40)
    interval = lambda seed, **more: bootstrap_interval(mean_of(some), np.arange(40), seed=seed, resamples=200, **more)  # noqa: E731
    width = lambda found: float((found[1] - found[0])[0])  # noqa: E731
    np.testing.assert_array_equal(interval(0), interval(0))
    assert width(interval(0)) != width(interval(1))
    assert width(interval(0, level=0.5)) < 0.5 * width(interval(0))
    copies = mean_of(np.repeat(some, 4))  # four equal crops of each photograph
    grouped = bootstrap_interval(copies, np.repeat(np.arange(40), 4), seed=0, resamples=200)
    np.testing.assert_allclose(grouped, interval(0), rtol=1e-12)
    assert width(bootstrap_interval(copies, np.arange(160), seed=0, resamples=200)) < 0.7 * width(grouped)
    with pytest.raises(ValueError, match="needs at least 2 photographs"):
        bootstrap_interval(copies, np.zeros(160, int), seed=0)


def test_the_bootstrap_interval_of_a_mean_is_the_normal_one() -> None:
    values = np.random.default_rng(0).standard_normal(400)
    low, high = bootstrap_interval(lambda drawn: values[drawn].mean(), np.arange(400), seed=3)
    assert [low, high] == pytest.approx(values.mean() + np.array([-1, 1]) * 1.96 * values.std() / 20, abs=0.02)
    narrow = bootstrap_interval(lambda drawn: values[drawn].mean(), np.arange(400), seed=3, level=0.5)
    assert narrow[1] - narrow[0] < 0.5 * (high - low)


def test_the_jackknife_of_a_mean_is_students_interval() -> None:
    values = np.random.default_rng(0).normal(3, 2, (9, 2))
    low, high = jackknife_interval(lambda images: values[images].mean(0), 9)
    expected = np.array(stats.ttest_1samp(values, 0).confidence_interval())
    np.testing.assert_allclose([low, high], expected, rtol=1e-12)
    assert np.isnan(jackknife_interval(lambda images: values[images].mean(0), 1)).all()


@pytest.mark.parametrize("n", [5, 20])
def test_95_percent_of_the_jackknifes_intervals_hold_a_ratio(n) -> None:
    """The statistic is a ratio of means, as of variances. With 2000 samples, the share's standard error is 0.005."""
    generator, held = np.random.default_rng(n), 0
    for above, below in generator.normal([[1.0], [2.0]], 0.2, (2000, 2, n)):
        low, high = jackknife_interval(lambda k, a=above, b=below: a[k].mean() / b[k].mean(), n)
        held += low <= 0.5 <= high
    assert held / 2000 == pytest.approx(0.95, abs=0.02)

"""Test what Algorithm 1 chooses, against float64 sums over all elements and known answers."""

import json

import jaxtyping
import numpy as np
import pytest

from jaxsr.calibration.objectives import choose, norm_losses, norm_scale, table
from jaxsr.guidance.fits import fit_lstsq, norms, weighted_median
from tests.guidance.random_moments import DELTA64, MOMENTS, S64, N, T

CANDIDATES = np.linspace(-0.5, 3.0, 71)


def test_norms_and_losses_are_those_of_the_elements() -> None:
    delta, s = np.linalg.norm(DELTA64, axis=2), np.linalg.norm(S64, axis=2)
    np.testing.assert_allclose(norms(MOMENTS), (delta, s), rtol=1e-5)
    expected = [
        [sum(abs(np.linalg.norm(DELTA64[t, i]) - np.linalg.norm(a * S64[t, i])) for i in range(N)) for a in CANDIDATES]
        for t in range(T)
    ]
    np.testing.assert_allclose(norm_losses(MOMENTS, CANDIDATES), expected, rtol=1e-5)


def test_the_grids_pick_is_a_neighbour_of_the_weighted_median() -> None:
    median, grid = weighted_median(MOMENTS), norm_scale(MOMENTS, CANDIDATES)
    assert np.all(np.abs(median - grid) <= CANDIDATES[1] - CANDIDATES[0])
    np.testing.assert_array_equal(grid, np.abs(CANDIDATES[norm_losses(MOMENTS, CANDIDATES).argmin(1)]))
    at_median = np.diag(norm_losses(MOMENTS, median))
    assert np.all(at_median <= norm_losses(MOMENTS, np.linspace(-3, 3, 2001)).min(1) + 1e-9)


@pytest.mark.parametrize(
    "candidates", [np.linspace(-1.5, 1.5, 31), np.linspace(1.5, -1.5, 31), np.arange(-15, 16) / 10]
)
def test_of_a_scale_and_its_negative_the_positive_is_picked(candidates) -> None:
    grid = norm_scale(MOMENTS, candidates)
    assert np.all(grid > 0)
    np.testing.assert_allclose(norm_scale(MOMENTS, candidates[candidates <= 0]), -grid, atol=1e-9)


def test_the_objective_is_obeyed(monkeypatch) -> None:
    np.testing.assert_array_equal(choose(MOMENTS, CANDIDATES, "norm"), norm_scale(MOMENTS, CANDIDATES))
    slope = np.einsum("tnk,tnk->t", DELTA64, S64) / np.einsum("tnk,tnk->t", S64, S64)
    np.testing.assert_allclose(choose(MOMENTS, CANDIDATES, "lstsq"), slope, rtol=1e-5)
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)  # it would raise before us
    with pytest.raises(ValueError, match="objective: no 'l1'; choose one of norm, lstsq"):
        choose(MOMENTS, CANDIDATES, "l1")  # pyright: ignore[reportArgumentType]


def test_the_table_is_json_of_all_that_was_found() -> None:
    found = table(MOMENTS, CANDIDATES, seed=0)
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    np.testing.assert_allclose(found["losses"], norm_losses(MOMENTS, CANDIDATES) / N)
    np.testing.assert_array_equal(found["weighted_median"], weighted_median(MOMENTS))
    np.testing.assert_array_equal(found["norm_scale"], norm_scale(MOMENTS, CANDIDATES))
    for name, values in (("weighted_median", weighted_median(MOMENTS)), ("slope", fit_lstsq(MOMENTS).slope)):
        low, high = np.array(found[f"{name}_interval"]).T
        assert np.all((low <= values) & (values <= high))
        assert np.all(low < high)
    np.testing.assert_array_equal(found["lstsq"]["pooled_without_offset"]["offset"], 0.0)
    np.testing.assert_array_equal(found["lstsq"]["pooled"]["slope"], fit_lstsq(MOMENTS).slope)
    middle = np.array(found["lstsq"]["per_image_quartiles"]["cosine"])[:, 1]
    np.testing.assert_allclose(middle, np.median(fit_lstsq(MOMENTS, pooled=False).cosine, 1))

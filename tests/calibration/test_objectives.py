"""Test what Algorithm 1 chooses, against float64 sums over all elements and known answers."""

import json

import jaxtyping
import numpy as np
import pytest

from jaxsr.calibration.objectives import choose, norm_losses, norm_multiple, table
from jaxsr.guidance.fits import fit_lstsq, norms, weighted_median
from tests.guidance.random_moments import DELTA64, MOMENTS, S64, N, T

CANDIDATES = np.linspace(-0.5, 3.0, 71)
VARIANCE = np.array([2.5e-5, 0.04, 1.7])


def test_norms_and_losses_are_those_of_the_elements() -> None:
    delta, s = np.linalg.norm(DELTA64, axis=2), np.linalg.norm(S64, axis=2)
    np.testing.assert_allclose(norms(MOMENTS), (delta, s), rtol=1e-5)
    expected = [
        [sum(abs(np.linalg.norm(DELTA64[t, i]) - np.linalg.norm(a * S64[t, i])) for i in range(N)) for a in CANDIDATES]
        for t in range(T)
    ]
    np.testing.assert_allclose(norm_losses(MOMENTS, CANDIDATES), expected, rtol=1e-5)


def test_the_grids_pick_is_a_neighbour_of_the_weighted_median() -> None:
    median, grid = weighted_median(MOMENTS), norm_multiple(MOMENTS, CANDIDATES)
    assert np.all(np.abs(median - grid) <= CANDIDATES[1] - CANDIDATES[0])
    np.testing.assert_array_equal(grid, np.abs(CANDIDATES[norm_losses(MOMENTS, CANDIDATES).argmin(1)]))
    at_median = np.diag(norm_losses(MOMENTS, median))
    assert np.all(at_median <= norm_losses(MOMENTS, np.linspace(-3, 3, 2001)).min(1) + 1e-9)


@pytest.mark.parametrize(
    "candidates", [np.linspace(-1.5, 1.5, 31), np.linspace(1.5, -1.5, 31), np.arange(-15, 16) / 10]
)
def test_of_a_scale_and_its_negative_the_positive_is_picked(candidates) -> None:
    grid = norm_multiple(MOMENTS, candidates)
    assert np.all(grid > 0)
    np.testing.assert_allclose(norm_multiple(MOMENTS, candidates[candidates <= 0]), -grid, atol=1e-9)


@pytest.mark.parametrize("objective", ["norm", "step-norm"])
def test_the_scale_is_the_argmin_of_the_loss_as_the_paper_prints_it(objective) -> None:
    """Line 8 of Algorithm 1 has G itself in its norm; `step-norm` has the step Sigma_t G."""
    scale, step = choose(MOMENTS, CANDIDATES, objective, VARIANCE), S64
    for t in range(T):
        inside = step[t] / VARIANCE[t] if objective == "norm" else step[t]
        delta, length = (np.linalg.norm(x, axis=1) for x in (DELTA64[t], inside))
        loss = lambda a, delta=delta, length=length: np.abs(delta - a * length).sum()  # noqa: E731
        unit = VARIANCE[t] if objective == "norm" else 1
        grid = unit * CANDIDATES[CANDIDATES >= 0]
        assert scale[t] == pytest.approx(grid[np.argmin([loss(a) for a in grid])], rel=1e-9)
        closed = table(MOMENTS, CANDIDATES, VARIANCE, seed=0)[objective]["weighted_median"][t]
        assert loss(closed) <= min(loss(a) for a in unit * np.linspace(0, 3, 3001)) + 1e-9
        assert abs(scale[t] - closed) <= unit * (CANDIDATES[1] - CANDIDATES[0])


def test_the_objective_is_obeyed(monkeypatch) -> None:
    slope = np.einsum("tnk,tnk->t", DELTA64, S64) / np.einsum("tnk,tnk->t", S64, S64)
    np.testing.assert_allclose(choose(MOMENTS, CANDIDATES, "lstsq", VARIANCE), slope, rtol=1e-5)
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)  # it would raise before us
    with pytest.raises(ValueError, match="objective: no 'l1'; choose one of norm, step-norm, lstsq"):
        choose(MOMENTS, CANDIDATES, "l1", VARIANCE)  # pyright: ignore[reportArgumentType]


def test_the_table_is_json_of_all_that_was_found() -> None:
    found = table(MOMENTS, CANDIDATES, VARIANCE, seed=0)
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    np.testing.assert_allclose(found["losses"], norm_losses(MOMENTS, CANDIDATES) / N)
    np.testing.assert_array_equal(found["variance"], VARIANCE)
    for name, unit in (("norm", VARIANCE), ("step-norm", np.ones(T))):
        np.testing.assert_allclose(found[name]["weighted_median"], unit * weighted_median(MOMENTS))
        np.testing.assert_allclose(found[name]["candidate"], unit * norm_multiple(MOMENTS, CANDIDATES))
        low, high = np.array(found[name]["weighted_median_interval"]).T
        assert np.all((low <= found[name]["weighted_median"]) & (found[name]["weighted_median"] <= high))
    low, high = np.array(found["slope_interval"]).T
    assert np.all((low <= fit_lstsq(MOMENTS).slope) & (fit_lstsq(MOMENTS).slope <= high) & (low < high))
    np.testing.assert_array_equal(found["lstsq"]["pooled_without_offset"]["offset"], 0.0)
    np.testing.assert_array_equal(found["lstsq"]["pooled"]["slope"], fit_lstsq(MOMENTS).slope)
    middle = np.array(found["lstsq"]["per_image_quartiles"]["cosine"])[:, 1]
    np.testing.assert_allclose(middle, np.median(fit_lstsq(MOMENTS, pooled=False).cosine, 1))

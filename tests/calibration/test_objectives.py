"""What Algorithm 1 chooses, against float64 sums over all elements, numpy's least squares, and known answers."""

import json

import jax.numpy as jnp
import jaxtyping
import numpy as np
import pytest

from jaxsr.calibration.objectives import choose, norm_losses, norm_scale, table
from jaxsr.guidance.fits import concatenate, fit_lstsq, norms, weighted_median
from jaxsr.guidance.moments import Moments, moments

T, N, SHAPE = 3, 7, (4, 5, 3)
RANDOM = np.random.default_rng(0)
S = RANDOM.normal(0.2, 0.3, (T, N, *SHAPE)).astype(np.float32)
DELTA = (0.4 * S + RANDOM.normal(0.1, 0.2, S.shape) * RANDOM.uniform(0.2, 2, (T, N, 1, 1, 1))).astype(np.float32)
CANDIDATES = np.linspace(-0.5, 3.0, 71)


def measured(delta: np.ndarray, s: np.ndarray) -> Moments:
    """The moments of arrays (T, n, h, w, c), through the float32 of the device, in two batches."""
    rows = [moments(jnp.asarray(d), jnp.asarray(x), jnp.ones(d.shape)) for d, x in zip(delta, s, strict=True)]
    whole = [np.stack(field) for field in zip(*rows, strict=True)]
    return concatenate([Moments(*(f[:, :3] for f in whole)), Moments(*(f[:, 3:] for f in whole))])


MOMENTS = measured(DELTA, S)
DELTA64, S64 = (x.astype(np.float64).reshape(T, N, -1) for x in (DELTA, S))


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


def test_the_weighted_median_of_a_case_worked_by_hand() -> None:
    ratio, weight = np.array([[3.0, 1.0, 2.0]]), np.array([[1.0, 1.0, 5.0]])
    none = np.zeros((1, 3))
    made = Moments(np.ones((1, 3)), none, none, np.square(ratio * weight), np.square(weight), none)
    np.testing.assert_allclose(weighted_median(made), [2.0])  # the weight of 5 has more than half
    made = made._replace(square_s=none)
    np.testing.assert_array_equal(weighted_median(made), [0.0])


@pytest.mark.parametrize("pooled", [True, False])
@pytest.mark.parametrize("offset", [True, False])
def test_least_squares_is_numpys(pooled: bool, offset: bool) -> None:
    fit = fit_lstsq(MOMENTS, pooled=pooled, offset=offset)
    shape = (T, 1, -1) if pooled else (T, N, -1)
    delta, s = DELTA64.reshape(shape), S64.reshape(shape)
    for where in np.ndindex(shape[:2]):
        d, x = delta[where], s[where]
        columns = np.stack([x, np.ones_like(x)], 1) if offset else x[:, None]
        answer, residual, *_ = np.linalg.lstsq(columns, d, rcond=None)
        total = np.square(d - d.mean() if offset else d).sum()
        cosine = d @ x / np.sqrt((d @ d) * (x @ x))
        expected = (answer[0], answer[1] if offset else 0.0, 1 - residual[0] / total, cosine)
        np.testing.assert_allclose([f[where[: f.ndim]] for f in fit], expected, rtol=1e-5, atol=1e-6)


def test_large_means_cost_no_digits() -> None:
    fit = fit_lstsq(measured(DELTA + 50, S + 50))
    np.testing.assert_allclose(fit.slope, fit_lstsq(MOMENTS).slope, atol=2e-4)  # 50 itself rounds at 4e-6


def test_an_exact_line_has_r2_one_and_one_that_does_not_vary_none() -> None:
    fit = fit_lstsq(measured(0.3 * S - 0.2, S))
    np.testing.assert_allclose(fit.slope, 0.3, atol=1e-5)
    np.testing.assert_allclose(fit.offset, -0.2, atol=1e-5)
    np.testing.assert_allclose(fit.r2, 1.0, atol=1e-5)
    none = fit_lstsq(measured(0 * S, 0 * S))
    np.testing.assert_array_equal(np.stack(none), 0.0)


def test_the_objective_is_obeyed(monkeypatch) -> None:
    np.testing.assert_array_equal(choose(MOMENTS, CANDIDATES, "norm"), norm_scale(MOMENTS, CANDIDATES))
    slope = np.einsum("tnk,tnk->t", DELTA64, S64) / np.einsum("tnk,tnk->t", S64, S64)
    np.testing.assert_allclose(choose(MOMENTS, CANDIDATES, "lstsq"), slope, rtol=1e-5)
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)  # it would object before us
    with pytest.raises(ValueError, match="objective: no 'l1'; choose one of norm, lstsq"):
        choose(MOMENTS, CANDIDATES, "l1")  # pyright: ignore[reportArgumentType]


def test_images_that_cannot_be_calibrated_on_are_named() -> None:
    with pytest.raises(ValueError, match="there are no images"):
        concatenate([])
    holes = Moments(*(field.copy() for field in MOMENTS))
    holes.product[1, 4] = np.nan
    with pytest.raises(ValueError, match="image 4 gives numbers that are not finite at t = 2"):
        concatenate([holes])
    with pytest.raises(ValueError, match="the mask excludes all of image 0"):
        concatenate([MOMENTS._replace(n=np.zeros((T, N)))])


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

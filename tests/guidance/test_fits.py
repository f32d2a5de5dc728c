"""Test the fits of errors against float64 sums over all elements, numpy's least squares, and known answers."""

import numpy as np
import pytest

from jaxsr.guidance.fits import concatenate, fit_lstsq, weighted_median
from jaxsr.guidance.moments import Moments
from tests.guidance.random_moments import DELTA, DELTA64, MOMENTS, S64, N, S, T, measured


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


def test_images_that_cannot_be_calibrated_on_are_named() -> None:
    with pytest.raises(ValueError, match="there are no images"):
        concatenate([])
    holes = Moments(*(field.copy() for field in MOMENTS))
    holes.product[1, 4] = np.nan
    with pytest.raises(ValueError, match="image 4 gives numbers that are not finite at t = 2"):
        concatenate([holes])
    with pytest.raises(ValueError, match="the mask excludes all of image 0"):
        concatenate([MOMENTS._replace(n=np.zeros((T, N)))])

"""Test truncation errors against the closed-form flow of the Gaussian world: references, orders, and the regression."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxsr.choices import GradientForm
from jaxsr.diffusion import SAMPLERS, exponential_schedule, thin
from jaxsr.guidance.fits import concatenate, fit_lstsq
from jaxsr.numerics.gaussian_world import GaussianWorld
from jaxsr.numerics.regression import GRADIENTS, Gradient, regress, removed, split_half, table
from jaxsr.numerics.truncation import (
    continuous_ends,
    fine_ends,
    local_errors,
    restrict,
    rows_of,
    span_means,
    step_means,
)

WORLD = GaussianWorld()
SHAPE = (4, 6, 6, 3)
FINE = exponential_schedule(60)
FOUR = thin(FINE, 4)
ROWS = rows_of(FINE, FOUR)
FINE_DENOISE = WORLD.denoiser(FINE)
DENOISE = restrict(FINE_DENOISE, ROWS)
Y = jnp.full(SHAPE, WORLD.y)
HR = WORLD.m + WORLD.s * jax.random.normal(jax.random.key(1), SHAPE)
ETA, ETA_TO = (np.reshape(eta, (4, 1, 1, 1, 1)) for eta in (FOUR.eta, FOUR.eta_prev))
MEAN, VARIANCE = WORLD.marginal(ETA)
STATES = jnp.asarray(MEAN + VARIANCE**0.5 * np.random.default_rng(2).standard_normal((4, *SHAPE)), jnp.float32)
EXACT = WORLD.flow(np.asarray(STATES, np.float64), ETA, ETA_TO)


def test_rows_of_a_thinning() -> None:
    assert ROWS.tolist() == [0, 20, 39, 59]
    with pytest.raises(ValueError, match="must be a thinning of the fine one"):
        rows_of(FINE, exponential_schedule(7))
    with pytest.raises(ValueError, match="must be a thinning of the fine one"):
        rows_of(FOUR, FINE)


def test_the_fine_reference_is_near_the_exact_flow() -> None:
    ends = fine_ends(FINE_DENOISE, FINE, Y, STATES, ROWS, np.array([-1, *ROWS[:-1]]))
    own = np.sqrt(np.square(ends - EXACT).mean((1, 2, 3, 4)))
    coarse = local_errors(DENOISE, FOUR, Y, STATES, jnp.asarray(EXACT, jnp.float32), "deterministic")
    coarse = np.sqrt(np.square(coarse).mean((1, 2, 3, 4)))
    assert np.all(own[1:] < 0.04 * coarse[1:])
    np.testing.assert_allclose(own[0], coarse[0], rtol=1e-3)  # from eta_1, both take the same Euler step


def test_diffrax_finds_the_exact_flow_in_float64() -> None:
    pytest.importorskip("diffrax")
    few = STATES[:, :1, :2, :2]
    found = continuous_ends(WORLD.predict, Y[:1, :2, :2], few, FOUR.eta, FOUR.eta_prev)
    assert found.dtype == np.float64
    np.testing.assert_allclose(found, EXACT[:, :1, :2, :2], atol=1e-7)
    rough = continuous_ends(WORLD.predict, Y[:1, :2, :2], few, FOUR.eta, FOUR.eta_prev, rtol=1e-3, atol=1e-3)
    assert np.abs(rough - EXACT[:, :1, :2, :2]).max() > 1e-6


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_local_errors_are_those_of_the_closed_forms(sampler: str) -> None:
    found = local_errors(DENOISE, FOUR, Y, STATES, jnp.asarray(EXACT, jnp.float32), sampler)
    slope, offset = (np.reshape(v, (4, 1, 1, 1, 1)) for v in WORLD.lines(FOUR, sampler))
    np.testing.assert_allclose(found, EXACT - (slope * np.asarray(STATES, np.float64) + offset), atol=3e-6)


@pytest.mark.parametrize(("sampler", "order"), [("ancestral", 1), ("deterministic", 2), ("heun", 3)])
def test_the_observed_order_of_the_local_error(sampler: str, order: int) -> None:
    eta = np.linspace(0.4, 0.8, 65) ** 2
    fine = exponential_schedule(65)
    fine = type(fine)(eta, fine.kappa, fine.timestep_map)
    x = STATES[2]
    spans = (4, 8, 16)
    means = span_means(WORLD.denoiser(fine), fine, Y, x, 64, spans, sampler)
    exact = [WORLD.flow(np.asarray(x, np.float64), eta[64], eta[64 - span]) for span in spans]
    error = np.sqrt(np.square(np.stack(exact) - np.asarray(means)).mean((1, 2, 3, 4)))
    lam = 1 / np.sqrt(eta) - np.sqrt(eta)
    length = lam[[64 - span for span in spans]] - lam[64]
    assert np.polyfit(np.log(length), np.log(error), 1)[0] == pytest.approx(order, abs=0.35)
    assert np.all(np.diff(length) > 0)
    assert np.all(np.diff(error) > 0)


def test_spans_that_leave_the_schedule_and_unknown_samplers_are_refused() -> None:
    with pytest.raises(ValueError, match=r"from row 3 can span 1 to 3 rows, not \[1, 4\]"):
        span_means(DENOISE, FOUR, Y, STATES[0], 3, [1, 4], "heun")
    with pytest.raises(ValueError, match="sampler: no 'euler'; choose one of"):
        step_means(DENOISE, FOUR.tables(), Y, STATES, "euler")


def test_in_the_gaussian_world_the_error_is_linear_in_the_gradient_to_lr() -> None:
    """Both are linear in x_t, so R^2 is 1. Slope and offset follow from the lines of the step and of the flow."""
    errors = jnp.asarray(EXACT, jnp.float32) - step_means(DENOISE, FOUR.tables(), Y, STATES, "deterministic")
    sums = regress(DENOISE, FOUR, Y, HR, STATES, errors, sampler="deterministic")
    assert set(sums) == set(GRADIENTS)
    slope, offset = WORLD.lines(FOUR, "deterministic")
    exact_slope = np.sqrt(WORLD.marginal(FOUR.eta_prev)[1] / WORLD.marginal(FOUR.eta)[1])
    exact_offset = WORLD.marginal(FOUR.eta_prev)[0] - exact_slope * WORLD.marginal(FOUR.eta)[0]
    one = Gradient("lr", GradientForm())
    fit = fit_lstsq(concatenate([sums[one]]))
    expected = (exact_slope - slope) / slope
    np.testing.assert_allclose(fit.slope, expected, rtol=2e-3)
    np.testing.assert_allclose(fit.offset, exact_offset - offset - expected * (offset - WORLD.y), atol=1e-3)
    np.testing.assert_allclose(fit.r2, 1, atol=1e-4)
    through_state = fit_lstsq(concatenate([sums[one._replace(form=GradientForm(through="state"))]]))
    np.testing.assert_allclose(through_state.slope, expected / slope, rtol=2e-3)
    marginal = fit_lstsq(concatenate([sums[one._replace(form=GradientForm(reference_variance="marginal"))]]))
    ratio = FOUR.marginal_variance_clipped / FOUR.variance_clipped
    np.testing.assert_allclose(marginal.slope, expected * ratio, rtol=2e-3)
    shifted = fit_lstsq(concatenate([sums[Gradient("hr", GradientForm(reference_mean="shifted"))]]))
    clean = fit_lstsq(concatenate([sums[one._replace(reference="hr")]]))
    assert np.abs(shifted.slope - clean.slope).max() > 1e-3
    assert np.all(clean.r2 < 0.99)  # the HR image itself is not a function of x_t


def linear_errors(noise: float, slopes: list[float], offset: float = 0.1):
    """Return the moments of errors that are slope S + offset + noise for known S, one slope per image."""
    generator, count = np.random.default_rng(0), len(slopes)
    normal = lambda: jnp.asarray(generator.standard_normal((4, count, 8, 8, 3)), jnp.float32)  # noqa: E731
    z, states = jnp.full((count, 8, 8, 3), WORLD.y), normal()
    term = step_means(DENOISE, FOUR.tables(), z, states, "ancestral") - WORLD.y
    errors = jnp.reshape(jnp.asarray(slopes, jnp.float32), (1, -1, 1, 1, 1)) * term + offset + noise * normal()
    gradient = Gradient("lr", GradientForm())
    return concatenate([regress(DENOISE, FOUR, z, z, states, errors, gradients=[gradient])[gradient]])


def test_what_is_removed_in_and_out_of_sample() -> None:
    same = split_half(linear_errors(0.0, [0.4] * 6))
    for share in same:
        np.testing.assert_allclose(share, 1, atol=1e-4)
    without = split_half(linear_errors(0.0, [0.4] * 6), offset=False)
    assert np.all(without.inside < 0.999)
    # Slopes of +0.4 and -0.4 alternate: each half fits itself and makes the other half's error larger.
    opposite = split_half(linear_errors(0.0, [0.4, -0.4] * 3))
    np.testing.assert_allclose(opposite.inside, 1, atol=1e-4)
    np.testing.assert_allclose(opposite.each, 1, atol=1e-4)
    assert np.all(opposite.outside < 0)
    assert np.isnan(split_half(linear_errors(0.0, [0.4])).outside).all()


def test_removed_is_the_share_of_the_squared_error() -> None:
    sums = linear_errors(0.5, [0.2, 0.3, 0.4])
    fit = fit_lstsq(sums)
    raw = sums.square_delta.sum(1) + (sums.n * sums.mean_delta**2).sum(1)
    nothing = fit._replace(slope=np.zeros(4), offset=np.zeros(4))
    np.testing.assert_allclose(removed(sums, nothing), 0, atol=1e-12)
    mean = (sums.n * sums.mean_delta).sum(1) / sums.n.sum(1)
    total = raw - sums.n.sum(1) * mean**2
    np.testing.assert_allclose(1 - removed(sums, fit), (1 - fit.r2) * total / raw, rtol=1e-6)


def test_the_table_has_a_row_for_every_gradient_and_step() -> None:
    sums = {GRADIENTS[0]: linear_errors(0.1, [0.4] * 2)}
    rows = table(sums, FOUR.eta)
    assert [row["t"] for row in rows] == [1, 2, 3, 4]
    assert rows[3]["slope"] == pytest.approx(0.4, abs=0.1)
    assert set(GRADIENTS[0].words()) <= set(rows[0])

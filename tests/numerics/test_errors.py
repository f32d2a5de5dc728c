"""Test modular and cumulative errors against the Gaussian world's closed forms and NumPy, and what is refused."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxsr.diffusion import exponential_schedule, normal_noise, trajectory
from jaxsr.numerics.errors import (
    PatchSums,
    cumulative_error,
    forward_states,
    modular_error,
    patch_moments,
    patch_sums,
    sampling_floor,
)
from jaxsr.numerics.gaussian_world import GaussianWorld

WORLD = GaussianWorld()
SHAPE = (3, 32, 32, 4)
FOUR = exponential_schedule(4, min_noise_level=0.2)
Y = jnp.full(SHAPE, WORLD.y)
HR = WORLD.m + WORLD.s * jax.random.normal(jax.random.key(1), SHAPE)
NOISE = normal_noise(jax.random.key(2), 4, SHAPE)


def test_forward_states_have_the_marginals_of_the_forward_process() -> None:
    states = np.asarray(forward_states(FOUR, Y, HR, NOISE), np.float64)
    for state, eta in zip(states, FOUR.eta, strict=True):
        mean, variance = WORLD.marginal(eta)
        assert abs(state.mean() - mean) < 4 * (variance / state.size) ** 0.5
        assert abs(state.var() / variance - 1) < 4 * (2 / state.size) ** 0.5
    assert abs(np.corrcoef((states[2] - HR).ravel(), (states[3] - HR).ravel())[0, 1]) < 0.05  # independent noise


def test_the_modular_error_of_the_exact_denoiser_is_the_posterior_variance() -> None:
    found = modular_error(WORLD.denoiser(FOUR), FOUR, HR, forward_states(FOUR, Y, HR, NOISE))
    eta = FOUR.eta
    left = WORLD.s**2 * WORLD.kappa**2 * eta / WORLD.marginal(eta)[1]  # Var(x_0 | x_t)
    expected = FOUR.loss_weight * left
    np.testing.assert_allclose(np.mean(found, 1), expected, rtol=5 * (2 / HR.size) ** 0.5)
    np.testing.assert_allclose(found, np.broadcast_to(expected[:, None], (4, 3)), rtol=0.2)


def test_an_oracle_has_no_modular_error_and_a_bias_has_its_own() -> None:
    states = forward_states(FOUR, Y, HR, NOISE)
    assert np.abs(modular_error(lambda x, i: HR, FOUR, HR, states)).max() < 1e-6
    found = modular_error(lambda x, i: HR + 0.3, FOUR, HR, states)
    np.testing.assert_allclose(found[:, 0], FOUR.loss_weight * 0.3**2, rtol=1e-3)


def test_the_cumulative_error_is_the_divergence_of_the_two_gaussians() -> None:
    schedule, noise = FOUR, NOISE
    steps = trajectory(WORLD.denoiser(schedule), schedule, Y, noise)
    ours = jnp.concatenate([steps.sample[-1:], steps.x_t[::-1]])
    truth = jnp.concatenate([HR[None], forward_states(schedule, Y, HR, noise)])
    sums = [PatchSums(*(field.sum(1) for field in patch_sums(states, 1))) for states in (ours, truth)]
    found = cumulative_error(*sums)
    moments = WORLD.moments(schedule)
    for t in range(5):
        mean, variance = WORLD.marginal(0.0 if t == 0 else schedule.eta[t - 1])
        ratio = moments.variance[-1 - t] / variance
        expected = (ratio - 1 - np.log(ratio) + (moments.mean[-1 - t] - mean) ** 2 / variance) / 2
        assert found[t] == pytest.approx(expected, rel=0.05, abs=0.004)
    assert found[0] > 0.3  # under-dispersed: the variance is a quarter of the data's


def test_correlated_patches_are_told_from_white_ones_only_by_larger_patches() -> None:
    white = np.random.default_rng(0).standard_normal((1, 160, 160, 1))
    other = np.random.default_rng(1).standard_normal((1, 160, 160, 1))
    smooth = (other + np.roll(other, 1, 2)) / 2**0.5
    pixel = cumulative_error(patch_sums(smooth, 1), patch_sums(white, 1))
    pairs = cumulative_error(patch_sums(smooth, 2), patch_sums(white, 2))
    assert pixel[0] < 0.005
    # Neighbours in a row correlate by 1/2. Each of the 2 rows adds -log(1 - 1/4)/2, spread over 4 values.
    assert pairs[0] == pytest.approx(-np.log(0.75) / 4, rel=0.1)


def test_patch_sums_are_those_of_numpy() -> None:
    values = np.random.default_rng(0).standard_normal((2, 9, 11, 3))
    mean, covariance = patch_moments(patch_sums(values, 2))
    patches = np.stack([values[1, i : i + 2, j : j + 2].ravel() for i in range(0, 8, 2) for j in range(0, 10, 2)])
    np.testing.assert_allclose(mean[1], patches.mean(0), atol=1e-12)
    np.testing.assert_allclose(covariance[1], np.cov(patches.T, ddof=0), atol=1e-12)


def test_equal_distributions_have_the_floor_on_average() -> None:
    draws = np.random.default_rng(0).standard_normal((2, 300, 12, 12, 3))
    ours, truth = (patch_sums(one, 1) for one in draws)
    assert cumulative_error(ours, truth).mean() == pytest.approx(sampling_floor(ours, truth)[0], rel=0.15)


def test_what_gives_no_covariance_is_refused() -> None:
    values = np.random.default_rng(0).standard_normal((1, 4, 4, 3))
    with pytest.raises(ValueError, match="4 patches of 12 values give no covariance"):
        cumulative_error(patch_sums(values, 2), patch_sums(values, 2))
    with pytest.raises(ValueError, match="states of 4 x 4 hold no patch of 5 x 5"):
        patch_sums(values, 5)
    values[..., 1] = values[..., 0]
    with pytest.raises(ValueError, match="the covariance of the patches is singular"):
        cumulative_error(patch_sums(values, 1), patch_sums(values, 1))

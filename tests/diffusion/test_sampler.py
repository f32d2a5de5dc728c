"""Test samplers against the Gaussian world, their order of convergence, and the inversion."""

from itertools import pairwise

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxsr.diffusion import SAMPLERS, Schedule, exponential_schedule, invert, normal_noise, sample, thin, trajectory
from tests.oracles import GaussianWorld

WORLD = GaussianWorld()
SHAPE = (1, 400, 400, 1)
Y = jnp.full(SHAPE, WORLD.y)
NO_NOISE = lambda k: jnp.zeros(SHAPE)  # noqa: E731


def noise(steps: int, shape: tuple[int, ...] = SHAPE):
    return normal_noise(jax.random.key(0), steps, shape)


@pytest.mark.parametrize("schedule", [exponential_schedule(4, min_noise_level=0.2), exponential_schedule(15)])
def test_ancestral_moments_follow_the_recursion_at_every_step(schedule: Schedule) -> None:
    steps = trajectory(WORLD.denoiser(schedule), schedule, Y, noise(schedule.steps))
    means, variances = WORLD.ancestral_moments(schedule)
    n = Y.size
    for i in range(schedule.steps):
        drawn, std = np.asarray(steps.sample[i], np.float64), np.sqrt(variances[i + 1])
        assert abs(drawn.mean() - means[i + 1]) < 5 * std / n**0.5
        assert abs(drawn.var() / variances[i + 1] - 1) < 5 * (2 / n) ** 0.5


@pytest.mark.parametrize(("steps", "variance"), [(4, 0.057), (15, 0.164), (60, 0.216)])
def test_under_dispersion_is_as_the_method_page_measured(steps: int, variance: float) -> None:
    schedule = exponential_schedule(steps, min_noise_level=0.2 if steps == 4 else 0.04)
    world = GaussianWorld(m=0.0, y=0.0)
    assert abs(world.ancestral_moments(schedule)[1][-1] - variance) < 6e-3


@pytest.mark.parametrize("steps", [2, 4, 15])
def test_exact_prediction_gives_the_forward_marginal_at_every_step(steps: int) -> None:
    schedule, c = thin(exponential_schedule(60), steps), 0.7
    draw = noise(steps)
    # x_T is drawn about y, but the mean of the marginal at T lies (1 - eta_T) (c - y) away from y.
    shift = (1 - schedule.eta[-1]) * (c - WORLD.y) / (schedule.kappa * schedule.eta[-1] ** 0.5)
    run = trajectory(lambda x, i: jnp.full(SHAPE, c), schedule, Y, lambda k: draw(k) + jnp.where(k == 0, shift, 0.0))
    for k, eta in enumerate(schedule.eta_prev[::-1]):
        drawn = np.asarray(run.sample[k], np.float64)
        variance = schedule.kappa**2 * eta
        assert abs(drawn.mean() - ((1 - eta) * c + eta * WORLD.y)) < 5 * (variance / Y.size) ** 0.5 + 1e-6
        assert abs(drawn.var() - variance) < 5 * variance * (2 / Y.size) ** 0.5 + 1e-6


def test_a_trajectory_tells_the_prediction_and_the_mean_of_every_step() -> None:
    schedule, c = thin(exponential_schedule(60), 4), 0.7
    run = trajectory(lambda x, i: jnp.full(SHAPE, c), schedule, Y, noise(4))
    np.testing.assert_array_equal(run.x0_hat, np.full((4, *SHAPE), c, np.float32))
    for k, i in enumerate(reversed(range(4))):
        expected = schedule.coef_x[i] * np.asarray(run.x_t[k], np.float64) + schedule.coef_x0[i] * c
        np.testing.assert_allclose(run.mean[k], expected, atol=2e-6)
        spread = np.asarray(run.sample[k] - run.mean[k], np.float64).std()
        assert abs(spread - schedule.variance[i] ** 0.5) < 5 * (schedule.variance[i] / (2 * Y.size)) ** 0.5 + 1e-6
    np.testing.assert_array_equal(run.sample[-1], run.mean[-1])


def custom(etas: np.ndarray) -> Schedule:
    return Schedule(etas, 2.0, np.arange(len(etas)))


def flow_error(sampler: str, steps: int) -> float:
    """Return a sampler's error against the exact flow of the Gaussian world, from eta = 0.98 to 0.1.

    The prediction f is exact.
    """
    schedule = custom(np.linspace(0.1**0.5, 0.98**0.5, steps + 1) ** 2)
    x_T = jnp.array([[[[-2.0, -0.5, 0.4, 1.5]]]])
    y = jnp.full(x_T.shape, WORLD.y)
    eps = (x_T - y) / (schedule.kappa * schedule.eta[-1] ** 0.5)
    run = trajectory(WORLD.denoiser(schedule), schedule, y, lambda k: eps, sampler=sampler)
    mean = (1 - schedule.eta) * WORLD.m + schedule.eta * WORLD.y
    std = np.sqrt((1 - schedule.eta) ** 2 * WORLD.s**2 + schedule.kappa**2 * schedule.eta)
    exact = mean[0] + std[0] / std[-1] * (np.asarray(x_T) - mean[-1])  # the flow maps quantiles to quantiles
    return float(np.abs(np.asarray(run.sample[-2]) - exact).max())


@pytest.mark.parametrize(("sampler", "order"), [("deterministic", 1), ("heun", 2)])
def test_order_of_convergence(sampler: str, order: int) -> None:
    steps = np.array([8, 16, 32, 64])
    errors = np.array([flow_error(sampler, int(n)) for n in steps])
    measured = -np.polyfit(np.log(steps), np.log(errors), 1)[0]
    assert abs(measured - order) < 0.2, errors


def test_deterministic_is_exact_for_an_exact_prediction() -> None:
    schedule = thin(exponential_schedule(60), 4)
    run = trajectory(lambda x, i: jnp.full(SHAPE, 0.7), schedule, Y, noise(4), sampler="deterministic")
    eps = (run.x_t[0] - Y) / (schedule.kappa * schedule.eta[-1] ** 0.5)
    w = (run.x_t[0] - (1 - schedule.eta[-1]) * 0.7 - schedule.eta[-1] * Y) / schedule.eta[-1] ** 0.5
    assert eps.shape == SHAPE
    for k, eta in enumerate(schedule.eta_prev[::-1]):
        np.testing.assert_allclose(run.sample[k], (1 - eta) * 0.7 + eta * Y + eta**0.5 * w, atol=2e-6)


def test_inverse_round_trips_as_the_steps_get_finer() -> None:
    x0 = jnp.array([[[[-0.9, -0.1, 0.4, 1.1]]]])
    y, errors = jnp.full(x0.shape, WORLD.y), []
    for steps in (20, 40, 80, 160):
        schedule = custom(np.linspace(0, 0.99, steps + 1)[1:] ** 2)
        denoise = WORLD.denoiser(schedule)
        states = invert(denoise, schedule, x0, y)
        assert states.shape == (steps, *x0.shape)
        eps = (states[-1] - y) / (schedule.kappa * schedule.eta[-1] ** 0.5)
        back = sample(denoise, schedule, y, lambda k, eps=eps: eps, sampler="deterministic")
        errors.append(float(jnp.abs(back - x0).max()))
    assert all(finer < 0.7 * coarser for coarser, finer in pairwise(errors)), errors


def test_one_step_returns_the_prediction_for_every_sampler() -> None:
    schedule = thin(exponential_schedule(60), 1)
    denoise, eps = WORLD.denoiser(schedule), noise(1)
    x_T = Y + schedule.kappa * schedule.eta[-1] ** 0.5 * eps(jnp.int32(0))
    for sampler in SAMPLERS:
        np.testing.assert_allclose(sample(denoise, schedule, Y, eps, sampler=sampler), denoise(x_T, 0), rtol=1e-6)


def test_samplers_differ_and_share_their_start() -> None:
    schedule = thin(exponential_schedule(60), 4)
    runs = {s: trajectory(WORLD.denoiser(schedule), schedule, Y, noise(4), sampler=s) for s in SAMPLERS}
    assert all(jnp.array_equal(run.x_t[0], runs["ancestral"].x_t[0]) for run in runs.values())
    ends = [np.asarray(run.sample[-1]) for run in runs.values()]
    assert not any(np.allclose(a, b) for i, a in enumerate(ends) for b in ends[:i])


def test_sample_is_the_end_of_the_trajectory_and_jits() -> None:
    schedule = thin(exponential_schedule(60), 4)
    run = trajectory(WORLD.denoiser(schedule), schedule, Y, noise(4))
    jitted = jax.jit(lambda y: sample(WORLD.denoiser(schedule), schedule, y, noise(4)))
    np.testing.assert_allclose(jitted(Y), run.sample[-1], atol=1e-6)
    np.testing.assert_array_equal(run.x_t[1:], run.sample[:-1])


def test_only_ancestral_draws_noise_after_the_start() -> None:
    schedule = thin(exponential_schedule(60), 4)
    for sampler in SAMPLERS:
        calls: list[int] = []

        def counted(k, calls=calls):
            calls.append(1)
            return jnp.zeros(SHAPE)

        sample(WORLD.denoiser(schedule), schedule, Y, counted, sampler=sampler)
        assert (len(calls) > 1) == (sampler == "ancestral")


def test_unknown_sampler_is_refused() -> None:
    schedule = thin(exponential_schedule(60), 4)
    with pytest.raises(ValueError, match=r"no 'ddim'; choose one of ancestral, deterministic, heun"):
        sample(WORLD.denoiser(schedule), schedule, Y, NO_NOISE, sampler="ddim")

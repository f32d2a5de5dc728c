"""Test the library's Gaussian world against the tests' own, the real samplers, and the bound for every estimator."""

import jax.numpy as jnp
import numpy as np
import pytest

from jaxsr.choices import REFERENCE_MEANS, REFERENCE_VARIANCES, SAMPLERS, THROUGHS
from jaxsr.diffusion import Guidance, Schedule, exponential_schedule, thin, trajectory
from jaxsr.numerics.gaussian_world import (
    GaussianWorld,
    constant_scale,
    distortion_front,
    distortion_place,
    divergence_scale,
    restoring_scales,
    restoring_temperature,
)
from tests import oracles
from tests.words import with_form

WORLD, ORACLE = GaussianWorld(), oracles.GaussianWorld()


def exact_moments(schedule: Schedule, sampler: str, guidance=(), temperature=1.0) -> tuple[np.ndarray, np.ndarray]:
    """Return the mean and variance after every step of the real sampler.

    Image 0 has no noise; image k + 1 has a unit of noise k.
    """
    count = schedule.steps + 1
    unit = lambda k: jnp.zeros((count + 1, 1, 1, 1)).at[k + 1].set(1.0)  # noqa: E731
    y = jnp.full((count + 1, 1, 1, 1), WORLD.y)
    steps = trajectory(
        ORACLE.denoiser(schedule), schedule, y, unit, sampler=sampler, guidance=guidance, temperature=temperature
    )
    samples = np.asarray(steps.sample, np.float64)[..., 0, 0, 0]
    return samples[:, 0], np.square(samples[:, 1:] - samples[:, :1]).sum(1)


def test_the_denoiser_is_that_of_the_tests_own_world() -> None:
    schedule, x = exponential_schedule(15), jnp.linspace(-3, 3, 12).reshape(1, 2, 2, 3)
    for i in (0, 7, 14):
        ours, theirs = (world.denoiser(schedule)(x, jnp.int32(i)) for world in (WORLD, ORACLE))
        np.testing.assert_allclose(ours, theirs, atol=1e-6)


@pytest.mark.parametrize(("steps", "variance"), [(4, 0.057), (15, 0.164), (60, 0.216)])
def test_few_steps_are_under_dispersed_as_the_method_says(steps: int, variance: float) -> None:
    schedule = exponential_schedule(steps, min_noise_level=0.2 if steps == 4 else 0.04)  # as released
    found = WORLD.moments(schedule)
    means, variances = ORACLE.ancestral_moments(schedule)
    np.testing.assert_allclose(found.mean, means, rtol=1e-12)
    np.testing.assert_allclose(found.variance, variances, rtol=1e-12)
    assert found.variance[-1] == pytest.approx(variance, abs=6e-4)
    assert found.eta[0] == pytest.approx(0.99**2)
    assert found.eta[-1] == 0


@pytest.mark.parametrize("temperature", [1.2, 0.0, np.array([3.0, 1.0, 1.5, 0.5, 1.1])], ids=str)
def test_a_temperature_multiplies_the_noise_of_the_steps_and_not_of_the_start(temperature) -> None:
    schedule = exponential_schedule(5, min_noise_level=0.2)
    found = WORLD.moments(schedule, temperature=temperature)
    mean, variance = exact_moments(schedule, "ancestral", temperature=temperature)
    np.testing.assert_allclose(found.mean[1:], mean, atol=2e-6)
    np.testing.assert_allclose(found.variance[1:], variance, rtol=2e-5)
    plain = WORLD.moments(schedule)
    np.testing.assert_array_equal(found.mean, plain.mean)
    assert found.variance[0] == plain.variance[0]
    for sampler in ("deterministic", "heun"):
        np.testing.assert_array_equal(
            exact_moments(schedule, sampler, temperature=temperature), exact_moments(schedule, sampler)
        )


@pytest.mark.parametrize("steps", [2, 4, 15, 60])
def test_one_temperature_restores_the_variance_of_the_result_and_keeps_its_mean(steps) -> None:
    schedule = exponential_schedule(steps, min_noise_level=0.2 if steps < 15 else 0.04)
    temperature = restoring_temperature(WORLD, schedule)
    found, plain = WORLD.moments(schedule, temperature=temperature), WORLD.moments(schedule)
    assert found.variance[-1] == pytest.approx(WORLD.s**2, rel=1e-12)
    assert found.mean[-1] == plain.mean[-1]
    assert temperature > 1
    with pytest.raises(ValueError, match="a single step draws no noise"):
        restoring_temperature(WORLD, thin(schedule, 1))


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("through", THROUGHS)
@pytest.mark.parametrize("reference_mean", REFERENCE_MEANS)
@pytest.mark.parametrize("reference_variance", REFERENCE_VARIANCES)
def test_moments_are_those_of_the_real_guided_samplers(sampler, through, reference_mean, reference_variance) -> None:
    schedule = exponential_schedule(5, min_noise_level=0.2)
    words = {"through": through, "reference_mean": reference_mean, "reference_variance": reference_variance}
    scale, offset = jnp.linspace(0.3, -0.2, 5), jnp.linspace(-0.1, 0.1, 5)
    first = Guidance(reference=jnp.full((1, 1, 1, 1), -0.9), scale=scale, offset=offset, mask=0.7, **with_form(words))
    guidance = [first, Guidance(reference=0.5, scale=-0.1)]
    found = WORLD.moments(schedule, sampler, guidance)
    means, variances = exact_moments(schedule, sampler, guidance)
    np.testing.assert_allclose(found.mean[1:], means, atol=1e-5)
    np.testing.assert_allclose(found.variance[1:], variances, rtol=1e-4)


def test_the_flow_keeps_quantiles_and_solves_its_equation() -> None:
    x, eta, step = np.linspace(-2, 2, 5), 0.3, 1e-5
    for to in (0.0, 0.05, 0.9):
        (mean, variance), (mean_to, variance_to) = WORLD.marginal(eta), WORLD.marginal(to)
        ours = WORLD.flow(x, eta, to)
        np.testing.assert_allclose((ours - mean_to) / variance_to**0.5, (x - mean) / variance**0.5, rtol=1e-12)
    # dv/dlam = f in v = x/s - s y, lam = 1/s - s
    v, lam = lambda x, e: x / e**0.5 - e**0.5 * WORLD.y, lambda e: e**-0.5 - e**0.5
    ends = [(v(WORLD.flow(x, eta, e), e), lam(e)) for e in (eta + step, eta - step)]
    slope = (ends[1][0] - ends[0][0]) / (ends[1][1] - ends[0][1])
    np.testing.assert_allclose(slope, WORLD.predict(x, eta), rtol=1e-7)


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("steps", [4, 60])
def test_the_closed_form_scales_restore_every_variance(sampler: str, steps: int) -> None:
    schedule = exponential_schedule(steps, min_noise_level=0.2)
    scales = restoring_scales(WORLD, schedule, sampler)
    found = WORLD.moments(schedule, sampler, [Guidance(reference=WORLD.y, scale=scales)])
    np.testing.assert_allclose(found.variance[1:], WORLD.marginal(found.eta[1:])[1], rtol=1e-10)
    real = exact_moments(schedule, sampler, [Guidance(reference=WORLD.y, scale=jnp.asarray(scales, jnp.float32))])
    assert real[1][-1] == pytest.approx(WORLD.s**2, rel=1e-3)


def test_a_constant_scale_right_at_4_steps_diverges_at_60() -> None:
    four, sixty = (exponential_schedule(steps) for steps in (4, 60))
    scale = constant_scale(WORLD, four)
    guidance = [Guidance(reference=WORLD.y, scale=scale)]
    assert WORLD.moments(four, guidance=guidance).variance[-1] == pytest.approx(WORLD.s**2, rel=1e-9)
    assert divergence_scale(WORLD, sixty) < scale < divergence_scale(WORLD, four)
    assert WORLD.moments(sixty, guidance=guidance).variance[-1] > 100 * WORLD.s**2
    thresholds = [steps * divergence_scale(WORLD, exponential_schedule(steps)) for steps in (250, 500, 1000)]
    assert np.ptp(thresholds) < 0.01 * thresholds[0]  # falls as 1/T


@pytest.mark.parametrize("spread", [0.0, 0.8])
def test_the_front_is_reached_by_the_stretched_mean_and_by_no_sampler(spread: float) -> None:
    at_mean = np.hypot(spread, WORLD.s) - spread
    perception = np.linspace(0, 1.2 * at_mean, 7)
    front = distortion_front(WORLD, perception, spread)
    assert front[0] == pytest.approx(WORLD.s**2 + at_mean**2)
    np.testing.assert_allclose(front[-1], WORLD.s**2)  # perception worse than the mean's gains nothing
    for steps in (4, 15, 60):
        found = WORLD.moments(exponential_schedule(steps))
        p, d = distortion_place(WORLD, found.mean[-1], found.variance[-1], spread)
        assert d > distortion_front(WORLD, np.array([p]), spread)[0] - 1e-12
    ideal = distortion_place(WORLD, WORLD.m, WORLD.s**2, spread)
    np.testing.assert_allclose(ideal, (0, 2 * WORLD.s**2), atol=1e-12)  # a perfect posterior sampler: twice the MMSE


def test_places_are_what_samples_measure() -> None:
    generator, n, spread = np.random.default_rng(0), 200_000, 0.8
    m = WORLD.m + spread * generator.standard_normal(n)
    truth = m + WORLD.s * generator.standard_normal(n)
    result = m + 0.1 + 0.3 * generator.standard_normal(n)
    perception, distortion = distortion_place(WORLD, WORLD.m + 0.1, 0.3**2, spread)
    assert np.mean((truth - result) ** 2) == pytest.approx(distortion, rel=0.01)
    assert np.sqrt(np.mean((np.sort(truth) - np.sort(result)) ** 2)) == pytest.approx(perception, rel=0.05)
    # Freirich's estimator stretches the posterior mean about its own mean, without any noise
    stretched = WORLD.m + (m - WORLD.m) * np.hypot(spread, WORLD.s) / spread
    at_zero = distortion_front(WORLD, np.zeros(1), spread)[0]
    assert np.mean((truth - stretched) ** 2) == pytest.approx(at_zero, rel=0.01)


def test_a_schedule_of_another_kappa_and_an_unknown_sampler_are_refused() -> None:
    with pytest.raises(ValueError, match=r"its kappa is 2.0, but the schedule's is 1.0"):
        WORLD.moments(exponential_schedule(4, kappa=1.0))
    with pytest.raises(ValueError, match="sampler: no 'euler'; choose one of"):
        WORLD.lines(exponential_schedule(4), "euler")

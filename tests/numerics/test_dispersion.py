"""Test dispersion and the measured plane against the Gaussian world's closed forms."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxsr.diffusion import Guidance, exponential_schedule
from jaxsr.metrics.psnr import psnr
from jaxsr.numerics.dispersion import dispersion, draw, measure_point
from jaxsr.numerics.gaussian_world import GaussianWorld, distortion_place, restoring_scales

WORLD = GaussianWorld(m=0.5, s=0.1, y=0.45, kappa=1.0)
SHAPE = (2, 32, 32, 3)
FOUR = exponential_schedule(4, kappa=1.0, min_noise_level=0.2)
Y = jnp.full(SHAPE, WORLD.y)
HR = WORLD.m + WORLD.s * jax.random.normal(jax.random.key(0), SHAPE)
KEY = jax.random.key(1)


def measure(**options):
    return measure_point(WORLD.denoiser(FOUR), FOUR, Y, HR, lambda z: z, KEY, **options)


def test_dispersion_of_the_truths_own_distribution_is_one() -> None:
    samples = jax.random.normal(jax.random.key(2), (4, 2, 64, 64, 3))
    truth = jax.random.normal(jax.random.key(3), (2, 64, 64, 3))
    found = dispersion(samples, truth)
    np.testing.assert_allclose(found.variance, 1, rtol=0.05)
    np.testing.assert_allclose(found.needed, 1, rtol=0.05)
    biased = dispersion(samples + 0.5, truth)
    np.testing.assert_allclose(biased.needed - found.needed, 0.25, atol=0.05)
    with pytest.raises(ValueError, match="at least 2 samples"):
        dispersion(samples[:1], truth)


@pytest.mark.slow
@pytest.mark.parametrize("sampler", ["ancestral", "deterministic"])
def test_samples_are_as_varied_as_the_recursion_says_and_guidance_gives_the_variance_back(sampler: str) -> None:
    moments = WORLD.moments(FOUR, sampler)
    plain = measure(sampler=sampler)
    np.testing.assert_allclose(plain.variance, moments.variance[-1], rtol=0.08)
    np.testing.assert_allclose(plain.needed, WORLD.s**2, rtol=0.1)
    assert np.all(plain.variance < 0.6 * plain.needed)
    _, distortion = distortion_place(WORLD, moments.mean[-1], moments.variance[-1])
    np.testing.assert_allclose(plain.mse, distortion, rtol=0.08)
    scales = jnp.asarray(restoring_scales(WORLD, FOUR, sampler), jnp.float32)
    guided = measure(sampler=sampler, guidance=[Guidance(reference=WORLD.m, scale=scales)])
    np.testing.assert_allclose(guided.variance, WORLD.s**2, rtol=0.08)
    np.testing.assert_allclose(guided.hf, 1, rtol=0.15)
    assert np.all(guided.mse > plain.mse)
    assert np.all(guided.swd < plain.swd)


def test_psnr_is_the_mean_over_the_samples_inside_the_border() -> None:
    samples = draw(WORLD.denoiser(FOUR), FOUR, Y, jax.random.split(KEY)[0], 3)
    assert samples.shape == (3, *SHAPE)
    assert np.abs(samples[0] - samples[1]).max() > 0.05
    expected = np.mean([psnr(jnp.clip(one, 0, 1), HR, border=4, luma=True) for one in samples], 0)
    np.testing.assert_allclose(measure(draws=3, border=4).psnr, expected, rtol=1e-5)
    assert np.abs(measure(draws=3).psnr - expected).max() > 1e-4

"""Test the divergence of diagonal Gaussians against its definition."""

import jax
import jax.numpy as jnp
import numpy as np

from jaxsr.diffusion import gaussian_kl


def test_divergence_is_the_integral_of_its_definition() -> None:
    x = np.linspace(-30, 30, 400_001)
    means, variances, other_means, other_variances = [0.3, -1.0], [0.5, 2.0], [1.1, 0.4], [1.5, 0.7]
    expected = 0.0
    for m, s, n, r in zip(means, variances, other_means, other_variances, strict=True):
        log_p = -((x - m) ** 2) / (2 * s) - np.log(2 * np.pi * s) / 2
        log_q = -((x - n) ** 2) / (2 * r) - np.log(2 * np.pi * r) / 2
        expected += np.trapezoid(np.exp(log_p) * (log_p - log_q), x)
    value = gaussian_kl(*(jnp.array(v) for v in (means, variances, other_means, other_variances)))
    np.testing.assert_allclose(value, expected, rtol=1e-6)


def test_equal_gaussians_have_none_and_a_scalar_variance_is_one_for_every_element() -> None:
    mean = jnp.array([[0.1, -2.0], [3.0, 0.5]])
    assert gaussian_kl(mean, jnp.float32(0.3), mean, jnp.float32(0.3)) == 0
    spread = gaussian_kl(mean, jnp.float32(0.3), mean + 1, jnp.full(mean.shape, 0.6))
    np.testing.assert_allclose(spread, 4 * (np.log(2) + 1.3 / 0.6 - 1) / 2, rtol=1e-6)


def test_gradient_is_that_of_the_lemma() -> None:
    keys = jax.random.split(jax.random.key(0), 3)
    mean, center = (jax.random.normal(key, (2, 3, 4, 5)) for key in keys[:2])
    other = jnp.exp(jax.random.normal(keys[2], mean.shape))
    gradient = jax.grad(gaussian_kl)(mean, jnp.float32(0.2), center, other)
    np.testing.assert_allclose(gradient, (mean - center) / other, rtol=2e-6)

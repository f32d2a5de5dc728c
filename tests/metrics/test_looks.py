"""Test the two numbers of looks that other metrics hardly see: grain in flat areas, and drift of the mean colour."""

import jax.numpy as jnp
import numpy as np
import pytest

from jaxsr.metrics.catalogue import METRICS, Conditions
from jaxsr.metrics.consistency import colour_drift
from jaxsr.metrics.texture import BINOMIAL, flat_grain


@pytest.fixture
def hr() -> np.ndarray:
    """Make noise whose finest level has 25 blocks, of which the first two are flat; two are its flattest tenth."""
    noise = np.random.default_rng(0).normal(0.5, 0.1, (1, 84, 84, 1)).astype(np.float32)
    noise[:, :20, :36] = 0.5
    return noise.repeat(3, -1)


def test_noise_counts_where_the_original_is_flat_and_nowhere_else(hr):
    """The deviation of the finest level of white noise is the filter's norm."""
    noise = np.random.default_rng(1).normal(0, 0.02, (1, 84, 84, 1)).astype(np.float32)
    flat, busy = (jnp.asarray(hr + np.where((hr == 0.5) == where, noise, np.float32(0))) for where in (True, False))
    original, kernel = jnp.asarray(hr), np.outer(BINOMIAL, BINOMIAL)
    kernel[2, 2] -= 1
    np.testing.assert_array_equal(flat_grain(original, original), [0])
    np.testing.assert_allclose(flat_grain(busy, original), [0], atol=1e-4)
    np.testing.assert_allclose(flat_grain(flat, original), [255 * 0.02 * np.linalg.norm(kernel)], rtol=0.1)


def test_less_grain_than_the_original_is_negative(hr):
    noisy = jnp.asarray(hr + np.random.default_rng(1).normal(0, 0.02, hr.shape).astype(np.float32))
    assert float(flat_grain(jnp.asarray(hr), noisy)[0]) < -1


def test_images_without_a_block_are_refused():
    flat_grain(jnp.zeros((1, 20, 20, 3)), jnp.zeros((1, 20, 20, 3)))
    with pytest.raises(ValueError, match="19 x 40 pixels are too small for blocks: give at least 20"):
        flat_grain(jnp.zeros((1, 19, 40, 3)), jnp.zeros((1, 19, 40, 3)))


def test_drift_is_that_of_the_worst_channel_in_grey_levels(hr):
    lr = jnp.asarray(hr)
    sr = jnp.repeat(jnp.repeat(lr, 4, 1), 4, 2)
    shift = jnp.asarray([0.001, -0.004, 0.002])[None, None, None]
    np.testing.assert_allclose(colour_drift(sr, lr), [0], atol=1e-3)
    np.testing.assert_allclose(colour_drift(sr + shift, lr), [1.02], atol=1e-3)
    measured = METRICS["colour_drift"].measure(sr + shift, None, lr, Conditions())
    np.testing.assert_allclose(measured, [1.02], atol=1e-3)

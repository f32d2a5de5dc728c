"""Test the normal quantile at all of its 2**23 arguments."""

import hashlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import ndtri

from jaxsr.imaging.quantile import normal_quantile

# The SHA-256 of sqrt(2) * jax.lax.erf_inv(x) in jax 0.10.2 on a CPU with FMA.
XLA = "75619402e2f3970bdfd0dcc09b9b8c3fe8d50d3a9bf8fcc04ae228db5037e444"


@pytest.fixture(scope="module")
def values() -> np.ndarray:
    return np.asarray(jax.jit(normal_quantile)(jnp.arange(2**23, dtype=jnp.uint32) << 9))


def test_equals_erf_inv_of_xla_bit_for_bit(values):
    assert hashlib.sha256(values.astype("<f4").tobytes()).hexdigest() == XLA


def test_is_the_quantile_in_float32(values):
    """In the tails, log(1 - x**2) costs most: up to 2.2e-5.

    There 1 - x**2 is 2896 * 2**-23, and 2**-25 is rounded off.
    """
    expected = ndtri((np.arange(2**23) + 0.5) / 2**23)
    central = np.abs(expected) < 2
    np.testing.assert_allclose(values[central], expected[central], rtol=6 * 2.0**-24)
    np.testing.assert_allclose(values[~central], expected[~central], rtol=0, atol=2.4e-5)


def test_the_lower_bits_do_not_count(values):
    bits = jnp.arange(512, dtype=jnp.uint32)
    np.testing.assert_array_equal(normal_quantile(bits + (1 << 30)), np.full(512, values[1 << 21]))

"""Test convolutions and their gradients against JAX's own, in float32 and bfloat16."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxsr.models import convolution
from jaxsr.models.convolution import convolve, enlarge_and_convolve


def normal(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def bfloat16(*shape: int) -> jax.Array:
    return jnp.asarray(normal(*shape), jnp.bfloat16)


def plain(x, kernel, padding="SAME", strides=(1, 1)):
    return jax.lax.conv_general_dilated(x, kernel, strides, padding, dimension_numbers=("NHWC", "HWIO", "NHWC"))


on_cpu = pytest.mark.skipif(jax.default_backend() != "cpu", reason="other devices have convolutions of bfloat16")


@on_cpu
@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("few", [0, 128])  # up to this many positions become a product
@pytest.mark.parametrize("size", [2, 3])
@pytest.mark.parametrize("strides", [(1, 1), (2, 2)])
@pytest.mark.parametrize("padding", [((1, 1), (1, 1)), ((0, 1), (1, 0))])
def test_bfloat16_convolutions_round_once(monkeypatch, few, size, strides, padding) -> None:
    monkeypatch.setattr(convolution, "FEW_POSITIONS", few)
    x, kernel = bfloat16(2, 7, 4, 32), bfloat16(size, size, 32, 33)
    ours = convolve(x, kernel, strides, padding)
    exact = plain(x.astype(jnp.float32), kernel.astype(jnp.float32), padding, strides)
    assert ours.dtype == jnp.bfloat16
    np.testing.assert_allclose(ours.astype(jnp.float32), exact, rtol=2**-8, atol=1e-4)


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("few", [0, 256])
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_enlarge_and_convolve_is_a_convolution_of_the_enlarged_image(monkeypatch, dtype, few: int) -> None:
    monkeypatch.setattr(convolution, "FEW_PIXELS", few)
    x, kernel = jnp.asarray(normal(2, 3, 5, 2), dtype), jnp.asarray(normal(3, 3, 2, 4), dtype)
    direct = lambda x, kernel: convolve(x.repeat(2, 1).repeat(2, 2), kernel)  # noqa: E731
    (y, ours), (expected, theirs) = (jax.vjp(f, x, kernel) for f in (enlarge_and_convolve, direct))
    gradient = jnp.asarray(normal(*expected.shape), dtype)
    tolerance = 1e-5 if dtype == jnp.float32 else 0.05
    for a, b in zip((y, *ours(gradient)), (expected, *theirs(gradient)), strict=True):
        assert a.dtype == dtype
        error = jnp.abs(a.astype(jnp.float32) - b.astype(jnp.float32)).max()
        assert error <= tolerance * jnp.abs(b).max().astype(jnp.float32)


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("strides", [(1, 1), (2, 2)])
@pytest.mark.parametrize("padding", [((1, 1), (1, 1)), ((0, 1), (1, 0)), ((0, 0), (0, 0))])
def test_convolve_with_other_sizes_strides_and_paddings_has_the_gradients_of_jax(strides, padding) -> None:
    x, kernel = jnp.asarray(normal(1, 5, 6, 2)), jnp.asarray(normal(2, 3, 2, 4))
    ours = jax.vjp(lambda x, k: convolve(x, k, strides, padding), x, kernel)
    theirs = jax.vjp(lambda x, k: plain(x, k, padding, strides), x, kernel)
    np.testing.assert_allclose(ours[0], theirs[0], rtol=1e-5, atol=1e-5)
    for a, b in zip(ours[1](theirs[0]), theirs[1](theirs[0]), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)


def gradient_in_a_scan(convolution):
    """Return a function that takes x two steps along the gradient of a convolution of x, in a scan."""

    def run(x, kernel):
        def step(carry, _):
            y, pull_back = jax.vjp(lambda v: jnp.tanh(convolution(v, kernel)), carry)
            return pull_back(y)[0], None

        return jax.lax.scan(step, x, None, length=2)[0]

    return run


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_convolve_has_the_value_and_the_gradients_of_jax(dtype):
    keys = jax.random.split(jax.random.key(0), 3)
    x, kernel = jax.random.normal(keys[0], (2, 5, 7, 3), dtype), jax.random.normal(keys[1], (3, 3, 3, 4), dtype)
    (y, ours), (expected, theirs) = (jax.vjp(f, x, kernel) for f in (convolve, plain))
    gradient = jax.random.normal(keys[2], y.shape, dtype)
    tolerance = 1e-5 if dtype == jnp.float32 else 0.05
    for a, b in zip((y, *ours(gradient)), (expected, *theirs(gradient)), strict=True):
        assert a.dtype == dtype
        np.testing.assert_allclose(a.astype(jnp.float32), b.astype(jnp.float32), rtol=tolerance, atol=tolerance)


@on_cpu
@pytest.mark.parametrize("way", ["xla"], indirect=True)
@pytest.mark.usefixtures("way")
def test_the_gradient_of_convolve_in_a_scan_keeps_the_kernel_in_the_order_that_is_fast():
    x, kernel = jnp.ones((1, 8, 8, 4)), jnp.ones((3, 3, 4, 4))
    ours, theirs = (jax.jit(gradient_in_a_scan(f)).lower(x, kernel).compile().as_text() for f in (convolve, plain))
    slow = ("rhs_reversal", "01oi")
    assert not any(word in ours for word in slow)
    assert any(word in theirs for word in slow)  # otherwise XLA has changed, and `convolve` is superfluous

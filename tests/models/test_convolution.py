"""Convolutions against JAX's own, with their gradients, in float32 and, on a CPU by matrix products, in bfloat16."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxsr import cpu
from jaxsr.calibration.devices import image_mesh, over_images
from jaxsr.models import convolution
from jaxsr.models.convolution import convolve, enlarge_and_convolve, move


def normal(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def bfloat16(*shape: int) -> jax.Array:
    return jnp.asarray(normal(*shape), jnp.bfloat16)


def plain(x, kernel, padding="SAME"):
    return jax.lax.conv_general_dilated(x, kernel, (1, 1), padding, dimension_numbers=("NHWC", "HWIO", "NHWC"))


@pytest.fixture(params=[True, False], ids=["products", "xla"])
def products(request, monkeypatch) -> bool:
    """bfloat16 is multiplied in the one way and in the other, whatever is faster on this machine."""
    monkeypatch.setattr(cpu, "fast_bfloat16", lambda: request.param)
    return request.param


@pytest.fixture
def only_products(monkeypatch) -> None:
    monkeypatch.setattr(cpu, "fast_bfloat16", lambda: True)


on_cpu = pytest.mark.skipif(jax.default_backend() != "cpu", reason="other devices have convolutions of bfloat16")


@on_cpu
@pytest.mark.usefixtures("only_products")
@pytest.mark.parametrize("at_once", [1, 24, 32, 1000])  # one row, three, which do not divide seven, or all
@pytest.mark.parametrize(("size", "padding"), [(3, ((1, 1), (1, 1))), (2, ((1, 1), (1, 1))), (2, ((0, 1), (1, 0)))])
def test_bfloat16_convolutions_are_products_with_float32_sums(monkeypatch, at_once, size, padding) -> None:
    monkeypatch.setattr(convolution, "POSITIONS_AT_ONCE", at_once)
    x, kernel = bfloat16(2, 7, 4, 32), bfloat16(size, size, 32, 33)
    ours = jax.jit(lambda x, k: convolve(x, k, padding))
    assert "convolution(" not in ours.lower(x, kernel).compile().as_text()
    exact = plain(x.astype(jnp.float32), kernel.astype(jnp.float32), padding)
    assert ours(x, kernel).dtype == jnp.bfloat16
    np.testing.assert_allclose(ours(x, kernel).astype(jnp.float32), exact, rtol=2**-8, atol=1e-4)


@on_cpu
@pytest.mark.usefixtures("only_products")
@pytest.mark.parametrize("batched", ["batch", "vmap", "mapped"])
def test_bfloat16_convolutions_of_a_batch_are_those_of_its_images(batched) -> None:
    x, kernel = bfloat16(3, 6, 4, 32), bfloat16(3, 3, 32, 33)
    alone = jnp.concatenate([convolve(one[None], kernel) for one in x])
    if batched == "batch":
        together = convolve(x, kernel)
    elif batched == "vmap":
        together = jax.vmap(lambda one: convolve(one[None], kernel)[0])(x)
    else:
        call = over_images(image_mesh(), lambda kernel, x: {"y": convolve(x, kernel)[None]}, dtype=jnp.bfloat16)
        together = call(kernel, np.asarray(x))["y"][0]
    np.testing.assert_array_equal(together, alone)


@pytest.mark.usefixtures("products")
def test_gradients_of_bfloat16_convolutions_are_those_of_jax() -> None:
    x, kernel = bfloat16(2, 5, 6, 32), bfloat16(3, 3, 32, 40)
    (y, ours), (expected, theirs) = (jax.vjp(f, x, kernel) for f in (convolve, plain))
    gradient = jnp.asarray(normal(*y.shape), jnp.bfloat16)
    for a, b in zip((y, *ours(gradient)), (expected, *theirs(gradient)), strict=True):
        assert a.dtype == jnp.bfloat16
        np.testing.assert_allclose(a.astype(jnp.float32), b.astype(jnp.float32), rtol=2**-7, atol=0.2)


@on_cpu
@pytest.mark.usefixtures("only_products")
def test_few_channels_are_convolved_by_xla() -> None:
    text = jax.jit(convolve).lower(bfloat16(1, 8, 8, 3), bfloat16(3, 3, 3, 64)).compile().as_text()
    assert "convolution(" in text


@pytest.mark.usefixtures("products")
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_move_has_the_value_and_gradient_of_the_function(dtype) -> None:
    def function(x, y):
        return jnp.concatenate([jnp.roll(x, 1, 0), y[::2]]).T

    x, y = jnp.asarray(normal(3, 4), dtype), jnp.asarray(normal(6, 4, seed=1), dtype)
    (moved, ours), (expected, theirs) = (jax.vjp(f, x, y) for f in (lambda x, y: move(function, x, y), function))
    assert moved.dtype == dtype
    np.testing.assert_array_equal(moved, expected)
    for a, b in zip(ours(expected), theirs(expected), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.usefixtures("products")
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


@pytest.mark.parametrize("padding", [((1, 1), (1, 1)), ((0, 1), (1, 0)), ((0, 0), (0, 0))])
def test_convolve_with_other_sizes_and_paddings_has_the_gradients_of_jax(padding) -> None:
    x, kernel = jnp.asarray(normal(1, 5, 6, 2)), jnp.asarray(normal(2, 3, 2, 4))
    ours, theirs = (lambda x, k, f=f: f(x, k, padding) for f in (convolve, plain))
    (y, ours), (expected, theirs) = (jax.vjp(f, x, kernel) for f in (ours, theirs))
    np.testing.assert_array_equal(y, expected)
    for a, b in zip(ours(expected), theirs(expected), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)


def gradient_in_a_scan(convolution):
    """x -> two steps along the gradient of a convolution of x, in a scan."""

    def run(x, kernel):
        def step(carry, _):
            y, pull_back = jax.vjp(lambda v: jnp.tanh(convolution(v, kernel)), carry)
            return pull_back(y)[0], None

        return jax.lax.scan(step, x, None, length=2)[0]

    return run


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_convolve_has_the_value_and_the_gradients_of_jax(dtype):
    keys = jax.random.split(jax.random.key(0), 3)
    x, kernel = jax.random.normal(keys[0], (2, 5, 7, 3), dtype), jax.random.normal(keys[1], (3, 3, 3, 4), dtype)
    (y, ours), (expected, theirs) = (jax.vjp(f, x, kernel) for f in (convolve, plain))
    np.testing.assert_array_equal(y, expected)
    gradient = jax.random.normal(keys[2], y.shape, dtype)
    tolerance = 1e-5 if dtype == jnp.float32 else 0.05
    for a, b in zip(ours(gradient), theirs(gradient), strict=True):
        assert a.dtype == dtype
        np.testing.assert_allclose(a.astype(jnp.float32), b.astype(jnp.float32), rtol=tolerance, atol=tolerance)


@on_cpu
def test_the_gradient_of_convolve_in_a_scan_keeps_the_kernel_in_the_order_that_is_fast():
    x, kernel = jnp.ones((1, 8, 8, 4)), jnp.ones((3, 3, 4, 4))
    ours, theirs = (jax.jit(gradient_in_a_scan(f)).lower(x, kernel).compile().as_text() for f in (convolve, plain))
    slow = ("rhs_reversal", "01oi")
    assert not any(word in ours for word in slow)
    assert any(word in theirs for word in slow)  # else XLA has changed, and `convolve` may go

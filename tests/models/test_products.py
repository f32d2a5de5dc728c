"""Test products and attention, with their gradients, against float64 NumPy in every implementation."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxsr.models import products
from jaxsr.models.convolution import convolve
from jaxsr.models.products import attend, matmul
from jaxsr.runtime import cpu

pytestmark = pytest.mark.usefixtures("way")


def normal(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
@pytest.mark.parametrize("few", [0, 8])  # fewer rows than this are left to XLA
@pytest.mark.parametrize(("lead", "shared"), [((), True), ((2, 3), True), ((2, 3), False)])
@pytest.mark.parametrize("transposed", [True, False])
def test_products_and_their_gradients(monkeypatch, dtype, few, lead, shared, transposed):
    monkeypatch.setattr(products, "FEW_ROWS", few)
    lead_b, tolerance = () if shared else lead, 1e-5 if dtype == jnp.float32 else 2**-7
    a, b, gradient = normal(*lead, 5, 16), normal(*lead_b, 16, 7, seed=1), normal(*lead, 5, 7, seed=2)
    a, b, gradient = (np.asarray(jnp.asarray(x, dtype), np.float64) for x in (a, b, gradient))
    given = jnp.asarray(b.swapaxes(-1, -2) if transposed else b, dtype)
    product, pull_back = jax.vjp(lambda a, b: matmul(a, b, transpose_b=transposed), jnp.asarray(a, dtype), given)
    assert product.dtype == jnp.float32
    to_b = np.einsum("...mk,...mo->...ko", a, gradient)
    to_b = to_b.reshape(-1, 16, 7).sum(0) if shared else to_b
    expected = a @ b, gradient @ b.swapaxes(-1, -2), to_b.swapaxes(-1, -2) if transposed else to_b
    found = product, *pull_back(jnp.asarray(gradient, jnp.float32))
    assert [x.dtype for x in found[1:]] == [dtype, dtype]
    for ours, exact in zip(found, expected, strict=True):
        assert np.abs(np.asarray(ours, np.float64) - exact).max() <= tolerance * np.abs(exact).max()


def attention(q, k, v, bias=0.0):
    logits = jnp.einsum("...tc,...sc->...ts", q, k, precision="highest") / q.shape[-1] ** 0.5 + bias
    return jnp.einsum("...ts,...sc->...tc", jax.nn.softmax(logits), v, precision="highest")


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
@pytest.mark.parametrize("positions", [16, 7])  # 16 can be folded, 7 cannot
@pytest.mark.parametrize("spread", [1.0, 30.0])  # at 30 the greatest weight is nearly 1
def test_attention_and_its_gradients(dtype, positions, spread):
    q, k, v, gradient = (normal(2, 3, positions, 8, seed=seed) for seed in range(4))
    bias = jnp.asarray(normal(1, 3, positions, positions, seed=4))
    arguments = tuple(jnp.asarray(x, dtype) for x in (spread * q, k, v))
    ours, pull_back = jax.vjp(attend, *arguments, bias)
    exact, exact_pull_back = jax.vjp(attention, *(x.astype(jnp.float32) for x in arguments), bias)
    assert ours.dtype == dtype
    tolerance = 1e-5 if dtype == jnp.float32 else 2**-5
    both = zip((ours, *pull_back(jnp.asarray(gradient, dtype))), (exact, *exact_pull_back(gradient)), strict=True)
    for found, expected in both:
        error = jnp.abs(found.astype(jnp.float32) - expected).max()
        assert error <= tolerance * max(jnp.abs(expected).max(), 1e-2), float(error)


def test_attention_without_bias_and_with_logits_that_overflow_alone():
    q, k, v = (jnp.asarray(100 * normal(2, 12, 8, seed=seed)) for seed in range(3))
    np.testing.assert_allclose(attend(q, k, v), attention(q, k, v), rtol=1e-4)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
@pytest.mark.parametrize("name", ["matmul", "attend", "convolve"])
def test_the_way_is_the_one_that_was_asked_for(way, name, dtype):
    x, kernel = jnp.ones((1, 16, 16, 16), dtype), jnp.ones((3, 3, 16, 16), dtype)
    functions = {
        "matmul": lambda: matmul(x, x),
        "attend": lambda: attend(x, x, x),
        "convolve": lambda: convolve(x, kernel),
    }
    text = jax.jit(functions[name]).lower().as_text()
    calls = [line for line in text.splitlines() if "custom_call @__onednn$" in line]
    assert bool(calls) == (way != "xla")
    multiplied = "bf16" if dtype == jnp.bfloat16 and way == "onednn" and cpu.fast_bfloat16() else "f32"
    assert all(f"x{multiplied}>, tensor<" in line for line in calls)


def test_gradients_of_what_is_mapped():
    """As in the autoencoder, some rows of queries run at once and share one set of keys."""
    q, k = jnp.asarray(normal(6, 1, 4, 8)), jnp.asarray(normal(1, 12, 8, seed=1))

    def total(function, q, k):
        return jnp.square(jax.lax.map(lambda row: function(row, k, k), q, batch_size=4)).sum()

    ours, exact = (jax.grad(lambda q, k, f=f: total(f, q, k), (0, 1))(q, k) for f in (attend, attention))
    for found, expected in zip(ours, exact, strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)

"""Test which CPUs multiply bfloat16 fast, and what follows from it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxsr.runtime import cpu

INTEL = "vendor_id\t: GenuineIntel\nflags\t\t: fpu avx512f {}\n"
AMD = INTEL.replace("GenuineIntel", "AuthenticAMD")


@pytest.fixture(autouse=True)
def read_anew():
    cpu.fast_bfloat16.cache_clear()
    yield
    cpu.fast_bfloat16.cache_clear()


@pytest.mark.parametrize(
    ("text", "fast"),
    [
        (INTEL.format("avx512_bf16"), False),
        (INTEL.format("avx512_bf16 amx_bf16 amx_tile"), True),
        (AMD.format("avx512_bf16"), True),
        (AMD.format("avx2"), False),
        ("model name\t: amx_bf16\n", False),
        (None, False),
    ],
)
def test_cpus_that_multiply_bfloat16_fast(tmp_path, monkeypatch, text, fast):
    monkeypatch.setattr(cpu, "CPUINFO", tmp_path / "cpuinfo")
    if text is not None:
        cpu.CPUINFO.write_text(text)
    assert cpu.fast_bfloat16() == fast


@pytest.mark.parametrize("fast", [True, False])
def test_bfloat16_is_multiplied_in_float32_where_that_is_faster(monkeypatch, fast):
    monkeypatch.setattr(cpu, "fast_bfloat16", lambda: fast)
    assert cpu.product_dtype(jnp.float32) == jnp.float32
    assert cpu.product_dtype(jnp.bfloat16) == (jnp.bfloat16 if fast else jnp.float32)


@pytest.mark.parametrize(("backend", "folded"), [("cpu", 2), ("gpu", 8)])
def test_reductions_are_folded_on_cpus(monkeypatch, backend, folded):
    monkeypatch.setattr(jax, "default_backend", lambda: backend)
    assert cpu.fold(jnp.add, jnp.ones((3, 8)), 1).shape == (3, folded)


@pytest.mark.parametrize("shape", [(3, 8), (3, 7), (3, 4)])
@pytest.mark.parametrize("axis", [-1, 1])
def test_a_fold_leaves_the_reduction_as_it_is(shape, axis):
    x = jnp.asarray(np.random.default_rng(0).standard_normal(shape), jnp.float32)
    for combine, reduce in ((jnp.add, jnp.sum), (jnp.maximum, jnp.max), (jnp.minimum, jnp.min)):
        np.testing.assert_allclose(reduce(cpu.fold(combine, x, axis), axis), reduce(x, axis), rtol=1e-5, atol=1e-6)

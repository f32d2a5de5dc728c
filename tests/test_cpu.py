"""Which CPUs multiply bfloat16 by products of their own, and that it matters for bfloat16 on CPUs alone."""

import jax
import jax.numpy as jnp
import pytest

from jaxsr import cpu

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
def test_products_are_for_cpus_that_gain_by_them(tmp_path, monkeypatch, text, fast):
    monkeypatch.setattr(cpu, "CPUINFO", tmp_path / "cpuinfo")
    if text is not None:
        cpu.CPUINFO.write_text(text)
    assert cpu.fast_bfloat16() == fast


@pytest.mark.parametrize("fast", [True, False])
@pytest.mark.parametrize("backend", ["cpu", "gpu"])
def test_products_are_for_bfloat16_on_cpus(monkeypatch, fast, backend):
    monkeypatch.setattr(cpu, "fast_bfloat16", lambda: fast)
    monkeypatch.setattr(jax, "default_backend", lambda: backend)
    assert not cpu.by_products(jnp.float32)
    assert cpu.by_products(jnp.bfloat16) == (fast and backend == "cpu")
    assert cpu.result_dtype(jnp.float32) == jnp.float32
    assert cpu.result_dtype(jnp.bfloat16) == (jnp.float32 if cpu.by_products(jnp.bfloat16) else jnp.bfloat16)

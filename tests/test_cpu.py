"""Whether bfloat16 products are worth it is measured, and matters for bfloat16 on CPUs alone."""

import time

import jax
import jax.numpy as jnp
import pytest

from jaxsr import cpu


@pytest.fixture(autouse=True)
def measured_anew():
    cpu.bfloat16_gain.cache_clear()
    yield
    cpu.bfloat16_gain.cache_clear()


def test_the_gain_is_the_ratio_of_the_fastest_turns(monkeypatch):
    """A machine that is busy in some turns does not matter."""
    float32, bfloat16 = [9.0, 0.06, 0.07, *[1.0] * (cpu._RUNS - 3)], [0.8, 0.7, 0.02, *[1.0] * (cpu._RUNS - 3)]
    taken = iter([seconds for turn in zip(float32, bfloat16, strict=True) for seconds in turn])
    monkeypatch.setattr(cpu, "_product", lambda *_: ())
    monkeypatch.setattr(cpu, "_seconds", lambda: next(taken))
    assert cpu.bfloat16_gain() == pytest.approx(3)


def test_the_gain_is_measured_once_and_under_a_trace_too():
    @jax.jit
    def traced(x):
        return x * cpu.bfloat16_gain()

    first = float(traced(1.0))
    assert 0 < first < 100
    began = time.perf_counter()
    assert cpu.bfloat16_gain() == pytest.approx(first)
    assert time.perf_counter() - began < 0.01


def test_products_are_for_bfloat16_on_cpus_that_gain_by_them(monkeypatch):
    monkeypatch.setattr(cpu, "bfloat16_gain", lambda: 2.0)
    assert not cpu.by_products(jnp.float32)
    monkeypatch.setattr(jax, "default_backend", lambda: "cpu")
    assert cpu.by_products(jnp.bfloat16)
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    assert not cpu.by_products(jnp.bfloat16)
    monkeypatch.setattr(jax, "default_backend", lambda: "cpu")
    monkeypatch.setattr(cpu, "bfloat16_gain", lambda: 1.1)
    assert not cpu.by_products(jnp.bfloat16)


def test_a_jaxlib_that_does_not_know_the_options_is_measured_without(monkeypatch):
    monkeypatch.setattr(cpu, "PRODUCTS_OPTIONS", {"xla_cpu_no_such_option": "1"})
    assert cpu.bfloat16_gain() > 0

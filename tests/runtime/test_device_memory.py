"""Test how many inputs fit into the memory of a device."""

import math

import jax
import numpy as np
import pytest

from jaxsr.runtime import device_memory
from jaxsr.runtime.device_memory import SHARE, fitting, free_bytes, program_bytes


class Device:
    """A device of an accelerator."""

    platform = "gpu"

    def __init__(self, stats: dict[str, int] | None) -> None:
        self.stats = stats

    def memory_stats(self) -> dict[str, int] | None:
        return self.stats


def test_a_program_takes_its_arguments_results_and_the_values_between():
    shape, side = jax.ShapeDtypeStruct((256, 256), np.float32), 4 * 256 * 256
    found = program_bytes(jax.jit(lambda x: x @ x).lower(shape).compile())
    assert 2 * side <= found <= 4 * side


def test_the_devices_of_a_cpu_share_the_memory_of_the_machine(monkeypatch):
    monkeypatch.setattr(device_memory, "free_memory", lambda: 1000)
    assert free_bytes() == 1000
    assert free_bytes(4) == 250
    monkeypatch.setattr(device_memory, "free_memory", lambda: None)
    assert free_bytes(4) is None


@pytest.mark.parametrize(
    ("stats", "free"),
    [({"bytes_limit": 1000, "bytes_in_use": 300, "num_allocs": 1}, 700), ({"bytes_in_use": 300}, None), (None, None)],
)
def test_an_accelerator_says_what_is_free(monkeypatch, stats, free):
    monkeypatch.setattr(jax, "local_devices", lambda: [Device(stats)])
    assert free_bytes(8) == free


@pytest.mark.parametrize(
    ("free", "needed", "expected"),
    [(1000, 50.0, 10), (1000, 49.0, 10), (1000, 51.0, 9), (1000, 1.0, 64), (10, 50.0, 1), (None, 50.0, 64)],
)
def test_inputs_that_fit(monkeypatch, free, needed, expected):
    assert SHARE == 0.5
    monkeypatch.setattr(device_memory, "free_bytes", lambda devices: free)
    assert fitting(64, needed) == expected
    assert fitting(0, needed) == 1
    assert fitting(64, math.nan) == 64

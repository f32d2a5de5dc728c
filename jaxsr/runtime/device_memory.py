"""The memory of the devices: what a compiled program takes, and how many inputs fit into a call (batch `auto`)."""

import math

import jax

from jaxsr.imaging.memory import free_memory

SHARE = 0.5
"""The part of the free memory that a call may take; photographs and results need memory too."""


def program_bytes(compiled: jax.stages.Compiled) -> float:
    """Return the memory of a compiled program, with arguments and results, in bytes; NaN if the backend is silent."""
    sizes = compiled.memory_analysis()
    if sizes is None:
        return math.nan
    return float(sizes.temp_size_in_bytes + sizes.argument_size_in_bytes + sizes.output_size_in_bytes)


def free_bytes(devices: int = 1) -> int | None:
    """Return how many bytes each of some devices of this process can still take; None if the backend does not say.

    The devices of a CPU share the memory of the machine.
    """
    device = jax.local_devices()[0]
    if device.platform == "cpu":
        free = free_memory()
        return None if free is None else free // devices
    stats = device.memory_stats() or {}
    return stats["bytes_limit"] - stats["bytes_in_use"] if stats.keys() >= {"bytes_limit", "bytes_in_use"} else None


def fitting(most: int, needed: float, devices: int = 1) -> int:
    """Return how many inputs a call may have: from 1 to `most`, within SHARE of the free memory of each device.

    `needed` is the memory of one input in bytes, NaN if unknown. An unknown memory sets no limit.
    """
    free = free_bytes(devices)
    if free is not None and needed > 0:
        most = min(most, int(SHARE * free / needed))
    return max(most, 1)

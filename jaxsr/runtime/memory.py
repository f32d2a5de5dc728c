"""The most memory that this process has taken so far."""

import sys

import jax


def peak_memory() -> str:
    """Say how much memory this process has taken at most, and its devices where they say so."""
    parts = []
    if (host := _peak_bytes()) is not None:
        parts.append(f"{host / 1e9:.2g} GB")
    devices = [device.memory_stats() or {} for device in jax.local_devices() if device.platform != "cpu"]
    peaks = [stats["peak_bytes_in_use"] for stats in devices if "peak_bytes_in_use" in stats]
    if peaks:
        parts.append(f"{max(peaks) / 1e9:.2g} GB on a device")
    return f"peak memory: {', '.join(parts) or 'unknown'}"


def _peak_bytes() -> int | None:
    try:
        import resource
    except ImportError:  # Windows
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak

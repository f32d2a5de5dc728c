"""Measurements in fresh processes: nothing was compiled or allocated in them before, so their peaks are their own."""

import multiprocessing
import resource
import sys
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import TypeVar

import jax

T = TypeVar("T")


def in_fresh_process(function: Callable[..., T], *arguments: object) -> T:
    """Call `function(*arguments)` in a new Python, and return its result.

    The function must be one of a module, and pickle must accept its arguments and its result. The caller should hold
    no device, because on GPUs one process takes most of the memory. The new process has no compilation cache.

    Raises:
        OSError: if the process ends without an answer. Errors of the function are raised unchanged.
    """
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        try:
            return pool.submit(function, *arguments).result()
        except BrokenProcessPool as error:
            reason = "the process ended without an answer, perhaps for lack of memory; choose a smaller size"
            raise OSError(f"{function.__name__}{arguments}: {reason}.") from error


def peak_process_bytes() -> int:
    """Return the most memory that this process has held.

    On Linux a process inherits `ru_maxrss` from its parent, so there the kernel's VmHWM is read.
    """
    status = Path("/proc/self/status")
    lines = status.read_text().splitlines() if status.is_file() else []
    if found := [line for line in lines if line.startswith("VmHWM:")]:
        return int(found[0].split()[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def peak_device_bytes() -> int | None:
    """Return the most memory in use on the first device; None if the backend does not report it, as on CPUs."""
    return (jax.devices()[0].memory_stats() or {}).get("peak_bytes_in_use")

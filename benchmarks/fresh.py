"""Measurements in fresh processes: nothing was compiled or allocated in them before, and their peaks are their own."""

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
    """`function(*arguments)` in a new Python; the function is one of a module, what goes in and out can be pickled.

    The caller should hold no device: on GPUs one process takes most of the memory. No compilation cache is on there.

    Raises:
        OSError: if the process ends without an answer. Errors of the function come through as they are.
    """
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        try:
            return pool.submit(function, *arguments).result()
        except BrokenProcessPool as error:
            reason = "the process ended without an answer; the memory may be too small: choose a smaller size"
            raise OSError(f"{function.__name__}{arguments}: {reason}.") from error


def peak_process_bytes() -> int:
    """The most memory that this process has held.

    Linux hands `ru_maxrss` down from the process that started it, so there the kernel's VmHWM is read.
    """
    status = Path("/proc/self/status")
    lines = status.read_text().splitlines() if status.is_file() else []
    if found := [line for line in lines if line.startswith("VmHWM:")]:
        return int(found[0].split()[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def peak_device_bytes() -> int | None:
    """The most memory of the first device that was in use; None where the backend does not say, as on CPUs."""
    return (jax.devices()[0].memory_stats() or {}).get("peak_bytes_in_use")

"""The time of calls that take turns, so that they meet the same load."""

import statistics
import time
from collections.abc import Callable, Mapping

import jax

Call = Callable[[], object]


def turns(calls: Mapping[str, Call], runs: int, *, first: int = 0) -> dict[str, list[float]]:
    """Time `runs` calls of each, in seconds, after one call that compiles.

    The calls take turns, so that they meet the same load. A call returns when its work is done, or it returns arrays,
    for which this function waits. In each turn, `first` calls come before the timed one: the threads of some libraries
    run on for milliseconds after their work, and would hold a core while the next library is timed.
    """
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for turn in range(runs + 1):
        for name, call in calls.items():
            for _ in range(first if turn else 0):
                jax.block_until_ready(call())
            began = time.perf_counter()
            jax.block_until_ready(call())
            if turn:
                seconds[name].append(time.perf_counter() - began)
    return seconds


def medians(calls: Mapping[str, Call], runs: int, *, first: int = 0) -> dict[str, float]:
    """Return the median seconds of each call; see `turns`."""
    return {name: statistics.median(values) for name, values in turns(calls, runs, first=first).items()}

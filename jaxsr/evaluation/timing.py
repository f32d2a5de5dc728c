"""The time that methods take for one image, side by side in one run."""

import statistics
import time
from collections.abc import Mapping, Sequence

from jaxsr.evaluation.images import Pair
from jaxsr.evaluation.methods import Method


def seconds_per_image(methods: Sequence[Method], pair: Pair, runs: int) -> dict[str, float]:
    """Return the median seconds that each method takes to enlarge the LR image of a pair, by its name.

    Methods take turns, so that they meet the same load. One turn before the `runs` that count compiles.
    """
    seconds: dict[str, list[float]] = {method.name: [] for method in methods}
    for turn in range(runs + 1):
        for method in methods:
            began = time.perf_counter()
            method.make(pair, 0)
            if turn:
                seconds[method.name].append(time.perf_counter() - began)
    return {name: statistics.median(values) for name, values in seconds.items()}


def timing_table(seconds: Mapping[str, float], pair: Pair, runs: int, scale: int) -> str:
    """Format the seconds as a Markdown table, also per megapixel of the result."""
    assert pair.lr is not None
    height, width = (scale * n for n in pair.lr.shape[:2])
    lines = ["| method | s/image | s/megapixel |", "|---|---|---|"]
    lines += [f"| {name} | {s:.3g} | {s / (height * width / 1e6):.3g} |" for name, s in seconds.items()]
    head = f"\n## Time of {pair.image}, {width}x{height} pixels\n\nMedian of {runs} runs in turns.\n\n"
    return head + "\n".join(lines) + "\n"

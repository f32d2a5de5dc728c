"""The time that methods take for one image, side by side in one run."""

import os
from collections.abc import Sequence
from functools import partial

import jax

from jaxsr.evaluation.images import Pair
from jaxsr.evaluation.layout import Table, markdown
from jaxsr.evaluation.methods import Method
from jaxsr.runtime.timing import medians


def time_table(methods: Sequence[Method], pair: Pair, runs: int, scale: int) -> str:
    """Time every method on the LR image of a pair, and format the medians as a Markdown table."""
    assert pair.lr is not None
    seconds = medians({method.name: partial(method.make, pair, 0) for method in methods}, runs)
    height, width = (scale * n for n in pair.lr.shape[:2])
    rows = [(name, f"{s:.3g}", f"{s / (height * width / 1e6):.3g}") for name, s in seconds.items()]
    counted = "One run" if runs == 1 else f"Median of {runs} runs"
    device = f"{jax.devices()[0].device_kind}, {os.cpu_count()} CPU cores, jax {jax.__version__}"
    notes = f"{counted} in turns, after one that compiles; {device}.", "Results that are files are not timed here."
    return markdown(
        [Table(f"Time of {pair.image}, {width}x{height}", ("method", "s", "s/megapixel"), tuple(rows), notes)]
    )

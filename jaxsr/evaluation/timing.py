"""The time that methods take for one image, side by side in one run."""

import os
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import jax

from jaxsr.evaluation.images import Pair
from jaxsr.evaluation.layout import Table, markdown
from jaxsr.evaluation.methods import Method
from jaxsr.plain_data import parse_json
from jaxsr.runtime.timing import medians

TOLD = "times.json"
"""The file in a folder of results in which the program that made them noted the seconds of each: {"a.png": 1.5}."""


def told_seconds(folder: Path) -> dict[Path, float]:
    """Read the seconds that another program noted for each of its results in a folder, by file; {} without the file.

    Raises ValueError for a file that is not an object with a number of seconds, 0 or more, for each name.
    """
    file = folder / TOLD
    if not file.is_file():
        return {}
    try:
        told = parse_json(file.read_bytes())
    except ValueError as error:
        raise ValueError(f"{file}: is no JSON ({error}); correct or remove it.") from error
    if not isinstance(told, dict) or not all(map(_is_seconds, told.values())):
        raise ValueError(f'{file}: must hold seconds by name, such as {{"0801.png": 1.5}}; correct or remove it.')
    return {folder / name: float(s) for name, s in told.items()}


def _is_seconds(number: Any) -> bool:
    return type(number) in (int, float) and 0 <= number <= sys.float_info.max


def time_table(methods: Sequence[Method], pair: Pair, runs: int, scale: int, told: Mapping[str, float]) -> str:
    """Time every method on the LR image of a pair, and format the medians as a Markdown table.

    `told` has the seconds that other programs noted for this image, by row.
    """
    assert pair.lr is not None
    seconds = medians({method.name: partial(method.make, pair, 0) for method in methods}, runs)
    height, width = (scale * n for n in pair.lr.shape[:2])
    rows = [(name, f"{s:.3g}", f"{s / (height * width / 1e6):.3g}") for name, s in [*seconds.items(), *told.items()]]
    counted = "One run" if runs == 1 else f"Median of {runs} runs"
    device = f"{jax.devices()[0].device_kind}, {os.cpu_count()} CPU cores, jax {jax.__version__}"
    files = "Results that are files are not timed here"
    if told:
        files = f"{files}; {', '.join(told)}: as the program that made them noted it in {TOLD}"
    notes = f"{counted} in turns, after one that compiles; {device}.", f"{files}."
    return markdown(
        [Table(f"Time of {pair.image}, {width}x{height}", ("method", "s", "s/megapixel"), tuple(rows), notes)]
    )

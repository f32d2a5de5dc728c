"""What the benchmarks share: the machine's name, medians of calls that take turns, tables and files of results."""

import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax

from jaxsr.cli.exits import exit_code
from jaxsr.storage import write_whole

Call = Callable[[], object]


def machine() -> str:
    """Processor, cores, JAX device and version, in one line."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.is_file() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    processor = names[0] if names else platform.processor() or platform.machine()
    return f"{processor}, {os.cpu_count()} cores; JAX {jax.__version__} on {jax.devices()[0].device_kind}"


def turns(calls: Mapping[str, Call], runs: int) -> dict[str, list[float]]:
    """Seconds of `runs` calls of each, after one that compiles; they take turns, so that they meet the same load.

    A call returns when its work is done, or returns arrays, which are waited for.
    """
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for turn in range(runs + 1):
        for name, call in calls.items():
            began = time.perf_counter()
            jax.block_until_ready(call())
            if turn:
                seconds[name].append(time.perf_counter() - began)
    return seconds


def medians(calls: Mapping[str, Call], runs: int) -> dict[str, float]:
    """Median seconds of each, see `turns`."""
    return {name: statistics.median(values) for name, values in turns(calls, runs).items()}


def markdown(rows: Sequence[Mapping[str, Any]], digits: int = 3) -> str:
    """A table of the rows; the columns are those of the first. Floats get so many digits, None a dash."""

    def cell(value: Any) -> str:
        return "–" if value is None else f"{value:.{digits}g}" if isinstance(value, float) else str(value)

    head = list(rows[0])
    lines = [head, ["---"] * len(head), *([cell(row.get(name)) for name in head] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def command_line(bench: str, argv: Sequence[str] | None) -> str:
    """The command as it was given; `argv` is what `main` got."""
    return " ".join([f"python -m benchmarks.{bench}", *(sys.argv[1:] if argv is None else argv)])


def write_results(path: Path, command: str, **content: Any) -> None:
    """A JSON file of the command, the machine and the content, whole or not at all. Raises OSError."""
    write_whole(path, json.dumps({"command": command, "machine": machine(), **content}, indent=1) + "\n")


def run_benchmark(run: Callable[[], None]) -> int:
    """Its exit code; 1 where the input is bad, which one line on stderr tells.

    Compiled programs are not kept, but by the scripts that say so: they call oneDNN wherever that is at hand.
    """
    return exit_code(lambda: run() or 0)

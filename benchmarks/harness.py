"""The tools that the benchmarks share: the machine's name, medians of calls that take turns, tables, result files."""

import json
import os
import platform
import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax

from jaxsr.cli.exits import exit_code
from jaxsr.runtime.timing import Call, medians, turns  # noqa: F401  (benchmarks import them from here)
from jaxsr.storage import write_whole


def machine() -> str:
    """Describe the processor, its cores, JAX's version and its device in one line."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.is_file() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    processor = names[0] if names else platform.processor() or platform.machine()
    return f"{processor}, {os.cpu_count()} cores; JAX {jax.__version__} on {jax.devices()[0].device_kind}"


def repeat(update: Callable[..., tuple[Any, Any]], state: Any, *inputs: Any) -> Call:
    """Make a call of `update(state, *inputs) -> (state, values)`, each with the state that the one before left."""

    def call() -> Any:
        nonlocal state
        state, values = update(state, *inputs)
        return values

    return call


def markdown(rows: Sequence[Mapping[str, Any]], digits: int = 3) -> str:
    """Format rows as a table with the columns of the first row. Floats get `digits` significant digits, None a dash."""

    def cell(value: Any) -> str:
        return "–" if value is None else f"{value:.{digits}g}" if isinstance(value, float) else str(value)

    head = list(rows[0])
    lines = [head, ["---"] * len(head), *([cell(row.get(name)) for name in head] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def command_line(bench: str, argv: Sequence[str] | None) -> str:
    """Return the command as the user gave it, quoted for a shell; `argv` is the argument of `main`."""
    return shlex.join(["python", "-m", f"benchmarks.{bench}", *(sys.argv[1:] if argv is None else argv)])


def write_results(path: Path, command: str, **content: Any) -> None:
    """Write command, machine and content to a JSON file, completely or not at all. Raises OSError."""
    write_whole(path, json.dumps({"command": command, "machine": machine(), **content}, indent=1) + "\n")


def run_benchmark(run: Callable[[], None]) -> int:
    """Run a benchmark, and return its exit code: 1 on bad input, after one line on stderr.

    Only the scripts that say so cache compiled programs. The others therefore call oneDNN wherever it is available.
    """
    return exit_code(lambda: run() or 0)

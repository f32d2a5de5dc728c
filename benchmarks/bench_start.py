"""Time a first picture: python -m benchmarks.bench_start [--model tiny-x4] [--size 64] [--steps 4] [-o FILE]

The results are wall seconds of whole processes: Python alone, `import jaxsr` (which is lazy), the same with JAX, the
command's `--help`, and the command that enlarges one image of size x size. That command runs with an empty compilation
cache (cold), and with the cache that the cold run leaves (warm). All processes take turns, and medians are reported.
Every cold run has an empty cache of its own. The last row is the compute of that picture alone, in one process after
compilation.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

import jaxsr
from benchmarks.harness import command_line, machine, markdown, run_benchmark, turns, write_results
from jaxsr.runtime.compilation import enable_compilation_cache


def compute_seconds(model: str, size: int, steps: int, runs: int) -> list[float]:
    """Time each run after a first one that compiles, in seconds."""
    upscaler = jaxsr.load(model)
    enable_compilation_cache(
        upscaler.preset.network.model_channels
    )  # like the command, which calls oneDNN or caches programs
    image = np.random.default_rng(0).integers(0, 256, (size, size, 3), dtype=np.uint8)
    return turns({"": lambda: upscaler.upscale(image, seed=0, steps=steps)}, runs)[""]


def process_seconds(words: Sequence[str], environment: Mapping[str, str]) -> float:
    """Run a new Python with these arguments, and return its wall seconds.

    Raises:
        ValueError: if it fails; the message ends with the last line of its stderr.
    """
    began = time.perf_counter()
    variables = {name: value for name, value in os.environ.items() if name != "JAX_COMPILATION_CACHE_DIR"}
    variables |= environment
    done = subprocess.run([sys.executable, *words], env=variables, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ValueError(f"python {' '.join(words)}: {(done.stderr.strip().splitlines() or ['failed'])[-1]}")
    return time.perf_counter() - began


def whole_seconds(model: str, size: int, steps: int, runs: int) -> dict[str, list[float]]:
    """Time all processes in turns. Returns the wall seconds of every run, by row name."""
    seconds: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        photo = Path(folder, "photo.png")
        Image.fromarray(np.random.default_rng(0).integers(0, 256, (size, size, 3), dtype=np.uint8)).save(photo)
        sample = ["-m", "jaxsr.sample", "-i", str(photo), "-n", model, "--steps", str(steps), "--overwrite"]
        sample += ["-o", str(Path(folder, "out"))]
        commands = {"python": ["-c", ""], "import jaxsr": ["-c", "import jaxsr"]}
        commands |= {"import jaxsr.upscaling.upscaler, with JAX": ["-c", "import jaxsr.upscaling.upscaler"]}
        commands |= {"sample --help": ["-m", "jaxsr.sample", "--help"]}
        commands |= {"first picture, cold": sample, "first picture, warm": sample}
        for turn in range(runs):
            environment = {"JAXSR_CACHE_DIR": str(Path(folder, str(turn))), "JAXSR_CACHE": "on"}
            for name, words in commands.items():
                seconds.setdefault(name, []).append(process_seconds(words, environment))
    return seconds


def table(seconds: Mapping[str, Sequence[float]]) -> list[dict[str, Any]]:
    """Make one row for each name: the median, the least and the most seconds."""
    return [
        {"what": name, "median s": statistics.median(runs), "least s": min(runs), "most s": max(runs)}
        for name, runs in seconds.items()
    ]


def make_parser() -> argparse.ArgumentParser:
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(prog="python -m benchmarks.bench_start", description=__doc__, formatter_class=raw)
    parser.add_argument("--model", default="tiny-x4")
    parser.add_argument("--size", type=int, default=64, help="side of the input in pixels")
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("-o", "--output", type=Path, help="write the rows and every run's seconds to this JSON file")
    return parser


def run(args: argparse.Namespace, command: str) -> None:
    """Measure, print the table, write the file."""
    if min(args.size, args.runs) < 1:
        raise ValueError("--size and --runs: must be at least 1.")
    chosen = (args.model, args.size, args.steps, args.runs)
    seconds = whole_seconds(*chosen)
    seconds["compute of the picture"] = compute_seconds(*chosen)
    rows = table(seconds)
    print(f"`{command}`  \n{machine()}\n\n{markdown(rows)}")
    if args.output:
        write_results(args.output, command, rows=rows, seconds=seconds)


def main(argv: Sequence[str] | None = None) -> int:
    args = make_parser().parse_args(argv)
    return run_benchmark(lambda: run(args, command_line("bench_start", argv)))


if __name__ == "__main__":
    sys.exit(main())

"""Measure what changes a result: tiles, batch, order of files, processes, threads, kernels.

    python -m benchmarks.equality --models tiny-x4 photo-x4

Each row runs `python -m jaxsr.sample` on the bundled photograph with one thing changed, and compares the 8-bit pixels
with those of the first run, which has tiles of 64 pixels: equal, or the PSNR and the largest difference.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.harness import command_line, machine, markdown, run_benchmark

ROOT = Path(__file__).parents[1]
PHOTO = ROOT / "examples/parrots.png"
NAME = "b.png"
"""Name of the photograph among others, so that its place in the order can change."""


@dataclass(frozen=True)
class Change:
    """One thing that differs from the first run: words of the command, variables, files beside it, processes."""

    name: str
    words: tuple[str, ...] = ("--tile", "64")
    variables: dict[str, str] = field(default_factory=dict)
    others: tuple[str, ...] = ()
    processes: int = 1


ONE_THREAD = {"XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1", "OMP_NUM_THREADS": "1"}
CHANGES = (
    Change("the same command again"),
    Change("other files before and after it", others=("a.png", "c.png")),
    Change("two processes on one folder", others=("a.png", "c.png"), processes=2),
    Change("`--batch 4`", ("--tile", "64", "--batch", "4")),
    Change("one thread", variables=ONE_THREAD),
    Change("oneDNN's kernels", variables={"JAXSR_CACHE": "off", "JAXSR_ONEDNN": "on"}),
    Change("`--tile auto`", ("--tile", "auto")),
    Change("`--tile 32`", ("--tile", "32")),
    Change("`--tile 128`", ("--tile", "128")),
    Change("`--tile off`", ("--tile", "off")),
)


def enlarge(model: str, change: Change, crop: int | None, folder: Path, steps: int) -> np.ndarray:
    """Enlarge the photograph, or its middle, in a new folder, and return the pixels of the result."""
    source, output = folder / "in", folder / "out"
    source.mkdir(parents=True)
    with Image.open(PHOTO) as image:
        left, top = ((side - crop) // 2 if crop else 0 for side in image.size)
        part = image.crop((left, top, left + crop, top + crop)) if crop else image
        part.save(source / NAME)
        for name in change.others:
            part.transpose(Image.Transpose.ROTATE_90).save(source / name)
    words = ["-n", model, "-i", str(source), "-o", str(output), "--steps", str(steps), *change.words]
    variables = os.environ | {"PYTHONPATH": str(ROOT), "JAXSR_CACHE": "on"} | change.variables
    command = [sys.executable, "-m", "jaxsr.sample", *words]
    pipes = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE, "text": True}
    processes = [subprocess.Popen(command, env=variables, **pipes) for _ in range(change.processes)]
    for process in processes:
        _, error = process.communicate()
        if process.returncode:
            raise ValueError(f"{change.name}: {error.strip()}")
    with Image.open(output / NAME) as result:
        pixels = np.asarray(result)
    shutil.rmtree(folder)
    return pixels


def compare(first: np.ndarray, other: np.ndarray) -> tuple[int, float]:
    """Return the largest difference in grey levels, and the PSNR in dB, infinite for equal pixels."""
    difference = np.abs(first.astype(int) - other.astype(int))
    square = float(np.mean(np.square(difference)))
    return int(difference.max()), float("inf") if square == 0 else 10 * np.log10(255**2 / square)


def measure(model: str, changes: Sequence[Change], *, crop: int | None = None, steps: int = 4) -> dict[str, tuple]:
    """Return the differences that each change makes, by its name."""
    with tempfile.TemporaryDirectory() as folder:
        first = enlarge(model, Change("the first run"), crop, Path(folder, "first"), steps)
        return {
            change.name: compare(first, enlarge(model, change, crop, Path(folder, str(i)), steps))
            for i, change in enumerate(changes)
        }


def spell(largest: int, psnr: float) -> str:
    return "equal" if largest == 0 else f"{psnr:.1f} dB, at most {largest}"


def run(args: argparse.Namespace, command: str) -> None:
    found = {model: measure(model, CHANGES, crop=args.crop, steps=args.steps) for model in args.models}
    rows = [
        {"changed": change.name} | {model: spell(*differences[change.name]) for model, differences in found.items()}
        for change in CHANGES
    ]
    print(f"`{command}`  \n{machine()}\n\n{markdown(rows)}")


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.equality", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--models", nargs="+", default=["tiny-x4", "photo-x4"], metavar="NAME")
    parser.add_argument("--crop", type=int, help="side of the middle of the photograph (default: the whole)")
    parser.add_argument("--steps", type=int, default=4)
    args = parser.parse_args(argv)
    return run_benchmark(lambda: run(args, command_line("equality", argv)))


if __name__ == "__main__":
    sys.exit(main())

"""Measure what a model paints into areas of one colour, where there is nothing to enlarge.

    python -m benchmarks.flat_areas --models photo-x4 tiny-x4

Each row enlarges a 64x64 image of one colour, and has for each number of steps the standard deviation and the span of
the result's values, 64 pixels away from its border, in grey levels, of the channel where they are largest. 0 is right.
"""

import argparse
import sys
from collections.abc import Callable
from typing import Any

import numpy as np

import jaxsr
from benchmarks.harness import command_line, machine, markdown, run_benchmark
from jaxsr.cli.shared_options import whole

COLOURS = {
    "grey": (128, 128, 128),
    "skin": (220, 180, 150),
    "brown": (150, 120, 100),
    "dark": (60, 50, 40),
    "red": (190, 30, 30),
    "sky": (90, 110, 170),
    "leaf": (80, 120, 50),
}
SIDE, BORDER = 64, 64


def painted(upscale: Callable[[np.ndarray], np.ndarray], colour: tuple[int, int, int]) -> tuple[float, float]:
    """Return the standard deviation and the span of what is painted into one colour, of the worst channel."""
    result = upscale(np.full((SIDE, SIDE, 3), colour, np.uint8))[BORDER:-BORDER, BORDER:-BORDER].astype(float)
    return float(result.std((0, 1)).max()), float(np.ptp(result, (0, 1)).max())


def rows(upscaler: Any, steps: list[int]) -> list[dict[str, Any]]:
    found = []
    for name, colour in COLOURS.items():
        row: dict[str, Any] = {"colour": f"{name} {colour}"}
        for count in steps:
            deviation, span = painted(lambda image, n=count: upscaler.upscale(image, seed=0, steps=n), colour)
            row[f"{count} step{'s' * (count > 1)}"] = f"{deviation:.2f}, span {span:.0f}"
        found.append(row)
    return found


def run(args: argparse.Namespace, command: str) -> None:
    print(f"`{command}`  \n{machine()}")
    for name in args.models:
        print(f"\n{name}:\n\n{markdown(rows(jaxsr.load(name), args.steps))}", flush=True)


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.flat_areas", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("--models", nargs="+", default=["photo-x4", "tiny-x4"], metavar="NAME")
    parser.add_argument("--steps", type=whole(1), nargs="+", default=[1, 4], metavar="N")
    args = parser.parse_args(argv)
    return run_benchmark(lambda: run(args, command_line("flat_areas", argv)))


if __name__ == "__main__":
    sys.exit(main())

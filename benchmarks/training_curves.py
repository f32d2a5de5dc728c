"""Draw the training curves of `photo-x4` from its logs: squared error and LPIPS over all parts, one after the other.

    python -m benchmarks.training_curves --logs jaxsr/assets/photo-x4 --configs configs/photo_x4 \\
        -o docs/images/photo-training.png

A term of the loss is divided by its weight in the part's config, so that the curves go on from part to part. They jump
where a part changes the degradation or the states that it trains on. It needs matplotlib (the extra `notebooks`).
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks.harness import run_benchmark
from jaxsr.training.config import load_config

TERMS = {"error": "squared error", "perceptual": "LPIPS (AlexNet)", "detail": "LPIPS (VGG)"}
SMOOTH = 5
"""Number of rows of a log in a moving average."""

Curve = tuple[np.ndarray, np.ndarray]


def read_part(log: Path, config: Path) -> tuple[int, dict[str, Curve]]:
    """Return the number of updates of a part, and (update, value without its weight) for each term of its loss."""
    settings = load_config(config)
    weights = {"error": 1.0, "perceptual": settings.perceptual_weight, "detail": settings.detail_weight}
    rows = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
    steps = np.array([row["step"] for row in rows])
    curves = {name: (steps, np.array([row[name] for row in rows]) / weights[name]) for name in TERMS if name in rows[0]}
    return int(steps[-1]), curves


def smooth(values: np.ndarray) -> np.ndarray:
    """Average over neighbours, fewer at the ends."""
    window, ones = np.ones(min(SMOOTH, len(values))), np.ones(len(values))
    return np.convolve(values, window, "same") / np.convolve(ones, window, "same")


def run(args: argparse.Namespace) -> None:
    from matplotlib.figure import Figure

    logs = sorted(args.logs.glob("log_part*.jsonl"))
    if not logs:
        raise ValueError(f"--logs: there is no log_part*.jsonl in {args.logs}; check the folder.")
    figure = Figure(figsize=(9, 3), layout="constrained")
    axes = dict(zip(TERMS, figure.subplots(1, len(TERMS)), strict=True))
    begin = 0
    for log in logs:
        updates, curves = read_part(log, args.configs / f"{log.stem.removeprefix('log_')}.py")
        for name, (steps, values) in curves.items():
            axes[name].plot(begin + steps, smooth(values), color="tab:red", lw=1)
        begin += updates
        for axis in axes.values():
            axis.axvline(begin, color="0.85", lw=0.8)
    for name, axis in axes.items():
        axis.set(title=TERMS[name], xlabel="update", xlim=(0, begin))
    args.output.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(args.output, dpi=120)


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.training_curves", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("--logs", type=Path, required=True, help="folder with log_part1.jsonl and so on")
    parser.add_argument("--configs", type=Path, required=True, help="folder with part1.py and so on")
    parser.add_argument("-o", "--output", type=Path, required=True, help="picture to write")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    args = make_parser().parse_args(argv)
    return run_benchmark(lambda: run(args))


if __name__ == "__main__":
    sys.exit(main())

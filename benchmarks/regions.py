"""Measure a reference that shows the left half of every image (the paper's Fig. 1), with several numbers of steps.

    python -m benchmarks.regions --model tiny-x4 --data ../shared/data --set div2k --limit 20 -o OUT

Inside the reference, slope and offset are fitted to the original (Eq. 10). Outside, alpha is fitted to the same error:
by least squares (`lstsq`), or by Algorithm 1 as printed (`norm`). Both halves are scored on their own. Brackets hold
the mean difference to the plain sampler of as many steps on the same half, and its 95 % interval over images.
"""

import argparse
import sys
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

import jaxsr
from benchmarks.corrections import Columns, cells, load_set
from benchmarks.harness import command_line, machine, markdown, run_benchmark
from benchmarks.readings import METRICS, SETS
from jaxsr.cli.shared_options import whole
from jaxsr.evaluation.images import Pair, ready
from jaxsr.evaluation.protocol_files import load_protocol
from jaxsr.evaluation.scoring import Scorer
from jaxsr.storage import write_whole
from jaxsr.upscaling.upscaler import Upscaler

HALVES = ("known half", "unknown half")
OBJECTIVES = ("lstsq", "norm")


def half(pair: Pair, name: str) -> Pair:
    """Cut the left (known) or the right half out of all images of a pair with an LR width that is even."""
    assert pair.lr is not None

    def cut(image: np.ndarray | None) -> np.ndarray | None:
        middle = 0 if image is None else image.shape[1] // 2
        return None if image is None else image[:, :middle] if name == HALVES[0] else image[:, middle:]

    return replace(pair, lr=cut(pair.lr), hr=cut(pair.hr), sr=cut(pair.sr))


def even(pair: Pair, scale: int) -> Pair:
    """Leave out the last column of an LR image of odd width, and what it shows in the original."""
    assert pair.lr is not None
    assert pair.hr is not None
    width = pair.lr.shape[1] // 2 * 2
    return replace(pair, lr=pair.lr[:, :width], hr=pair.hr[:, : scale * width])


def results_of(upscaler: Upscaler, pair: Pair, steps: int) -> Iterator[tuple[str, np.ndarray]]:
    """Yield the plain result, and one for each objective with the left half of the original as the reference."""
    known = half(pair, HALVES[0])
    assert known.lr is not None
    height, width = known.lr.shape[:2]
    lr = np.asarray(pair.lr, np.float32) / 255
    yield "plain", upscaler.upscale(lr, seed=0, steps=steps)
    for objective in OBJECTIVES:
        shown = {"reference": known.hr, "reference_box": (0, 0, width, height), "objective": objective}
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="the image was enlarged by a fit")  # it is what is measured
            result = upscaler.upscale(lr, seed=0, steps=steps, **shown)
        yield f"with the reference, {objective}", result


def measure(upscaler: Upscaler, pairs: Sequence[Pair], steps: Sequence[int], scorer: Scorer) -> dict[str, Columns]:
    """Score every half of every result. Returns the numbers of all images by the name of the row."""
    rows: dict[str, Columns] = {}
    for count, pair in enumerate(pairs, start=1):
        for n in steps:
            for name, result in results_of(upscaler, pair, n):
                made = replace(pair, sr=ready(result, scorer.protocol))
                for side in HALVES:
                    (found,) = scorer.score([half(made, side)])
                    columns = rows.setdefault(f"{side}, {n} steps: {name}", {metric: [] for metric in scorer.metrics})
                    for metric, value in found.items():
                        columns[metric].append(value)
        print(f"{count} of {len(pairs)} images", file=sys.stderr, flush=True)
    return rows


def run(args: argparse.Namespace, command: str) -> None:
    upscaler, protocol = jaxsr.load(args.model), load_protocol(SETS[args.set])
    pairs = [even(pair, upscaler.preset.scale) for pair in load_set(args.set, args.data, args.limit)]
    rows = measure(upscaler, pairs, args.steps, Scorer(tuple(args.metrics), protocol, batch=1))
    table = []
    for side in HALVES:
        for n in args.steps:
            start = f"{side}, {n} steps: "
            base = rows[f"{start}plain"]
            names = [name for name in rows if name.startswith(start)]
            table += [{"half, steps: method": name} | cells(rows[name], base) for name in names]
    text = f"`{command}`  \n{machine()}, {len(pairs)} images of {args.set}\n\n{markdown(table)}\n"
    write_whole(args.output / "table.md", text)
    print(text)


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.regions", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", default="tiny-x4", help="name, folder or file of a model")
    parser.add_argument("--data", type=Path, required=True, help="folder that holds the sets")
    parser.add_argument("--set", choices=SETS, default="div2k", help="a set")
    parser.add_argument("--limit", type=whole(1), help="number of images, spread evenly over the set (default: all)")
    parser.add_argument("--steps", type=whole(1), nargs="+", default=[4, 15], help="numbers of steps")
    parser.add_argument("--metrics", nargs="+", default=list(METRICS), help="names of metrics")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="DIR", help="folder for the table")
    args = parser.parse_args(argv)
    return run_benchmark(lambda: run(args, command_line("regions", argv)))


if __name__ == "__main__":
    sys.exit(main())

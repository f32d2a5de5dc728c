"""Score the published results of OSEDiff on RealSR, and compare with the numbers that its authors published.

    python -m benchmarks.published_scores --results ../shared/reference/osediff_realsr --hr ../shared/data/realsr_sub/HR

The folder of results has `scores.tsv`: one line per image with the authors' numbers, which pyiqa computed. Ours are
those of the protocol `osediff-realsr`. For NIQE give the published parameters: --niqe tests/golden/niqe_pris_params.npz
"""

import argparse
import csv
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from benchmarks.harness import command_line, machine, markdown, run_benchmark
from jaxsr.evaluation.images import load
from jaxsr.evaluation.pairs import Item
from jaxsr.evaluation.protocol_files import load_protocol
from jaxsr.evaluation.protocols import Protocol
from jaxsr.evaluation.scoring import Scorer
from jaxsr.metrics.perceptual_files import present_path

Scores = dict[str, dict[str, float]]
"""Metric -> number, by image."""


def published(folder: Path, metrics: Sequence[str]) -> Scores:
    """Read the authors' numbers of the images whose results are in the folder."""
    file = folder / "scores.tsv"
    if not file.is_file():
        raise ValueError(f"--results: there is no file {file}; give the folder that holds it.")
    with open(file, newline="", encoding="utf-8") as lines:
        rows = [row for row in csv.DictReader(lines, delimiter="\t") if (folder / row["image"]).is_file()]
    if not rows:
        raise ValueError(f"--results: {folder} has none of the images in scores.tsv; give the folder of results.")
    if lacking := [name.upper() for name in metrics if name.upper() not in rows[0]]:
        raise ValueError(f"--results: {file} has no column {', '.join(lacking)}; give the authors' file.")
    return {Path(row["image"]).stem: {name: float(row[name.upper()]) for name in metrics} for row in rows}


def protocol_with(niqe: Path | None) -> Protocol:
    """Load the authors' protocol, with the parameters of NIQE in a file."""
    protocol = load_protocol("osediff-realsr")
    if niqe is None:
        return protocol
    return replace(protocol, variants={**protocol.variants, "niqe": {**protocol.variant("niqe"), "model": str(niqe)}})


def score(results: Path, hr: Path, names: Sequence[str], metrics: Sequence[str], protocol: Protocol) -> Scores:
    """Score the named results against the originals of the same names, whatever their format."""
    found, scorer = {}, Scorer(tuple(metrics), protocol, batch=1)
    for name in names:
        originals = list(hr.glob(f"{name}.*"))
        if len(originals) != 1:
            raise ValueError(f"--hr: {hr} has {len(originals)} originals called {name}; give the folder of RealSR's.")
        pairs = load(Item(name, pred=results / f"{name}.png", target=originals[0]), protocol).pairs
        (row,) = scorer.score(pairs)
        if missing := [metric for metric, value in row.items() if value is None]:
            raise ValueError(f"{name}: has no number for {', '.join(missing)}: {scorer.reasons}")
        found[name] = row
    return found


def worst(ours: Scores, theirs: Scores) -> Mapping[str, float]:
    """Return the largest difference of each metric over all images."""
    metrics = next(iter(theirs.values()))
    return {metric: max(abs(ours[name][metric] - row[metric]) for name, row in theirs.items()) for metric in metrics}


def run(args: argparse.Namespace, command: str) -> None:
    weights = {"lpips": "lpips-alex", "dists": "dists"}
    metrics = ["psnr", "ssim", *(name for name, file in weights.items() if present_path(file))]
    metrics += ["niqe"] if args.niqe else []
    for name in {*weights, "niqe"} - {*metrics}:
        how = "give --niqe" if name == "niqe" else f"run python -m jaxsr.cli.convert_lpips {weights[name]}"
        print(f"{name} is left out: its parameters are missing; {how}", file=sys.stderr)
    theirs = published(args.results, metrics)
    ours = score(args.results, args.hr, list(theirs), metrics, protocol_with(args.niqe))
    rows = []
    for name, row in theirs.items():
        rows.append({"image": name} | {key: f"{ours[name][key]:.5f} ({value:.5f})" for key, value in row.items()})
    difference = {key: f"{value:.1e}" for key, value in worst(ours, theirs).items()}
    rows.append({"image": "**largest difference**"} | difference)
    print(f"`{command}`  \n{machine()}  \nours (published)\n\n{markdown(rows)}")


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.published_scores", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("--results", type=Path, required=True, help="folder of results with scores.tsv")
    parser.add_argument("--hr", type=Path, required=True, help="folder of RealSR's originals")
    parser.add_argument("--niqe", type=Path, metavar="FILE", help="published parameters of NIQE, .npz or .mat")
    return parser


def main(argv: list[str] | None = None) -> int:
    args = make_parser().parse_args(argv)
    return run_benchmark(lambda: run(args, command_line("published_scores", argv)))


if __name__ == "__main__":
    sys.exit(main())

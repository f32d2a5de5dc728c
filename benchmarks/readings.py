"""Measure both readings of Algorithm 1, as printed and with Sigma in its norm, against the plain sampler.

    python -m benchmarks.readings --data ../shared/data --limit 12 -o benchmarks/results/readings

It takes the scales from the calibrations beside the model: the weighted medians of their open loops, at every number of
steps. `printed` is line 8 of Algorithm 1 as the paper has it; `step-norm` has Sigma inside of the norm. Each table is
of one set and one number of steps; in parentheses is the mean difference to the plain sampler with the same steps, and
its 95 % interval. LPIPS and DISTS need their weights (`python -m jaxsr.cli.convert_lpips lpips-alex dists`).
A stopped run resumes.
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import jaxsr
from benchmarks.harness import command_line, machine, run_benchmark
from jaxsr.evaluation.datasets import fit_list, open_dataset
from jaxsr.evaluation.methods import Method, model_method
from jaxsr.evaluation.metrics import check_metrics
from jaxsr.evaluation.pairs import Item
from jaxsr.evaluation.protocol_files import load_protocol
from jaxsr.evaluation.protocols import Protocol
from jaxsr.evaluation.result import Result
from jaxsr.evaluation.run import Evaluation, evaluate_together
from jaxsr.evaluation.suite import spread, take_or_make
from jaxsr.evaluation.tables import render
from jaxsr.options import Options
from jaxsr.storage import write_whole
from jaxsr.upscaling.upscaler import Upscaler

SETS = {"div2k": "div2k-sub", "realsr": "realsr-sub", "kodak": "plain"}
METRICS = ("psnr", "lpips", "dists", "niqe", "swd", "lr_consistency")
READINGS = {"printed": "norm", "step-norm": "step-norm"}


def methods(upscaler: Upscaler, model: str, steps: int, sampler: str) -> list[Method]:
    """List the methods of one table: the plain sampler, both readings, and for the model's own steps the presets."""
    base = Options(steps=steps, sampler=sampler)
    calibration = upscaler.find_calibration(base).calibration
    rows = {"plain": (0.0,)}
    rows |= {name: tuple(calibration.open_loop[key]["weighted_median"]) for name, key in READINGS.items()}
    found = [model_method(upscaler, replace(base, alpha=a), name=name, model=model) for name, a in rows.items()]
    presets = ("balanced", "vivid") if steps == upscaler.preset.steps else ()
    return found + [model_method(upscaler, base, name=name, model=model, preset=name) for name in presets]


def run(args: argparse.Namespace, command: str) -> None:
    upscaler = jaxsr.load(args.model)
    text = [f"`{command}`  \n{machine()}\n"]
    for steps in args.steps:
        for name in args.sets:
            protocol = load_protocol(SETS[name])
            items = items_of(name, args.data, protocol, args.limit)
            rows = methods(upscaler, args.model, steps, args.sampler)
            shared = {"items": items, "data": name, "protocol": protocol, "command": command}
            results = score_all(rows, METRICS, args.output, f"{name}-{steps}", **shared)
            text.append(f"\n# {steps} steps\n{render(results, 'md', against='plain')}")
            write_whole(args.output / "table.md", "".join(text))
    print("".join(text))


def items_of(name: str, data: Path, protocol: Protocol, limit: int | None) -> list[Item]:
    """List the images of a set, spread evenly over it."""
    return spread(fit_list(open_dataset(name, data), protocol), limit)


def score_all(
    rows: Sequence[Method], metrics: Sequence[str], folder: Path, label: str, *, protocol: Protocol, **shared: Any
) -> list[Result]:
    """Score every method on the same images, into `folder/LABEL-METHOD.json`. `shared` are fields of `Evaluation`."""
    names, results = check_metrics(metrics, protocol, target=True, lr=True), []
    for method in rows:
        job = Evaluation(name=method.name, method=method, metrics=names, protocol=protocol, **shared)
        found = take_or_make(folder / f"{label}-{method.name}.json", job, overwrite=True)
        results += [found] if isinstance(found, Result) else evaluate_together([found])
        print(f"{label}, {method.name}: done", file=sys.stderr, flush=True)
    return results


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.readings", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", default="tiny-x4", help="name, folder or file of a model")
    parser.add_argument("--data", type=Path, required=True, help="folder that holds the sets")
    parser.add_argument("--sets", nargs="+", choices=SETS, default=list(SETS), help=f"some of {', '.join(SETS)}")
    parser.add_argument("--steps", type=int, nargs="+", default=[4, 15], help="numbers of steps")
    parser.add_argument("--sampler", default="ancestral", help="sampler")
    parser.add_argument("--limit", type=int, help="images per set, spread evenly over it (default: all)")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="DIR", help="folder for results and table")
    return parser


def main(argv: list[str] | None = None) -> int:
    args = make_parser().parse_args(argv)
    return run_benchmark(lambda: run(args, command_line("readings", argv)))


if __name__ == "__main__":
    sys.exit(main())

"""Measure the transfer of a fit: A, B and alpha of one image of one camera, used on other images of it and of another.

    python -m benchmarks.transfer --data ../shared/data --limit 6 -o benchmarks/results/transfer

The sample command fits them to one Canon scene of RealSR with its HR image as the reference, and keeps them with
`--save-calibration`. Other scenes of Canon and of Nikon are then enlarged with `--preset fitted`: by the LR image alone
(`fitted`), with alpha by least squares and by Algorithm 1 as printed; and with their own HR images as references, with
the A and B of the file (`HR, A and B of the file`) beside a fit to each image (`HR, fitted to each`). In parentheses is
the mean difference to the plain sampler, and its 95 % interval. LPIPS needs its weights.
"""

import argparse
import sys
from pathlib import Path

import jaxsr
from benchmarks.harness import command_line, machine, run_benchmark
from benchmarks.readings import score_all
from jaxsr.cli import sample
from jaxsr.evaluation.datasets import fit_list, open_dataset
from jaxsr.evaluation.methods import Method, model_method
from jaxsr.evaluation.pairs import Item
from jaxsr.evaluation.protocol_files import load_protocol
from jaxsr.evaluation.suite import spread
from jaxsr.evaluation.tables import render
from jaxsr.imaging.files import read_photo
from jaxsr.options import Options
from jaxsr.storage import write_whole
from jaxsr.upscaling.upscaler import Upscaler

METRICS = ("psnr", "lpips", "dists", "swd", "niqe", "lr_consistency")
OBJECTIVES = ("lstsq", "norm")


def fit(item: Item, objective: str, model: str, folder: Path) -> Path:
    """Fit one image to its HR image by the sample command. Return the calibration file."""
    file = folder / f"canon-{objective}.json"
    if not file.exists():
        assert isinstance(item.lr, Path)
        height, width = read_photo(item.lr).rgb.shape[:2]
        words = ["-n", model, "-i", item.lr, "-o", folder / objective, "--overwrite", "--objective", objective]
        words += ["--reference", item.target, "--reference-box", f"0,0,{width},{height}", "--save-calibration", file]
        if sample.main([str(word) for word in words]):
            raise ValueError(f"--data: {item.name} cannot be fitted; see the lines above.")
    return file


def methods(upscaler: Upscaler, model: str, files: dict[str, Path]) -> list[Method]:
    """List the rows of the table."""

    def row(name: str, objective: str | None = None, hr: bool = False) -> Method:
        fitted = {"preset": "fitted", "calibration": files[objective]} if objective else {}
        return model_method(upscaler, Options(), name=name, model=model, hr_guidance=hr, **fitted)

    return [
        row("plain"),
        row("fitted, least squares", "lstsq"),
        row("fitted, Algorithm 1 as printed", "norm"),
        row("HR, A and B of the file", "lstsq", hr=True),
        row("HR, fitted to each", hr=True),
    ]


def run(args: argparse.Namespace, command: str) -> None:
    args.output.mkdir(parents=True, exist_ok=True)
    upscaler, protocol = jaxsr.load(args.model), load_protocol("realsr-sub")
    items = fit_list(open_dataset("realsr", args.data), protocol)
    canon, nikon = ([item for item in items if item.name.startswith(name)] for name in ("Canon", "Nikon"))
    if len(canon) < 2 or not nikon:
        raise ValueError("--data: needs realsr_sub with scenes of Canon and of Nikon.")
    files = {objective: fit(canon[0], objective, args.model, args.output) for objective in OBJECTIVES}
    text = [f"`{command}`  \n{machine()}  \nfitted on {canon[0].name}\n"]
    for name, scenes in (("Canon", canon[1:]), ("Nikon", nikon)):
        shared = {"items": spread(scenes, args.limit), "data": name, "protocol": protocol, "command": command}
        results = score_all(methods(upscaler, args.model, files), METRICS, args.output, name, **shared)
        text.append(f"\n{render(results, 'md', against='plain')}")
    write_whole(args.output / "table.md", "".join(text))
    print("".join(text))


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.transfer", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", default="tiny-x4", help="name, folder or file of a model")
    parser.add_argument("--data", type=Path, required=True, help="folder that holds realsr_sub")
    parser.add_argument("--limit", type=int, help="scenes per camera, spread evenly over them (default: all)")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="DIR", help="folder for results and table")
    return parser


def main(argv: list[str] | None = None) -> int:
    args = make_parser().parse_args(argv)
    return run_benchmark(lambda: run(args, command_line("transfer", argv)))


if __name__ == "__main__":
    sys.exit(main())

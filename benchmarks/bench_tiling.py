"""Measure time per megapixel and peak memory of large pictures: python -m benchmarks.bench_tiling -o FILE

    python -m benchmarks.bench_tiling                                  # tiny-x4, 1 step, 1, 4 and 12 megapixels
    python -m benchmarks.bench_tiling --model MODEL --accept-license --steps 4 --batch 8 --precision bf16

The benchmark times what `python -m jaxsr.sample` does with each photograph once the model is loaded: read the file, cut
tiles, enlarge, blend into the uint8 result, check its LR-consistency, write PNG and sidecar. Every size and run has a
process of its own, in which a first picture compiles and a second one is timed. The sizes take turns, and medians are
reported.

A picture that is not a whole number of tiles computes more pixels than it shows. `computed / shown` is this ratio. It
depends on the size, and `s / computed MP` is the time without this effect. Peak memory is that of the whole process,
with Python, the compiler and the network, and that of the device if the backend reports it. The result is held once, in
uint8: 3 bytes a pixel. The PNG encoder adds its own memory.
"""

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from benchmarks.fresh import in_fresh_process, peak_device_bytes, peak_process_bytes
from benchmarks.harness import command_line, machine, markdown, run_benchmark, write_results
from jaxsr.choices import PRECISIONS
from jaxsr.cli import sample_options as arguments
from jaxsr.options import spell_tile, tile_sides

MEGA = 1e6
CONSTANT = ("s/MP", "s / computed MP", "process MB", "device MB")


@dataclass(frozen=True)
class Measured:
    """The measurement of one picture: seconds, peak bytes, size, tiles, and the pixels that the tiles computed."""

    seconds: float
    process_bytes: int
    device_bytes: int | None
    width: int
    height: int
    tile: str
    tiles: int
    computed: int


def write_photo(path: Path, width: int, height: int, seed: int = 0) -> Path:
    """Write a smooth random picture, and return its path."""
    coarse = np.random.default_rng(seed).integers(0, 256, (height // 8 + 2, width // 8 + 2, 3), dtype=np.uint8)
    Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC).save(path)
    return path


def input_size(megapixels: float, scale: int) -> tuple[int, int]:
    """Return (width, height) of the 4:3 input whose enlargement has about `megapixels` megapixels."""
    height = (megapixels * MEGA * 3 / 4) ** 0.5 / scale
    return max(round(height * 4 / 3), 1), max(round(height), 1)


def measure(words: Sequence[str], megapixels: float) -> Measured:
    """Time the second of two equal pictures, made as the command with the options `words` makes them.

    Call this function in a fresh process, whose peak memory is its own.
    """
    from jaxsr.batch.enlarge import begin, make_many
    from jaxsr.batch.jobs import plan_jobs
    from jaxsr.cli.sample import prepare

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        photo = folder / "photo.png"
        args = arguments.make_parser().parse_args(["-i", str(photo), "-o", str(folder / "out"), *words])
        work = prepare(args)
        upscaler = work.upscaler
        write_photo(photo, *input_size(megapixels, upscaler.preset.scale))
        (job,) = plan_jobs([(photo, Path(photo.name))], args.output, suffix="", ext="png", n_samples=1)
        seconds = 0.0
        for _ in range(2):
            began = time.perf_counter()
            begun = begin(upscaler, job, work.request(job), work.recipe)
            ((_, made),) = make_many(upscaler, [begun], batch=work.batch)
            if isinstance(made, BaseException):
                raise made
            seconds = time.perf_counter() - began
        record = json.loads(job.sidecar.read_text(encoding="utf-8"))
    sides = record["options"]["tile"]
    tile = tuple(sides) if isinstance(sides, list) else sides
    width, height = record["size"]
    rows, columns = tile_sides(tile)
    plan = {"tile": spell_tile(tile), "tiles": record["tiles"]}
    plan |= {"computed": record["tiles"] * rows * columns * upscaler.preset.scale**2}
    return Measured(seconds, peak_process_bytes(), peak_device_bytes(), width, height, **plan)


def table(found: Sequence[Sequence[Measured]]) -> list[dict[str, Any]]:
    """Make one row per size, from the medians of its runs, with ratios to the first size."""
    rows: list[dict[str, Any]] = []
    for runs in found:
        one, seconds = runs[0], statistics.median(run.seconds for run in runs)
        shown = one.width * one.height
        device = [run.device_bytes for run in runs if run.device_bytes is not None]
        row = {"output": f"{one.width}x{one.height}", "MP": shown / MEGA, "tiles": f"{one.tiles} of {one.tile}"}
        row |= {"computed / shown": one.computed / shown, "seconds": seconds}
        row |= {"s/MP": seconds / shown * MEGA, "s / computed MP": seconds / one.computed * MEGA}
        row |= {"process MB": statistics.median(run.process_bytes for run in runs) / MEGA}
        row |= {"device MB": statistics.median(device) / MEGA if device else None}
        rows.append(row)
    return [_with_ratios(row, rows[0]) for row in rows]


def _with_ratios(row: dict[str, Any], first: dict[str, Any]) -> dict[str, Any]:
    """Add the ratio to the first row after each column that should be constant."""
    wide: dict[str, Any] = {}
    for name, value in row.items():
        wide[name] = value
        if name in CONSTANT:
            wide[f"ratio of {name}"] = None if value is None else value / first[name]
    return wide


def make_parser() -> argparse.ArgumentParser:
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(prog="python -m benchmarks.bench_tiling", description=__doc__, formatter_class=raw)
    add = parser.add_argument
    add("--megapixels", type=float, nargs="+", default=[1.0, 4.0, 12.0], metavar="MP", help="approximate output sizes")
    add("--runs", type=int, default=3, help="processes per size")
    add("-n", "--model", default="tiny-x4", help="a known model or a checkpoint")
    add("--accept-license", action="store_true", help="accept a model's non-commercial licence")
    add("--steps", type=int, default=1, help="sampling steps")
    add("--tile", default="auto", help="side of the tiles, as in the sample command")
    add("--batch", type=int, default=1, help="tiles per call of the network")
    add("--precision", choices=PRECISIONS, default="fp32")
    add("-o", "--output", type=Path, help="write the rows and every run to this JSON file")
    return parser


def run(args: argparse.Namespace, command: str) -> None:
    """Measure, print the table, write the file."""
    if args.runs < 1 or min(args.megapixels) <= 0:
        raise ValueError("--runs and --megapixels must be above 0.")
    words = ["-n", args.model, "--steps", str(args.steps), "-t", args.tile, "--batch", str(args.batch)]
    words += ["--precision", args.precision, *["--accept-license"] * args.accept_license]
    arguments.make_parser().parse_args(words)  # so that an error comes before the measurements
    found: list[list[Measured]] = [[] for _ in args.megapixels]
    for _ in range(args.runs):
        for runs, megapixels in zip(found, args.megapixels, strict=True):
            runs.append(in_fresh_process(measure, words, megapixels))
    rows = table(found)
    print(f"`{command}`  \n{machine()}\n\n{markdown(rows)}")
    if args.output:
        write_results(args.output, command, rows=rows, runs=[[asdict(one) for one in runs] for runs in found])


def main(argv: Sequence[str] | None = None) -> int:
    args = make_parser().parse_args(argv)
    return run_benchmark(lambda: run(args, command_line("bench_tiling", argv)))


if __name__ == "__main__":
    sys.exit(main())

"""Measure how the calibration sweep scales with devices: python -m benchmarks.bench_scaling -o FILE

    python -m benchmarks.bench_scaling                                     # 1, 2, 4 and 8 devices, tiny-x4
    python -m benchmarks.bench_scaling --devices 1 2 4 8 --images 64 --candidates 64 --batch 4 --candidate-batch 16

The rate is candidate-images per second of the sweep of `python -m jaxsr.calibrate`. The same images are spread over n
devices, --batch of them per device and call. Every n and run has a process of its own, in which a first pass compiles
and a second one is timed. The numbers of devices take turns, and medians are reported. The scores must equal those of
one device to 1e-3 dB.

On accelerators the first n devices are used, and the result is `efficiency` = rate_n / (n rate_1). On a CPU the n
devices are forced ones. They share all cores, which a single device uses already, so nothing can be gained. There the
honest result is `rate / rate of 1`: the part of one device's rate that remains when its work is cut into n parts.
"""

import argparse
import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import jax
import numpy as np

from benchmarks.bench_calibration import random_pairs
from benchmarks.fresh import in_fresh_process
from benchmarks.harness import command_line, machine, markdown, run_benchmark, write_results
from benchmarks.models import MODEL_HELP, load_model
from jaxsr.calibration.candidates import Candidate, even_chunks
from jaxsr.calibration.scores import make_score
from jaxsr.calibration.sweep import Chain, image_keys, sweep_function
from jaxsr.choices import PRECISIONS
from jaxsr.models.model import DTYPES, Model
from jaxsr.options import Options
from jaxsr.runtime.compilation import enable_compilation_cache
from jaxsr.runtime.devices import AXIS, over_images, replicate
from jaxsr.upscaling.plan import schedule_for

TOLERANCE = 1e-3  # dB


@dataclass(frozen=True, kw_only=True)
class Case:
    """The sweep to measure: `batch` images per device and call, `candidate_batch` candidates in the network at once."""

    model: str
    accept_license: bool
    steps: int
    precision: str
    crop: int
    images: int
    candidates: int
    batch: int
    candidate_batch: int


@dataclass(frozen=True, eq=False)
class Pass:
    """One pass over all images: its seconds, the PSNR of every candidate and image, and the kind of device."""

    seconds: float
    psnr: np.ndarray
    platform: str


def measure(case: Case, count: int) -> Pass:
    """Time the second of two passes on the first `count` devices.

    Call this function in a fresh process, because JAX must learn the number of forced devices before it starts.
    """
    jax.config.update("jax_num_cpu_devices", count)
    enable_compilation_cache()
    devices = jax.devices()
    if len(devices) < count:
        raise ValueError(
            f"--devices: {count} is more than this machine has, {len(devices)} ({devices[0].platform}); give fewer."
        )
    mesh = jax.sharding.Mesh(np.array(devices[:count]), (AXIS,))
    upscaler = load_model(case.model, accept_license=case.accept_license)
    preset = upscaler.preset
    chain = Chain(Model(preset, DTYPES[case.precision]), schedule_for(preset, Options(steps=case.steps)))
    grid = np.linspace(0, 0.3, case.candidates)
    scales, chunk = even_chunks([Candidate("constant", x, (x,) * case.steps) for x in grid], case.candidate_batch)
    sweep = over_images(mesh, sweep_function(chain, make_score(("psnr",), preset.scale), chunk), common=1)
    params = replicate(mesh, chain.model.rounded(upscaler.params))
    lr, hr = random_pairs(case.images, case.crop, preset.scale)
    seconds, values = 0.0, []
    for _ in range(2):
        began, values = time.perf_counter(), []
        for start in range(0, case.images, count * case.batch):
            some = slice(start, start + count * case.batch)
            values.append(sweep(params, image_keys(0, lr[some]), lr[some], hr[some], scales)["psnr"])
        seconds = time.perf_counter() - began
    return Pass(seconds, np.concatenate(values, axis=1)[: case.candidates], devices[0].platform)


def check(case: Case, counts: Sequence[int], runs: int) -> None:
    """Raise ValueError unless the images spread evenly, so that every device has the same work."""
    sizes = (case.steps, case.crop, case.images, case.candidates, case.batch, case.candidate_batch)
    if min(runs, *counts, *sizes) < 1:
        raise ValueError(
            "--devices, --runs, --images, --candidates, --steps, --crop and the batches must be at least 1."
        )
    if uneven := [n for n in counts if case.images % (n * case.batch)]:
        raise ValueError(
            f"--images: {case.images} cannot be spread evenly over {uneven[0]} devices with {case.batch} per device "
            f"and call; give a multiple of {uneven[0] * case.batch}."
        )


def table(passes: dict[int, list[Pass]], work: int) -> list[dict[str, Any]]:
    """Make one row per number of devices, from the medians of its passes; `work` is candidates x images.

    Raises:
        ValueError: if scores differ from those of one device.
    """
    rows, reference = [], passes[1][0].psnr
    rates = {count: work / statistics.median(one.seconds for one in some) for count, some in passes.items()}
    for count, rate in rates.items():
        difference = max(float(np.abs(one.psnr - reference).max()) for one in passes[count])
        if not difference <= TOLERANCE:
            raise ValueError(f"The scores of {count} devices differ from those of one by {difference:.2g} dB.")
        platform = passes[count][0].platform
        row = {"devices": count, "platform": "cpu, forced" if platform == "cpu" else platform}
        row |= {"seconds": work / rate, "candidate-images/s": rate, "rate / rate of 1": rate / rates[1]}
        rows.append(row | {"efficiency": rate / (count * rates[1]), "largest difference dB": difference})
    return rows


def make_parser() -> argparse.ArgumentParser:
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.bench_scaling", description=__doc__, formatter_class=raw
    )
    add = parser.add_argument
    add("--devices", type=int, nargs="+", default=[1, 2, 4, 8], metavar="N", help="one device is always measured")
    add("--images", type=int, default=8, help="number of images, a multiple of devices x batch")
    add("--candidates", type=int, default=8)
    add("--batch", type=int, default=1, help="images per call and device")
    add("--candidate-batch", type=int, default=8, help="candidates in the network at once")
    add("--runs", type=int, default=3, help="processes per number of devices")
    add("-n", "--model", default="tiny-x4", help=MODEL_HELP)
    add("--accept-license", action="store_true", help="accept a model's non-commercial licence")
    add("--steps", type=int, default=4, help="sampling steps")
    add("--crop", type=int, default=64, help="side of the LR crops in pixels")
    add("--precision", choices=PRECISIONS, default="fp32")
    add("-o", "--output", type=Path, help="write the rows and every run's seconds to this JSON file")
    return parser


def run(args: argparse.Namespace, command: str) -> None:
    """Measure, print the table, write the file."""
    case = Case(**{name: getattr(args, name) for name in (field.name for field in fields(Case))})
    counts = sorted({1, *args.devices})
    check(case, counts, args.runs)
    passes: dict[int, list[Pass]] = {count: [] for count in counts}
    for _ in range(args.runs):
        for count, some in passes.items():
            some.append(in_fresh_process(measure, case, count))
    rows = table(passes, case.candidates * case.images)
    print(f"`{command}`  \n{machine()}\n\n{markdown(rows)}")
    if args.output:
        seconds = {count: [one.seconds for one in some] for count, some in passes.items()}
        write_results(args.output, command, rows=rows, seconds=seconds)


def main(argv: Sequence[str] | None = None) -> int:
    args = make_parser().parse_args(argv)
    return run_benchmark(lambda: run(args, command_line("bench_scaling", argv)))


if __name__ == "__main__":
    sys.exit(main())

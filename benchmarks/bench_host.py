"""Time what the host does for a picture while the devices compute: python -m benchmarks.bench_host [-o FILE]

For every size of the input and every format: reading it (decoding in the process for it, hash of its content), joining
its tiles, and writing the result (comparison with the input, encoding, hash, sidecar). Each runs in one thread, and the
writing overlaps the others. The content is the photograph `examples/wide.webp` as the result, repeated to its size, and
its reduction as the input. A device that needs less time for a picture than the slowest of these waits for the host.
"""

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from benchmarks.harness import command_line, machine, markdown, run_benchmark, write_results
from jaxsr.batch.decoder import DecoderProcess
from jaxsr.batch.enlarge import begin, finish
from jaxsr.batch.jobs import plan_jobs
from jaxsr.batch.recipe import read_recipe
from jaxsr.batch.request import request_for
from jaxsr.cli.shared_options import sides
from jaxsr.imaging import noise, tiling
from jaxsr.imaging.files import read_photo
from jaxsr.imaging.pixels import from_float
from jaxsr.imaging.resize import downsample_bicubic_uint8
from jaxsr.options import Options
from jaxsr.upscaling.loading import load
from jaxsr.upscaling.plan import ImageRun, plan_run
from jaxsr.upscaling.upscaler import Upscaler

PHOTO = Path(__file__).parents[1] / "examples/wide.webp"
PARTS = ("read", "join", "write")


def picture(height: int, width: int, scale: int) -> tuple[np.ndarray, np.ndarray]:
    """Return (input of this size, result)."""
    photo = read_photo(PHOTO).rgb
    rows, columns = scale * height, scale * width
    repeated = np.tile(photo, (-(-rows // photo.shape[0]), -(-columns // photo.shape[1]), 1))[:rows, :columns]
    hr = from_float(repeated, np.uint8)
    return downsample_bicubic_uint8(hr, scale), hr


def join(out: np.ndarray, run: ImageRun, tile: np.ndarray, scale: int) -> None:
    """Join tiles as the command does."""
    for top, rows in tiling.blend_tiles(run.plan, scale, ((i, tile) for i in range(len(run.plan)))):
        out[top : top + len(rows)] = from_float(rows, out.dtype)


def measure(upscaler: Upscaler, size: tuple[int, int], ext: str, runs: int) -> dict[str, Any]:
    """Time the parts for one size (height, width) and format. Returns a row of medians in milliseconds."""
    scale, options = upscaler.preset.scale, Options()
    lr, hr = picture(*size, scale)
    run = plan_run(upscaler.preset, size, options)
    tile = np.random.default_rng(0).random((scale * run.plan.tile[0], scale * run.plan.tile[1], 3), np.float32)
    seconds: dict[str, list[float]] = {name: [] for name in PARTS}
    with tempfile.TemporaryDirectory() as name, DecoderProcess() as decoder:
        source = Path(name, f"in.{ext}")
        Image.fromarray(lr).save(source, quality=95)
        decoder.read(source)
        for number in range(runs):
            (job,) = plan_jobs([(source, Path(source.name))], Path(name, str(number)), suffix="", ext=None, n_samples=1)
            times = [time.perf_counter()]
            request = request_for(job, model="tiny-x4", model_sha256=upscaler.sha256, options=options, quality=95)
            begun = begin(upscaler, job, request, read_recipe(), read=decoder.read)
            (one,) = begun.pictures
            noise.content_hash(one.rgb)
            times.append(time.perf_counter())
            join(one.out, run, tile, scale)
            times.append(time.perf_counter())
            one.out[:] = hr
            start = time.perf_counter()
            finish(upscaler, begun, [run])
            times.append(times[-1] + time.perf_counter() - start)
            for part, first, last in zip(PARTS, times, times[1:], strict=False):
                seconds[part].append(last - first)
    medians = {part: statistics.median(found) for part, found in seconds.items()}
    row = {"input": f"{size[1]}x{size[0]}", "format": ext, "MP of the result": hr.shape[0] * hr.shape[1] / 1e6}
    row |= {f"{part} ms": 1e3 * found for part, found in medians.items()}
    return row | {"pictures/s of one host": 1 / max(medians["read"] + medians["join"], medians["write"])}


def make_parser() -> argparse.ArgumentParser:
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(prog="python -m benchmarks.bench_host", description=__doc__, formatter_class=raw)
    add = parser.add_argument
    sizes = [(128, 128), (256, 256), (375, 500)]
    add("--sizes", type=sides, nargs="+", default=sizes, metavar="WIDTHxHEIGHT", help="sizes of the inputs in pixels")
    add("--formats", nargs="+", default=["png", "jpg", "webp"], choices=["png", "jpg", "webp"])
    add("--model", default="tiny-x4", help="model whose tiles are joined")
    add("--runs", type=int, default=5)
    add("-o", "--output", type=Path, help="write the rows to this JSON file")
    return parser


def run(args: argparse.Namespace, command: str) -> None:
    """Measure, print the table, write the file."""
    if args.runs < 1:
        raise ValueError("--runs: must be at least 1.")
    upscaler = load(args.model)
    rows = [measure(upscaler, size, ext, args.runs) for size in args.sizes for ext in args.formats]
    print(f"`{command}`  \n{machine()}\n\n{markdown(rows)}")
    if args.output:
        write_results(args.output, command, rows=rows)


def main(argv: Sequence[str] | None = None) -> int:
    args = make_parser().parse_args(argv)
    return run_benchmark(lambda: run(args, command_line("bench_host", argv)))


if __name__ == "__main__":
    sys.exit(main())

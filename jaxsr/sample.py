"""Enlarge photographs: python -m jaxsr.sample -i photo.jpg -o out/"""

import argparse
import shlex
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jaxsr

if TYPE_CHECKING:
    from jaxsr.jobs import Job
    from jaxsr.pipeline import Options, Upscaler

SOME_FAILED = 3


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m jaxsr.sample",
        description=__doc__,
        epilog="exit code: 0 all done, 1 error, 2 wrong usage, 3 some images failed (they are listed at the end)",
    )
    add = parser.add_argument
    add("-i", "--input", type=Path, nargs="+", metavar="PATH", help="images, or folders of images")
    add("-o", "--output", type=Path, default=Path("out"), metavar="DIR", help="folder for the results (default: out)")
    add("-n", "--model", default="tiny-x4", metavar="NAME", help="a known model or a checkpoint (default: tiny-x4)")
    add("--list-models", action="store_true", help="list the known models with their licences, and stop")
    add("--accept-license", action="store_true", help="accept a model's non-commercial licence")
    add("--steps", type=int, help="sampling steps (default: the model's)")
    add("--sampler", help="ancestral, deterministic or heun (default: the model's)")
    add("--thinning", choices=("ends", "released"), default="ends", help="which trained steps fewer steps keep")
    add("--seed", type=int, default=0, help="every random choice comes from it (default: 0)")
    add("--n-samples", type=int, default=1, metavar="N", help="different results per image (default: 1)")
    add("-t", "--tile", type=_tile, default="auto", metavar="N", help="auto, off, or the side in input pixels")
    add("--overlap", type=int, metavar="N", help="overlap of tiles in input pixels (default: an eighth)")
    add("--blend", choices=("feather", "mean"), default="feather", help="mean: as in the released ResShift tool")
    add("--batch", type=int, default=1, metavar="N", help="tiles per call of the network; the result is the same")
    add("--precision", choices=("fp32", "bf16"), default="fp32", help="compute precision of the network")
    add("-r", "--recursive", action="store_true", help="look into folders below; the results mirror the tree")
    add("--suffix", default="", help="added to the name of each result")
    add("-f", "--ext", choices=("png", "jpg", "webp", "tif"), help="format of the results (default: as the input)")
    add("--quality", type=int, default=95, metavar="Q", help="of JPEG and WebP, 1 to 100 (default: 95)")
    add("--overwrite", action="store_true", help="make results again that are there already")
    add("--dry-run", action="store_true", help="show tiles, memory and time, and write nothing")
    add("--version", action="version", version=f"jaxsr {jaxsr.__version__}")
    return parser


def _tile(text: str) -> int | str:
    return text if text in ("auto", "off") else int(text)


def main(argv: list[str] | None = None) -> int:
    """Run the command; returns the exit code."""
    argv = sys.argv[1:] if argv is None else argv
    parser = make_parser()
    args = parser.parse_args(argv)
    if args.list_models:
        return list_models()
    if not args.input:
        parser.error("give at least one image or folder with -i")
    for name in ("n_samples", "batch"):
        if getattr(args, name) < 1:
            parser.error(f"--{name.replace('_', '-')} must be at least 1")
    try:
        return run(args, argv)
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("stopped; run the same command again to go on", file=sys.stderr)
        return 130


def list_models() -> int:
    from jaxsr.registry import known_models

    for card in known_models():
        terms = f"{card.licence.name}{' (non-commercial)' if card.licence.noncommercial else ''}"
        print(f"{card.name:34} x{card.scale}  {card.description}; {terms}")
    return 0


def run(args: argparse.Namespace, argv: list[str]) -> int:
    """Find the images, load the model, make what is not there yet; returns the exit code."""
    from jaxsr.jobs import find_inputs, plan_jobs

    inputs = find_inputs(args.input, args.recursive)
    jobs = plan_jobs(inputs, args.output, suffix=args.suffix, ext=args.ext, n_samples=args.n_samples)
    from jaxsr.pipeline import Options, load, schedule_for
    from jaxsr.runtime import enable_compilation_cache

    enable_compilation_cache()
    fields = ("steps", "sampler", "thinning", "tile", "overlap", "blend", "precision")
    options = Options(**{name: getattr(args, name) for name in fields})
    upscaler = load(args.model, accept_license=args.accept_license)
    schedule_for(upscaler.preset, options)  # refuse a wrong --steps before any work
    if args.dry_run:
        return dry_run(upscaler, jobs, options, args)
    return make_all(upscaler, jobs, options, args, argv)


def make_all(
    upscaler: "Upscaler", jobs: list["Job"], options: "Options", args: argparse.Namespace, argv: list[str]
) -> int:
    from jaxsr.imaging.files import ImageFileError
    from jaxsr.jobs import ExistsError, is_done, write_result

    made, skipped, failed, began = 0, 0, [], time.perf_counter()
    with progress_bar(len(jobs)) as report:
        for job in jobs:
            try:
                decisive = decisive_record(upscaler, job, options, args)
                if is_done(job, decisive, overwrite=args.overwrite):
                    skipped += 1
                else:
                    photo, record = make_one(upscaler, job, options, args, report)
                    again = {"command": shlex.join(["python", "-m", "jaxsr.sample", *argv])}
                    write_result(job, photo, decisive | record | again, quality=args.quality)
                    made += 1
            except (ImageFileError, ExistsError, FloatingPointError, OSError, MemoryError) as error:
                failed.append(str(error) or f"{job.source}: {type(error).__name__}")
            report(job, 1.0, done=True)
    rate = f" ({made / (time.perf_counter() - began):.2g} images/s)" if made else ""
    print(f"{made} made{rate}, {skipped} there already, {len(failed)} failed; results in {args.output}")
    for reason in failed:
        print(f"failed: {reason}", file=sys.stderr)
    return SOME_FAILED if failed else 0


def decisive_record(upscaler: "Upscaler", job: "Job", options: "Options", args: argparse.Namespace) -> dict[str, Any]:
    """All that decides the bits of a result."""
    from jaxsr.checkpoint import sha256_file
    from jaxsr.imaging.files import ImageFileError

    if not job.source.is_file():
        raise ImageFileError(f"{job.source}: no such file; check the name")
    chosen = asdict(options) | {"seed": args.seed, "sample": job.sample, "quality": args.quality}
    return {
        "version": jaxsr.__version__,
        "input_sha256": sha256_file(job.source),
        "model_sha256": upscaler.sha256,
        "options": chosen,
    }


def make_one(upscaler: "Upscaler", job: "Job", options: "Options", args: argparse.Namespace, report) -> tuple:
    """The enlarged photograph and what its sidecar tells beside the options."""
    import jax
    import numpy as np

    from jaxsr.imaging.alpha import bleed, upscale_alpha
    from jaxsr.imaging.files import read_photo
    from jaxsr.pipeline import plan_tiles, schedule_for

    photo, scale, began = read_photo(job.source), upscaler.preset.scale, time.perf_counter()
    rgb = photo.rgb if photo.alpha is None else bleed(photo.rgb, photo.alpha)
    height, width = (scale * n for n in rgb.shape[:2])
    enlarged = np.empty((height, width, 3), np.float32)
    choices = asdict(options) | {"seed": args.seed, "sample": job.sample, "batch": args.batch}
    for y0, rows in upscaler.bands(rgb, **choices, progress=lambda done, total: report(job, done / total)):
        enlarged[y0 : y0 + len(rows)] = rows
    alpha = None if photo.alpha is None else upscale_alpha(photo.alpha, scale)
    plan = plan_tiles(upscaler.preset, rgb.shape[:2], options)
    record = {
        "input": str(job.source),
        "output": str(job.target),
        "model": args.model,
        "preset": upscaler.preset.to_dict(),
        "steps": schedule_for(upscaler.preset, options).steps,
        "sampler": options.sampler or upscaler.preset.sampler,
        "tile": plan.tile,
        "overlap": plan.overlap,
        "tiles": len(plan),
        "size": [width, height],
        "seconds": round(time.perf_counter() - began, 3),
        "device": jax.devices()[0].device_kind,
        "jax": jax.__version__,
    }
    return replace(photo, rgb=enlarged, alpha=alpha), record


def dry_run(upscaler: "Upscaler", jobs: list["Job"], options: "Options", args: argparse.Namespace) -> int:
    """Print the plan: size, tiles, memory of the compiled program and the time of its tiles, measured on one."""
    from jaxsr.imaging.files import ImageFileError, read_photo
    from jaxsr.pipeline import measure, plan_tiles

    failed, costs = 0, {}
    for job in jobs:
        try:
            size = read_photo(job.source).rgb.shape[:2]
        except ImageFileError as error:
            print(f"failed: {error}", file=sys.stderr)
            failed += 1
            continue
        plan = plan_tiles(upscaler.preset, size, options)
        if plan.tile not in costs:
            costs[plan.tile] = measure(upscaler, plan.tile, args.batch, options)
        seconds, megabytes = costs[plan.tile]
        height, width = (upscaler.preset.scale * n for n in size)
        total = -(-len(plan) // args.batch) * seconds
        print(
            f"{job.source} {size[1]}x{size[0]} -> {job.target} {width}x{height}: {len(plan)} tiles of {plan.tile}, "
            f"{megabytes:.0f} MB for the network, {2 * 12 * width * height / 1e6:.0f} MB for the image, "
            f"about {total:.1f} s"
        )
    return SOME_FAILED if failed else 0


@contextmanager
def progress_bar(total: int) -> Iterator[Any]:
    """A bar with images/s on a terminal; nothing elsewhere. Yields report(job, fraction of the image, done=False)."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[rate]}"))
    began, finished = time.perf_counter(), 0
    with Progress(*columns, TimeRemainingColumn(), console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task("", total=total, rate="")

        def report(job: "Job", fraction: float, *, done: bool = False) -> None:
            nonlocal finished
            position = finished + fraction
            rate = f"{position / max(time.perf_counter() - began, 1e-9):.2g} images/s"
            bar.update(task, completed=position, description=job.source.name, rate=rate)
            finished += done

        yield report


if __name__ == "__main__":
    sys.exit(main())

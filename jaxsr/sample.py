"""Enlarge photographs: python -m jaxsr.sample -i photo.jpg -o out/"""

import argparse
import io
import sys
import time
from dataclasses import fields, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from jaxsr.arguments import find_conflict, join_numbers, make_parser
from jaxsr.command import EXPECTED, IMAGE_FAILED, SOME_FAILED, exit_code, one_line, say

if TYPE_CHECKING:
    from jaxsr.guide_files import Recipe
    from jaxsr.jobs import Job
    from jaxsr.pipeline import Upscaler
    from jaxsr.results import Made


def main(argv: list[str] | None = None) -> int:
    """Run the command; returns the exit code."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # names of files may be no text
    parser = make_parser()
    args = parser.parse_args(join_numbers(sys.argv[1:] if argv is None else argv))
    if args.list_models:
        return list_models()
    if not args.input:
        parser.error("give at least one image or folder with -i")
    if any(part in args.suffix for part in "/\\"):
        parser.error("argument --suffix: must be part of a file name")
    if reason := find_conflict(args):
        parser.error(reason)
    return exit_code(lambda: run(args))


def list_models() -> int:
    from jaxsr.registry import known_models

    for card in known_models():
        terms = f"{card.licence.name}{' (non-commercial)' if card.licence.noncommercial else ''}"
        print(f"{card.name:34} x{card.scale}  {card.description}; {terms}")
    return 0


def run(args: argparse.Namespace) -> int:
    """Find the images, load the model, make what is not there yet; returns the exit code."""
    from jaxsr.jobs import check_output, find_inputs, plan_jobs

    check_output(args.output)
    inputs = find_inputs(args.input, args.output, recursive=args.recursive)
    if args.reference and len(inputs) > 1:
        raise ValueError("--reference: shows a part of one image, so give one with --input.")
    suffix = f"{args.suffix}_strip" if args.strip else args.suffix  # beside the result that is chosen from it
    jobs = plan_jobs(inputs, args.output, suffix=suffix, ext=args.ext, n_samples=args.n_samples)
    from jaxsr.guide_files import read_recipe
    from jaxsr.pipeline import Options, load, plan_run
    from jaxsr.runtime import enable_compilation_cache

    options = Options(**{field.name: getattr(args, field.name) for field in fields(Options)})
    upscaler = load(args.model, accept_license=args.accept_license)
    enable_compilation_cache(upscaler.preset, args.precision)
    if args.preset:
        options = upscaler.with_preset(options, args.preset, args.calibration)
    resolved = plan_run(upscaler.preset, (1, 1), options, args.batch).options  # refuses what does not fit the model
    recipe = read_recipe(args, replace(options, steps=resolved.steps, sampler=resolved.sampler))
    missing, done, failed = find_missing(upscaler, jobs, recipe, args)
    act = dry_run if args.dry_run else make_all
    return act(upscaler, missing, done, failed, recipe, args)


def find_missing(
    upscaler: "Upscaler", jobs: list["Job"], recipe: "Recipe", args: argparse.Namespace
) -> tuple[list["Job"], list["Job"], list[str]]:
    """The jobs to do, those that are done already, and why some may not be done."""
    from jaxsr.jobs import is_done
    from jaxsr.results import wanted

    missing, done, failed = [], [], []
    for job in jobs:
        try:
            there = not args.overwrite and is_done(job, wanted(upscaler, job, recipe, recipe.options, args))
            (done if there else missing).append(job)
        except EXPECTED as error:
            failed.append(_reason(job, error))
    return missing, done, failed


def _reason(job: "Job", error: BaseException) -> str:
    text = str(error) or type(error).__name__
    return text if str(job.source) in text or str(job.target) in text else f"{job.source}: {text}"


def make_all(
    upscaler: "Upscaler",
    missing: list["Job"],
    done: list["Job"],
    failed: list[str],
    recipe: "Recipe",
    args: argparse.Namespace,
) -> int:
    """Make every missing result; one that fails does not stop the others. Returns the exit code."""
    from jaxsr.jobs import remove_leftovers
    from jaxsr.progress import image_bar
    from jaxsr.results import make

    for folder in {job.target.parent for job in (*missing, *done)}:
        remove_leftovers(folder)
    results: dict[Job, Made] = {}
    began = time.perf_counter()
    with image_bar(len(missing)) as report:
        for index, job in enumerate(missing):
            name = one_line(job.source.name)
            report(index, name, 0, 0)
            try:
                results[job] = make(upscaler, job, recipe, args, partial(report, index, name))
            except IMAGE_FAILED as error:
                failed.append(_reason(job, error))
            report(index + 1, name, 0, 0)
    made = len(results)
    rate = f" ({made / (time.perf_counter() - began):.2g} images/s)" if made else ""
    where = f"; results in {args.output}" if made or done else ""
    say(f"{made} made{rate}, {len(done)} there already, {len(failed)} failed{where}")
    if results:
        mean = sum(result.consistency for result in results.values()) / made
        print(f"LR-consistency: {mean:.2f} dB on average (results shrunk again, against the input)")
    _list_losses(results)
    return _list_failures(failed)


def _list_losses(results: dict["Job", "Made"]) -> None:
    """One line for each kind of loss, with the number of images that it befell; nothing where there was none."""
    images: dict[str, set[Path]] = {}
    for job, result in results.items():
        for loss in result.lost:
            images.setdefault(loss, set()).add(job.source)
    for loss, sources in images.items():
        print(f"note: {len(sources)} image{'s' if len(sources) > 1 else ''} {loss}")


def _list_failures(failed: list[str]) -> int:
    for reason in failed:
        say(f"failed: {reason}", wrong=True)
    return SOME_FAILED if failed else 0


def dry_run(
    upscaler: "Upscaler",
    missing: list["Job"],
    done: list["Job"],
    failed: list[str],
    recipe: "Recipe",
    args: argparse.Namespace,
) -> int:
    """Print what a run would do: sizes, tiles, memory and time, measured on one call per size of tile."""
    from jaxsr.results import foresee

    for job in done:
        say(f"{job.target}: there already")
    costs, planned, total = {}, 0, 0.0
    for job in missing:
        try:
            line, seconds = foresee(upscaler, job, recipe, args.batch, costs)
        except IMAGE_FAILED as error:
            failed.append(_reason(job, error))
            continue
        planned, total = planned + 1, total + seconds
        say(line)
    print(f"{planned} to make in about {total:.0f} s, {len(done)} there already, {len(failed)} would fail")
    return _list_failures(failed)


if __name__ == "__main__":
    sys.exit(main())

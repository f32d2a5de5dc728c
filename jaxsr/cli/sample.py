"""Enlarge photographs: jaxsr sample photo.jpg -o out.png"""

import argparse
import gc
import io
import math
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from jaxsr.cli.exits import SOME_FAILED, exit_code, one_line, say, say_left_out
from jaxsr.cli.sample_options import find_conflict, make_parser
from jaxsr.cli.sample_request import Work, prepare
from jaxsr.cli.shared_options import join_hosts, leave_hosts
from jaxsr.errors import EXPECTED, IMAGE_FAILED

if TYPE_CHECKING:
    from jaxsr.batch.enlarge import Made
    from jaxsr.batch.jobs import Job
    from jaxsr.batch.request import Request


def main(argv: list[str] | None = None) -> int:
    """Run the command and return its exit code."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # names of files may contain bytes that are not text
    args = parse(argv)
    return exit_code(list_models if args.list_models else lambda: run(args))


def parse(argv: list[str] | None) -> argparse.Namespace:
    """Parse the arguments. Contradictions exit with code 2, as argparse does."""
    parser = make_parser()
    args = parser.parse_args(argv)
    args.input = list(dict.fromkeys([*args.paths, *args.input]))
    if args.list_models:
        return args
    if not args.input:
        parser.error("give at least one image or folder, as a word or with -i")
    if any(part in args.suffix for part in "/\\"):
        parser.error("argument --suffix: must be part of a file name")
    if reason := find_conflict(args):
        parser.error(reason)
    return args


def list_models() -> int:
    """Print the known models with what they need and their licences, one per line. Return the exit code."""
    from jaxsr.hub.cards import known_models

    for card in known_models():
        needs = "; needs --mask" if card.needs_mask else ""
        terms = f"{card.licence.name}{' (non-commercial)' if card.licence.noncommercial else ''}"
        print(f"{card.name:34} x{card.scale}  {card.description}{needs}; {terms}")
    return 0


@dataclass(frozen=True, eq=False)
class Jobs:
    """The jobs of a run: the missing ones, the finished ones, and the reasons for the failed ones.

    `before` has the states of the missing results' files, which another process may change.
    """

    missing: "list[Job]"
    done: "list[Job]"
    failed: list[str]
    before: "dict[Job, tuple[int, ...]]"


def run(args: argparse.Namespace) -> int:
    """Find the images, load the model, and make the missing results. Return the exit code."""
    from jaxsr.batch.jobs import (
        check_new_file,
        check_output,
        find_inputs,
        in_shard,
        is_file_name,
        name_result,
        plan_jobs,
    )

    named = args.output if is_file_name(args.output) else None
    if named:
        args.output = named.parent
    check_output(args.output)
    inputs = find_inputs(args.input, args.output, recursive=args.recursive)
    if args.reference and len(inputs) > 1:
        raise ValueError("--reference: shows a part of one image; give only that image with --input.")
    suffix = f"{args.suffix}_strip" if args.strip else args.suffix  # a strip must not replace the result of the image
    ext = args.ext or ("png" if args.like or args.mask else None)  # JPEG would change the known pixels
    if named:
        given = [name for name in ("ext", "suffix", "like") if getattr(args, name)]
        jobs = name_result(inputs, named, n_samples=args.n_samples, given=given)
    else:
        jobs = plan_jobs(inputs, args.output, suffix=suffix, ext=ext, n_samples=args.n_samples)
    joined = join_hosts(args)
    shard = _own_share() if joined else args.shard or (1, 1)
    jobs = in_shard(jobs, shard) if shard != (1, 1) else jobs
    if shard[0] == 1:
        say_left_out(args.input, recursive=args.recursive)
    if args.save_calibration:
        check_new_file("--save-calibration", args.save_calibration, overwrite=args.overwrite)
    with _imports_uncollected():
        work = prepare(args)
    sorted_jobs = find_missing(work, jobs, overwrite=args.overwrite)
    if args.save_calibration and sorted_jobs.done:
        raise ValueError(
            f"--save-calibration: {sorted_jobs.done[0].target} is there already, so nothing would be fitted; give "
            "--overwrite to make it again."
        )
    code = dry_run(work, sorted_jobs) if args.dry_run else make_all(work, sorted_jobs)
    leave_hosts(joined)
    return code


@contextmanager
def _imports_uncollected() -> Iterator[None]:
    """Stop the garbage collector while JAX is imported, and let it pass over what is there afterwards.

    It would search a million new objects several times, which takes a tenth of the start.
    """
    before = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if before:
            gc.enable()


def _own_share() -> tuple[int, int]:
    """Return the shard of this process among those of a run."""
    import jax

    return jax.process_index() + 1, jax.process_count()


def find_missing(work: Work, jobs: "list[Job]", *, overwrite: bool) -> Jobs:
    """Sort the jobs into missing, finished and failed ones.

    A job fails if its result was made from another request, or if a file cannot be read.
    """
    from jaxsr.batch.jobs import check_name
    from jaxsr.batch.sidecar import is_done

    sorted_jobs = Jobs([], [], [], {})
    for job in jobs:
        try:
            check_name(job)
            state = _state(job)
            finished = not overwrite and state != () and is_done(job, work.request(job))
            (sorted_jobs.done if finished else sorted_jobs.missing).append(job)
            sorted_jobs.before[job] = state
        except EXPECTED as error:
            sorted_jobs.failed.append(_reason(job, error))
    return sorted_jobs


def _state(job: "Job") -> tuple[int, ...]:
    """Return what tells whether a result's file has been written anew; () without a file."""
    try:
        found = job.target.stat()
    except (FileNotFoundError, NotADirectoryError):
        return ()
    return found.st_dev, found.st_ino, found.st_mtime_ns


def _reason(job: "Job", error: BaseException) -> str:
    text = str(error) or type(error).__name__
    return text if str(job.source) in text or str(job.target) in text else f"{job.source}: {text}"


def make_all(work: Work, jobs: Jobs) -> int:
    """Make every missing result. A failed image does not stop the others. Return the exit code."""
    from jaxsr.batch.decoder import DecoderProcess
    from jaxsr.batch.enlarge import Begun, begin, make_many
    from jaxsr.batch.sidecar import is_done
    from jaxsr.imaging.files import read_photo
    from jaxsr.runtime.locks import Turns
    from jaxsr.runtime.progress import image_bar
    from jaxsr.storage import remove_leftovers

    for folder in {job.target.parent for job in (*jobs.missing, *jobs.done)}:
        remove_leftovers(folder)
    results: dict[Job, Made] = {}
    numbers, began, ended = {job: i for i, job in enumerate(jobs.missing)}, time.perf_counter(), 0
    turns = Turns([job.target for job in jobs.missing])
    with image_bar(len(jobs.missing)) as report, DecoderProcess() as decoder, turns:
        read = decoder.read if len(jobs.missing) > 1 else read_photo

        def show(job: "Job", done: int = 0, total: int = 0) -> None:
            report(ended, one_line(job.source.name), done, total)

        def end(job: "Job") -> None:
            nonlocal ended
            turns.free(numbers[job])
            ended += 1
            show(job)

        def begun() -> "Iterator[Begun]":
            for job in (jobs.missing[turn] for turn in turns):
                show(job)
                try:
                    request = work.request(job)
                    if jobs.before[job] != _state(job) and is_done(job, request):
                        jobs.done.append(job)  # another process has made it meanwhile
                        end(job)
                        continue
                    yield begin(work.upscaler, job, request, work.recipe, read=read, progress=partial(show, job))
                except IMAGE_FAILED as error:
                    jobs.failed.append(_reason(job, error))
                    end(job)

        sharing = {"batch": work.batch, "devices": work.devices, "accept_license": work.accept_license}
        while turns.wait():
            for one, made in make_many(work.upscaler, begun(), **sharing):
                try:
                    if isinstance(made, BaseException):
                        raise made
                    results[one.job] = made
                    if work.save_calibration:
                        save_calibration(work, one.request, made)
                except IMAGE_FAILED as error:
                    jobs.failed.append(_reason(one.job, error))
                end(one.job)
    count = len(results)
    rate = f" ({count / (time.perf_counter() - began):.2g} images/s)" if count else ""
    where = f"; results in {work.output}" if count or jobs.done else ""
    say(f"{count} made{rate}, {len(jobs.done)} there already, {len(jobs.failed)} failed{where}")
    _say_of_all_hosts(count, len(jobs.done), len(jobs.failed))
    if results:
        known = [result.consistency for result in results.values() if not math.isnan(result.consistency[0])]
        means = [sum(panels) / len(panels) for panels in zip(*known, strict=True)]
        if means:
            shown, where = ", ".join(f"{mean:.2f}" for mean in means), " panel by panel," if len(means) > 1 else ""
            print(f"LR-consistency:{where} {shown} dB on average (results shrunk again, against the input)")
        drifts = [result.drift for result in results.values() if not math.isnan(result.drift)]
        if drifts:
            mean, most = sum(drifts) / len(drifts), max(drifts)
            print(f"mean colour drift: {mean:.2f} of 255 grey levels on average, {most:.2f} at most")
    _list_notes(results)
    return _list_failures(jobs.failed)


def _say_of_all_hosts(*counts: int) -> None:
    """Print in process 0 of several what all of them have made together."""
    import jax
    import numpy as np

    from jaxsr.runtime.devices import gather_numbers

    if jax.process_count() == 1:
        return
    made, done, failed = gather_numbers(np.array(counts)).sum(0)
    if jax.process_index() == 0:
        say(f"all {jax.process_count()} processes: {made} made, {done} there already, {failed} failed")


def save_calibration(work: Work, request: "Request", made: "Made") -> None:
    """Write what was fitted to the reference of the image, for other images."""
    from jaxsr.upscaling.fitted_calibration import fitted_calibration

    assert work.save_calibration is not None
    assert made.run.scales is not None
    files = {"input": request.input, **request.guide_files}
    data = {f"{name}_sha256": file.sha256 for name, file in files.items()}
    data |= {"reference_box": request.reference_box, "feather": request.feather}
    fitted_calibration(
        work.upscaler.preset,
        (request.model, work.upscaler.sha256),
        made.run.options,
        made.run.scales,
        objective=request.objective,
        data=data,
        seed=request.seed,
    ).write(work.save_calibration)
    say(f"written: {work.save_calibration}")


def _list_notes(results: "dict[Job, Made]") -> None:
    """Print one line for each note, with the number of images that it affects."""
    images: dict[str, set[Path]] = {}
    for job, result in results.items():
        for note in result.notes:
            images.setdefault(note, set()).add(job.source)
    for note, sources in images.items():
        print(f"note: {len(sources)} image{'s' if len(sources) > 1 else ''} {note}")


def _list_failures(failed: list[str]) -> int:
    for reason in failed:
        say(f"failed: {reason}", wrong=True)
    return SOME_FAILED if failed else 0


def dry_run(work: Work, jobs: Jobs) -> int:
    """Print what a run would do: sizes, tiles, memory and time. One call is measured for each shape of it."""
    from jaxsr.batch.forecast import Costs, foresee

    for job in jobs.done:
        say(f"{job.target}: there already")
    costs: Costs = {}
    planned, total = 0, 0.0
    for job in jobs.missing:
        try:
            line, seconds = foresee(work.upscaler, job, work.request(job), work.recipe, costs)
        except IMAGE_FAILED as error:
            jobs.failed.append(_reason(job, error))
            continue
        planned, total = planned + 1, total + seconds
        say(line)
    print(f"{planned} to make in about {total:.0f} s, {len(jobs.done)} there already, {len(jobs.failed)} would fail")
    return _list_failures(jobs.failed)

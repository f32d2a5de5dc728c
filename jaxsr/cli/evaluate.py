"""Score results against originals: jaxsr evaluate --pred OUT --target HR -o result.json

jaxsr evaluate -n tiny-x4 --dataset set5 --data DIR --protocol set5 -o result.json   samples, then scores
jaxsr evaluate table a.json b.json --format md                                       results side by side
jaxsr evaluate compare a.json b.json                                                 two results by image
jaxsr evaluate suite --data DIR -o FOLDER                                            the paper's table
jaxsr evaluate pin --dataset DIR -o mine.json                                        protocol of your images
jaxsr evaluate protocols                                                             the known protocols
"""

import shlex
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TypeVar

from jaxsr.cli.evaluate_commands import COMMANDS
from jaxsr.cli.evaluate_options import parse
from jaxsr.cli.exits import SOME_FAILED, exit_code, one_line, say
from jaxsr.cli.shared_options import check_json_output, join_hosts, leave_hosts
from jaxsr.storage import part_file, write_whole

if TYPE_CHECKING:
    from jaxsr.evaluation.result import Result
    from jaxsr.evaluation.run import Evaluation


T = TypeVar("T")


def main(argv: list[str] | None = None) -> int:
    """Run a command. Return 0 if its output is written, 1 after one sentence on an error, 3 if numbers are missing."""
    words = sys.argv[1:] if argv is None else argv
    command: Callable[[Sequence[str]], int] = COMMANDS.get(words[0], score) if words else score
    run = lambda: command(words if command is score else words[1:])  # noqa: E731
    return exit_code(run, smaller="a smaller --batch")


def score(argv: Sequence[str]) -> int:
    """Score a folder of results, or a model on a data set. Return the exit code."""
    args = parse(argv, __doc__)
    check_json_output(args.output, overwrite=args.overwrite, example="result.json")
    joined = join_hosts(args)
    from jaxsr.cli.evaluate_request import make_evaluation
    from jaxsr.evaluation.run import evaluate, score_shard
    from jaxsr.evaluation.sheet import default_metric, worst, write_sheet
    from jaxsr.evaluation.tables import render
    from jaxsr.runtime.compilation import enable_compilation_cache

    job = make_evaluation(args, shlex.join(["python", "-m", "jaxsr.evaluate", *argv]))
    enable_compilation_cache()  # after make_evaluation, which decides about the cache for a model
    if args.worst_by and args.worst_by not in job.metrics:
        raise ValueError(f"--worst-by: {args.worst_by} is not measured; choose among {', '.join(job.metrics)}.")
    for note in job.method.notes if job.method else ():
        say(f"note: {note}", wrong=True)
    if args.shard:
        failed = _with_bar(job, lambda job: score_shard(job, args.output, args.shard, overwrite=args.overwrite))
        for why in failed:
            say(f"failed: {why}", wrong=True)
        say(f"scored: part {args.shard[0]} of {args.shard[1]}; the same command without --shard writes the result")
        return SOME_FAILED if failed else 0
    written = [args.output]

    def write_extras(found: "Result") -> None:
        if args.csv:
            write_whole(args.csv, found.csv())
            written.append(args.csv)
        metric = args.worst_by or default_metric(found)
        if args.worst and metric and worst(found, metric):
            write_sheet(args.worst, job, found, metric)
            written.append(args.worst)

    result = _with_bar(job, lambda job: evaluate(job, args.output, overwrite=args.overwrite, extras=write_extras))
    code = SOME_FAILED if result.failed or result.without else 0
    if not leave_hosts(joined):
        return code
    print(render([result], "md"))
    say(f"written: {', '.join(map(str, written))}")
    if args.worst and args.worst not in written:
        say("no contact sheet: there is no number that ranks the images", wrong=True)
    for reason in result.failed:
        say(f"failed: {reason}", wrong=True)
    if result.without:
        part = part_file(args.output)
        advice = f"; {part} is kept, so that the same command resumes once they are available" if part.exists() else ""
        say(f"not computed: {', '.join(result.without)} (reasons below the table){advice}", wrong=True)
    return code


def _with_bar(job: "Evaluation", run: "Callable[[Evaluation], T]") -> T:
    """Run an evaluation under a progress bar."""
    from dataclasses import replace

    from jaxsr.runtime.progress import image_bar

    with image_bar(len(job.items) * len(job.seeds)) as report:
        return run(replace(job, report=lambda count, name: report(count, one_line(name), 0, 0)))

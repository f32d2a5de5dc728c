"""The other commands of evaluation: table, compare, suite, pin and protocols. Their parsers do not import JAX."""

import argparse
import shlex
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from jaxsr.cli.exits import SOME_FAILED, say
from jaxsr.cli.parser import ListOf, Parser, program, some_of
from jaxsr.cli.shared_options import (
    add_data,
    add_dataset,
    add_limit,
    add_lr,
    add_metrics,
    add_protocol,
    add_seeds,
    whole,
)
from jaxsr.storage import write_whole

SETS = ("set5", "set14", "div2k", "realsr", "kodak")


def table(argv: Sequence[str]) -> int:
    """Print a table of results side by side. Return the exit code."""
    parser = Parser(prog=f"{program('evaluate')} table", description="Print results side by side.")
    parser.add_argument("results", type=Path, nargs="+", metavar="JSON")
    parser.add_argument("--format", choices=("md", "latex", "csv"), default="md")
    parser.add_argument("--against", metavar="NAME", help="add the difference from this result, with its interval")
    args = parser.parse_args(argv)
    from jaxsr.evaluation.result import Result
    from jaxsr.evaluation.tables import render

    print(render([Result.read(path) for path in args.results], args.format, against=args.against), end="")
    return 0


def compare(argv: Sequence[str]) -> int:
    """Print two results image by image. Return the exit code."""
    parser = Parser(prog=f"{program('evaluate')} compare", description="Print two results image by image.")
    parser.add_argument("results", type=Path, nargs=2, metavar="JSON")
    args = parser.parse_args(argv)
    from jaxsr.evaluation.result import Result
    from jaxsr.evaluation.tables import compare

    print(compare(*(Result.read(path) for path in args.results)), end="")
    return 0


def protocols(argv: Sequence[str]) -> int:
    """Print the protocols that come with jaxsr. Return the exit code."""
    Parser(prog=f"{program('evaluate')} protocols", description="List the protocols of jaxsr.").parse_args(argv)
    from jaxsr.evaluation.protocol_files import known_protocols, load_protocol

    for name in known_protocols():
        print(f"{name:14} {load_protocol(name).about}")
    return 0


def pin(argv: Sequence[str]) -> int:
    """Write a protocol with the hashes of a data set's images. Return the exit code."""
    text = "Write a protocol that accepts only the images of one data set."
    parser = Parser(prog=f"{program('evaluate')} pin", description=text)
    add = parser.add_argument
    add_dataset(parser, required=True)
    add_lr(parser)
    add_protocol(parser, "protocol that gives the remaining settings (default: plain)", "plain")
    add("-o", "--output", type=Path, required=True, metavar="JSON", help="file to write; the protocol takes its name")
    args = parser.parse_args(argv)
    from jaxsr.evaluation.datasets import open_dataset
    from jaxsr.evaluation.pin import pinned
    from jaxsr.evaluation.protocol_files import load_protocol

    if args.output.suffix != ".json" or args.output.exists():
        raise ValueError(f"--output: give the name of a new .json file, not {args.output}.")
    items = open_dataset(args.dataset, args.data, args.lr)
    write_whole(args.output, pinned(load_protocol(args.protocol), items, args.output.stem))
    say(f"written: {args.output}, {len(items)} images")
    return 0


def suite(argv: Sequence[str]) -> int:
    """Evaluate all methods of the paper's table, and print it. Return the exit code."""
    parser = Parser(
        prog=f"{program('evaluate')} suite",
        description="Evaluate bicubic, results of other programs, and models on several data sets: plain at several "
        "numbers of steps, by Algorithm 1 and three presets, and guided by the original.",
    )
    add = parser.add_argument
    add_data(parser, required=True)
    add(
        "-o",
        "--output",
        type=Path,
        required=True,
        metavar="DIR",
        help="folder for the results and the tables; a stopped run resumes",
    )
    models = "known models or checkpoints, of one scale (default: tiny-x4 photo-x4)"
    names = ListOf(str, between=",", what="names")  # a path may have spaces
    add("-n", "--model", type=names, default=("tiny-x4", "photo-x4"), metavar="LIST", help=models)
    add("--accept-license", action="store_true", help="accept a model's non-commercial licence")
    add(
        "--results",
        type=ListOf(named_folder, between=",(?=[^,/=]+=)", what="NAME=DIR"),
        default=(),
        metavar="NAME=DIR",
        help="results of other programs, matched to the images by name; DIR may have a subfolder for each set",
    )
    add("--sets", type=some_of(SETS), default=SETS, metavar="LIST", help=f"some of {', '.join(SETS)}")
    add_protocol(parser, "protocol of all sets (default: each set's own)")
    add_limit(parser, "number of images per set, spread evenly over it (default: all)")
    add(
        "--steps",
        type=ListOf(whole(1), what="numbers"),
        default=(4, 1, 15, 60),
        metavar="LIST",
        help="numbers of steps of the plain sampler; guidance takes the first (default: 4,1,15,60)",
    )
    add_seeds(parser, "0", (0,))
    add_metrics(parser, "the protocol's own, and LPIPS and DISTS where their weights are on this machine")
    add("--overwrite", action="store_true", help="replace results of other choices")
    add("--time", type=whole(0), default=0, metavar="N", help="time every method too, by the median of N runs in turns")
    args = parser.parse_args(argv)
    from jaxsr.evaluation.suite import Suite, run_suite
    from jaxsr.hub.cards import check_can_run
    from jaxsr.runtime.compilation import enable_compilation_cache
    from jaxsr.upscaling.loading import load

    chosen = {name: getattr(args, name) for name in ("data", "sets", "protocol", "limit", "steps", "time", "overwrite")}
    lists = {"seeds": tuple(dict.fromkeys(args.seeds)), "metrics": tuple(args.metrics) if args.metrics else None}
    results = dict(args.results)
    if len(results) < len(args.results):
        raise ValueError("--results: two folders have one name; rename one.")
    if len(set(args.model)) < len(args.model):
        raise ValueError("--model: a model is named twice; leave one out.")
    command = shlex.join(["python", "-m", "jaxsr.evaluate", "suite", *argv])
    for name in args.model:
        check_can_run(name, mask=False)
    models = {name: load(name, accept_license=args.accept_license) for name in args.model}
    enable_compilation_cache(max(upscaler.preset.network.model_channels for upscaler in models.values()))
    choices = {"models": models, "results": results, "command": command, "report": _lines()}
    made = run_suite(Suite(**choices, **chosen, **lists), args.output)
    print((args.output / "table.md").read_text(encoding="utf-8"))
    return SOME_FAILED if any(result.failed or result.without for result in made) else 0


def named_folder(text: str) -> tuple[str, Path]:
    """Parse NAME=DIR."""
    name, _, folder = text.partition("=")
    if not name or not folder:
        raise argparse.ArgumentTypeError(f"must be NAME=DIR, not {text!r}")
    if not Path(folder).is_dir():
        raise argparse.ArgumentTypeError(f"there is no folder {folder}; check the name")
    return name, Path(folder)


def _lines() -> Callable[[str], Callable[[int, str], None]]:
    """Make the reporters of all rows. Together they print one line on stderr at most every QUIET seconds."""
    from jaxsr.runtime.progress import QUIET

    last = [time.monotonic()]

    def row_report(row: str) -> Callable[[int, str], None]:
        def report(count: int, name: str) -> None:
            if (now := time.monotonic()) - last[0] >= QUIET:
                last[0] = now
                say(f"{row}: {count} images, {name}", wrong=True)

        return report

    return row_report


COMMANDS: dict[str, Callable[[Sequence[str]], int]] = {
    "table": table,
    "compare": compare,
    "suite": suite,
    "pin": pin,
    "protocols": protocols,
}

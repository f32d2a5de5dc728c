"""Train a model: jaxsr train --config configs/tiny_x4.py --output runs/tiny_x4"""

import argparse
from dataclasses import replace
from functools import partial
from pathlib import Path

from jaxsr.cli.exits import exit_code, say_left_out
from jaxsr.cli.parser import Parser, program
from jaxsr.cli.shared_options import add_hosts, find_hosts_conflict, join_hosts, leave_hosts

LONG = 1000
"""Number of updates from which a run does not keep its compiled programs. It calls oneDNN instead, which is faster."""


def make_parser() -> argparse.ArgumentParser:
    """Make the parser of the command's options."""
    parser = Parser(prog=program("train"), description=__doc__)
    parser.add_argument("--config", type=Path, required=True, help="Python file that defines `config`")
    parser.add_argument("-o", "--output", type=Path, required=True, help="folder of the run; a stopped run resumes")
    parser.add_argument("--data", help="folder of photographs or tfds:NAME/SPLIT, in place of the config's")
    parser.add_argument("--steps", type=int, help="number of updates, in place of the config's")
    parser.add_argument("--seed", type=int, help="seed, in place of the config's")
    add_hosts(parser)
    return parser


def main(argv: list[str] | None = None) -> int:
    """Run the command. Return 0 if the model is written, 1 after one sentence on an error, 130 after Ctrl-C."""
    parser = make_parser()
    args = parser.parse_args(argv)
    if conflict := find_hosts_conflict(args):
        parser.error(conflict)
    return exit_code(lambda: _train(args), smaller="a config with a smaller batch_size")


def _train(args: argparse.Namespace) -> int:
    joined = join_hosts(args)
    from jaxsr.runtime.compilation import enable_compilation_cache
    from jaxsr.runtime.progress import PipedConsole
    from jaxsr.training.config import load_config
    from jaxsr.training.loop import train, with_precision

    overrides = {key: value for key in ("data", "steps", "seed") if (value := getattr(args, key)) is not None}
    config = load_config(args.config)
    if args.steps is not None:  # a short trial has no room for the config's warm-up
        overrides["warmup"] = min(config.warmup, args.steps // 10)
    config = with_precision(replace(config, **overrides), args.output)
    say_left_out([config.data] if isinstance(config.data, str) else config.data)
    if config.steps < LONG:
        enable_compilation_cache(config.preset.network.model_channels, config.precision)
    console = PipedConsole()
    report = partial(console.out, highlight=False)
    with console.status("starting") as status:  # shows nothing unless the output is a terminal
        folder = train(config, args.output, report, status.update if console.is_terminal else report)
    if leave_hosts(joined):
        print(f"model: {folder}")
    return 0

"""Study the few-step error of a model: jaxsr study -n tiny-x4 --pairs HR_DIR -o report/"""

import argparse
from pathlib import Path

from jaxsr.cli.exits import exit_code, say_left_out
from jaxsr.cli.foresight import announcer, say_costs
from jaxsr.cli.parser import ListOf, Parser, numbers, program, some_of
from jaxsr.cli.shared_options import (
    add_crop,
    add_devices,
    add_hosts,
    add_limit,
    add_model,
    add_pairs,
    add_precision,
    add_sampler,
    add_seed,
    add_shard,
    add_steps,
    add_thinning,
    find_hosts_conflict,
    join_hosts,
    leave_hosts,
    whole,
)

NAMES = ("errors", "truncation", "trajectories", "dispersion")


def make_parser() -> argparse.ArgumentParser:
    """Make the parser of the command's options. It does not import JAX."""
    parser = Parser(prog=program("study"), description=__doc__, allow_abbrev=False)
    add = parser.add_argument
    add_model(parser)
    add_pairs(parser)
    add("-o", "--output", type=Path, default=Path("report"), metavar="DIR", help="folder of the report")
    add(
        "--instruments",
        type=some_of(NAMES),
        default=NAMES,
        metavar="NAMES",
        help=f"some of {','.join(NAMES)} (default: all)",
    )
    add_steps(parser, "sampling steps to study (default: the model's)")
    add(
        "--counts",
        type=ListOf(whole(1), what="numbers"),
        metavar="LIST",
        help="step counts to compare (default: 1,2,4,15,60)",
    )
    add(
        "--scales",
        type=numbers(),
        default=(-0.1, 0.05, 0.1, 0.2),
        metavar="LIST",
        help="LR guidance scales (default: -0.1,0.05,0.1,0.2)",
    )
    add("--draws", type=whole(1), default=4, metavar="N", help="samples of each image for the dispersion (default: 4)")
    add_sampler(parser, "sampler whose states to study")
    add_thinning(parser)
    add_precision(parser)
    add_crop(parser)
    add_limit(parser, "take the first N photographs (default: 8)", default=8)
    add_seed(parser)
    add_devices(parser)
    add_shard(parser, "measure one of N parts of the pairs; the same command without --shard writes the report")
    add_hosts(parser)
    return parser


def main(argv: list[str] | None = None) -> int:
    """Run the command. Return 0 if the report is written, 1 after one sentence on an error, 130 after Ctrl-C."""
    parser = make_parser()
    args = parser.parse_args(argv)
    if conflict := find_hosts_conflict(args):
        parser.error(conflict)
    return exit_code(lambda: _run(args), smaller="a smaller --crop")


def _run(args: argparse.Namespace) -> int:
    joined = join_hosts(args)
    from jaxsr.data.pairs import open_pairs
    from jaxsr.hub.cards import check_can_run
    from jaxsr.numerics.run import Study, carry_out
    from jaxsr.options import Options
    from jaxsr.runtime.compilation import enable_compilation_cache
    from jaxsr.runtime.devices import count_devices
    from jaxsr.upscaling.loading import load

    options = Options(**{name: getattr(args, name) for name in ("steps", "sampler", "thinning", "precision")})
    check_can_run(args.model, mask=False)
    upscaler = load(args.model, accept_license=args.accept_license)
    enable_compilation_cache(upscaler.preset.network.model_channels, args.precision)
    say_left_out([args.pairs, args.lr_pairs])
    pairs = open_pairs(args.pairs, args.lr_pairs, scale=upscaler.preset.scale, crop=args.crop, limit=args.limit)
    names = ("instruments", "counts", "scales", "draws", "seed")
    chosen = {name: getattr(args, name) for name in names}
    chosen |= {"devices": count_devices(args.devices)}
    chosen["announce"] = announcer(upscaler.weights(args.precision), args.crop, chosen["devices"])
    study = Study(upscaler=upscaler, name=args.model, pairs=pairs, options=options, **chosen)
    with say_costs():
        page = carry_out(study, args.output, shard=args.shard)
    if args.shard:
        print(f"measured: part {args.shard[0]} of {args.shard[1]}; the same command without --shard writes the report")
    elif leave_hosts(joined):
        print(f"written: {page}")
    return 0

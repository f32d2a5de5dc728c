"""Study the few-step error of a model: python -m jaxsr.study -n tiny-x4 --pairs HR_DIR -o report/"""

import argparse
import sys
from pathlib import Path

from jaxsr.cli.exits import exit_code, say_left_out
from jaxsr.cli.shared_options import (
    Parser,
    add_crop,
    add_devices,
    add_hosts,
    add_limit,
    add_model,
    add_pairs,
    add_precision,
    add_sampler,
    add_seed,
    add_steps,
    add_thinning,
    join_hosts,
    join_negative,
    leave_hosts,
    numbers,
    whole,
    wholes,
)

NAMES = ("errors", "truncation", "trajectories", "dispersion")


def make_parser() -> argparse.ArgumentParser:
    """Make the parser of the command's options. It does not import JAX."""
    parser = Parser(prog="python -m jaxsr.study", description=__doc__, allow_abbrev=False)
    add = parser.add_argument
    add_model(parser)
    add_pairs(parser)
    add("-o", "--output", type=Path, default=Path("report"), metavar="DIR", help="folder of the report")
    add("--instruments", type=_names, default=NAMES, metavar="NAMES", help=f"some of {','.join(NAMES)} (default: all)")
    add_steps(parser, "sampling steps to study (default: the model's)")
    add("--counts", type=wholes(1), metavar="LIST", help="step counts to compare (default: 1,2,4,15,60)")
    add(
        "--scales",
        type=numbers,
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
    add_hosts(parser)
    return parser


def _names(text: str) -> tuple[str, ...]:
    if unknown := set(text.split(",")) - set(NAMES):
        raise argparse.ArgumentTypeError(f"no {', '.join(sorted(unknown))}; choose among {','.join(NAMES)}")
    return tuple(name for name in NAMES if name in text.split(","))


def main(argv: list[str] | None = None) -> int:
    """Run the command. Return 0 if the report is written, 1 after one sentence on an error, 130 after Ctrl-C."""
    args = make_parser().parse_args(join_negative(sys.argv[1:] if argv is None else argv, "--scales"))
    return exit_code(lambda: _run(args), smaller="a smaller --crop")


def _run(args: argparse.Namespace) -> int:
    joined = join_hosts(args)
    from jaxsr.data.pairs import open_pairs
    from jaxsr.hub.cards import check_can_run
    from jaxsr.numerics.run import Study, carry_out
    from jaxsr.options import Options
    from jaxsr.runtime.compilation import enable_compilation_cache
    from jaxsr.runtime.devices import count_devices
    from jaxsr.upscaling.upscaler import load

    options = Options(**{name: getattr(args, name) for name in ("steps", "sampler", "thinning", "precision")})
    check_can_run(args.model, mask=False)
    upscaler = load(args.model, accept_license=args.accept_license)
    enable_compilation_cache(upscaler.preset.network.model_channels, args.precision)
    say_left_out([args.pairs, args.lr_pairs])
    pairs = open_pairs(args.pairs, args.lr_pairs, scale=upscaler.preset.scale, crop=args.crop, limit=args.limit)
    names = ("instruments", "counts", "scales", "draws", "seed")
    chosen = {name: getattr(args, name) for name in names}
    chosen |= {"devices": count_devices(args.devices)}
    study = Study(upscaler=upscaler, name=args.model, pairs=pairs, options=options, **chosen)
    page = carry_out(study, args.output)
    if leave_hosts(joined):
        print(f"written: {page}")
    return 0

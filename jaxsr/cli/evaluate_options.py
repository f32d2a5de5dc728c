"""The options of scoring, the values that they accept, and their contradictions. This module does not import JAX."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from jaxsr.cli.shared_options import (
    add_dataset,
    add_limit,
    add_lr,
    add_metrics,
    add_model,
    add_precision,
    add_protocol,
    add_sampler,
    add_scale,
    add_seeds,
    add_steps,
    join_negative,
    spell,
    whole,
)
from jaxsr.guidance.option_conflicts import Given, find_conflict

_SAMPLING = (
    "preset",
    "calibration",
    "alpha",
    "steps",
    "sampler",
    "precision",
    "seeds",
    "hr_guidance",
    "accept_license",
)


def make_parser(description: str | None) -> argparse.ArgumentParser:
    """Make the parser of the scoring options. It does not import JAX."""
    parser = argparse.ArgumentParser(
        prog="python -m jaxsr.evaluate",
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="exit code: 0 all scored, 1 error, 2 wrong usage, 3 images or metrics without numbers (listed last)",
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("--pred", type=Path, metavar="DIR", help="folder of results")
    add("--target", type=Path, metavar="DIR", help="folder of originals, matched to the results by name")
    add_lr(parser)
    add_metrics(parser)
    add_protocol(parser, "settings of the metrics (default: plain)")
    add("-o", "--output", type=Path, required=True, metavar="FILE", help="file to write; a stopped run resumes")
    add("--csv", type=Path, metavar="FILE", help="write the numbers of every image to this file too")
    add("--worst", type=Path, metavar="PNG", help="write a contact sheet of the ten worst images to this file")
    add("--worst-by", metavar="NAME", help="metric that ranks the images for --worst (default: the first)")
    add("--name", help="name of the method in tables (default: the folder's or the model's)")
    add_limit(parser, "take only the first N images")
    add("--batch", type=whole(1), default=8, metavar="N", help="images per call of the metrics (default: 8)")
    add("--keep", type=Path, metavar="DIR", help="keep the compared images in this folder, as PNG")
    add("--overwrite", action="store_true", help="replace a result, or a stopped run with other choices")
    model = parser.add_argument_group("results that this command makes, in place of --pred")
    add = model.add_argument
    add_model(model, None, "a known model, a checkpoint, or bicubic")
    add_dataset(model)
    add_steps(model)
    add_sampler(model)
    add_precision(model, None)
    add_seeds(model, "the protocol's")
    add_scale(model)
    add("--hr-guidance", action="store_true", help="guide by the original itself, as a perfect reference")
    return parser


def parse(argv: Sequence[str], description: str | None = None) -> argparse.Namespace:
    """Parse the arguments of scoring. If they contradict each other, exit with code 2."""
    parser = make_parser(description)
    args = parser.parse_args(join_negative(argv, "--alpha"))
    if (args.pred is None) == (args.model is None):
        parser.error("give either --pred, a folder of results, or --model, which makes them")
    if args.pred is not None:
        given = [name for name in (*_SAMPLING, "dataset") if getattr(args, name)]
        if given:
            parser.error(f"argument {spell(given[0])}: belongs to --model, which makes results; leave it out")
        if args.data is not None:
            parser.error("argument --data: belongs to --dataset; give --target, the folder of the originals")
    elif args.target is not None:
        parser.error("argument --target: belongs to --pred; with --model, give --dataset, the folder of the originals")
    if args.model == "bicubic" and (given := [name for name in _SAMPLING if getattr(args, name)]):
        parser.error(f"argument {spell(given[0])}: bicubic does not have this option; leave it out")
    alpha = args.alpha if isinstance(args.alpha, tuple | None) else (args.alpha,)
    given = Given(alpha=alpha, preset=args.preset is not None, calibration=args.calibration is not None)
    if conflict := find_conflict(given, spell):
        parser.error(f"argument {spell(conflict[0])}: {conflict[1]}")
    if args.worst_by and not args.worst:
        parser.error("argument --worst-by: ranks the images of the contact sheet; give --worst as well")
    return args

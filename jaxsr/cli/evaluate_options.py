"""The options of scoring, the values that they accept, and their contradictions. This module does not import JAX."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from jaxsr.choices import DEFAULT_FORM, GradientForm
from jaxsr.cli.parser import Parser, program
from jaxsr.cli.shared_options import (
    add_batch,
    add_dataset,
    add_devices,
    add_gradient,
    add_hosts,
    add_limit,
    add_lr,
    add_metrics,
    add_model,
    add_precision,
    add_protocol,
    add_sampler,
    add_scale,
    add_seeds,
    add_shard,
    add_steps,
    add_thinning,
    add_tiles,
    find_hosts_conflict,
    find_like_conflict,
    spell,
)
from jaxsr.guidance.option_conflicts import Given, find_conflict

_SAMPLING = (
    "preset",
    "calibration",
    "alpha",
    "temperature",
    "projection",
    "steps",
    "sampler",
    "precision",
    "thinning",
    "tile",
    "overlap",
    "blend",
    "tile_noise",
    "like",
    "through",
    "reference_variance",
    "seeds",
    "hr_guidance",
    "accept_license",
    "devices",
)


def make_parser(description: str | None) -> argparse.ArgumentParser:
    """Make the parser of the scoring options. It does not import JAX."""
    parser = Parser(
        prog=program("evaluate"),
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
    add_batch(parser, "images per call of the metrics", 8)
    add("--keep", type=Path, metavar="DIR", help="keep the compared images in this folder, as PNG")
    add("--overwrite", action="store_true", help="replace a result, or a stopped run with other choices")
    add_shard(parser, "score one of N parts of the images; the same command without --shard joins them")
    add_hosts(parser)
    model = parser.add_argument_group("results that this command makes, in place of --pred")
    add = model.add_argument
    add_model(model, None, "a known model, a checkpoint, or bicubic")
    add_dataset(model)
    add_steps(model)
    add_sampler(model)
    add_thinning(model, None)
    add_tiles(model)
    add_precision(model, None)
    add_seeds(model, "the protocol's")
    add_scale(model)
    add_gradient(model, defaults=False)
    add("--hr-guidance", action="store_true", help="guide by the original itself, as a perfect reference")
    add_devices(model, None)
    return parser


def parse(argv: Sequence[str], description: str | None = None) -> argparse.Namespace:
    """Parse the arguments of scoring. If they contradict each other, exit with code 2."""
    parser = make_parser(description)
    args = parser.parse_args(argv)
    if (args.pred is None) == (args.model is None):
        parser.error("give either --pred, a folder of results, or --model, which makes them")
    if args.pred is not None:
        if given := _given(args, *_SAMPLING, "dataset"):
            parser.error(f"argument {spell(given[0])}: belongs to --model, which makes results; leave it out")
        if args.data is not None:
            parser.error("argument --data: belongs to --dataset; give --target, the folder of the originals")
    elif args.target is not None:
        parser.error("argument --target: belongs to --pred; with --model, give --dataset, the folder of the originals")
    if args.model == "bicubic" and (given := _given(args, *_SAMPLING)):
        parser.error(f"argument {spell(given[0])}: bicubic does not have this option; leave it out")
    if conflict := find_hosts_conflict(args) or find_like_conflict(args):
        parser.error(conflict)
    if conflict := find_conflict(_guidance(args), spell):
        parser.error(f"argument {spell(conflict[0])}: {conflict[1]}")
    if args.worst_by and not args.worst:
        parser.error("argument --worst-by: ranks the images of the contact sheet; give --worst as well")
    return args


def _given(args: argparse.Namespace, *names: str) -> list[str]:
    """List the options among `names` that the user gave."""
    return [name for name in names if getattr(args, name) is not None and getattr(args, name) is not False]


def _guidance(args: argparse.Namespace) -> Given:
    return Given(
        alpha=args.alpha if isinstance(args.alpha, tuple | None) else (args.alpha,),
        preset=args.preset is not None,
        calibration=args.calibration is not None,
        reference=args.hr_guidance,
        reference_box=args.hr_guidance,
        form=GradientForm(
            through=args.through or DEFAULT_FORM.through,
            reference_variance=args.reference_variance or DEFAULT_FORM.reference_variance,
        ),
    )

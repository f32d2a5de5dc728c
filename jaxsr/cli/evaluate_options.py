"""The options of scoring: what they take, and which do not go together; nothing of JAX is imported."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from jaxsr.cli.shared_options import (
    add_model,
    add_precision,
    add_sampler,
    add_steps,
    alphas,
    join_negative,
    spell,
    whole,
)
from jaxsr.guidance.conflicts import Given, find_conflict

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
    """The options of scoring; nothing of JAX is imported for them."""
    parser = argparse.ArgumentParser(
        prog="python -m jaxsr.evaluate",
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="exit code: 0 all scored, 1 error, 2 wrong usage, 3 images or metrics without numbers (told last)",
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("--pred", type=Path, metavar="DIR", help="folder of results")
    add("--target", type=Path, metavar="DIR", help="folder of originals; partners are found by their names")
    add("--lr", type=Path, metavar="DIR", help="folder of LR images (default: the data set's, or MATLAB's bicubic)")
    add("-m", "--metrics", nargs="+", metavar="NAME", help="default: those of the protocol")
    add("--protocol", metavar="NAME", help="how to measure: a name or a .json file (default: plain)")
    add("-o", "--output", type=Path, required=True, metavar="FILE", help="result to write; a stopped run goes on")
    add("--csv", type=Path, metavar="FILE", help="the numbers of every image")
    add("--worst", type=Path, metavar="PNG", help="contact sheet of the ten worst images")
    add("--worst-by", metavar="NAME", help="metric by which they are the worst (default: the first)")
    add("--name", help="of the method in tables (default: the folder's or the model's)")
    add("--limit", type=whole(1), metavar="N", help="the first N images alone")
    add("--batch", type=whole(1), default=8, metavar="N", help="images per call of the metrics (default: 8)")
    add("--keep", type=Path, metavar="DIR", help="keep the compared images there as PNG")
    add("--overwrite", action="store_true", help="replace a result or a stopped run of other choices")
    model = parser.add_argument_group("results made here, in place of --pred")
    add = model.add_argument
    add_model(model, None, "a known model, a checkpoint, or bicubic")
    add("--dataset", metavar="NAME", help="set5, set14, div2k, realsr, a folder of originals, or tfds:div2k/SPLIT")
    add("--data", type=Path, metavar="DIR", help="folder that holds the named data sets")
    add_steps(model)
    add_sampler(model)
    add_precision(model, None)
    add(
        "--seeds",
        type=whole(0, 2**32 - 1),
        nargs="+",
        metavar="N",
        help="one sample for each (default: the protocol's)",
    )
    add("--alpha", type=alphas, metavar="A", help="guidance by the LR image; one number, or one per step")
    add("--preset", metavar="NAME", help="alpha from the calibration: faithful, balanced, vivid")
    add("--calibration", type=Path, metavar="JSON", help="for --preset (default: the file beside the model)")
    add("--hr-guidance", action="store_true", help="guide by the original itself: what a perfect reference gives")
    return parser


def parse(argv: Sequence[str], description: str | None = None) -> argparse.Namespace:
    """The arguments of scoring; exit 2 where they do not go together."""
    parser = make_parser(description)
    args = parser.parse_args(join_negative(argv, "--alpha"))
    if (args.pred is None) == (args.model is None):
        parser.error("give either --pred, a folder of results, or --model, which makes them")
    if args.pred is not None:
        given = [name for name in (*_SAMPLING, "seeds", "dataset") if getattr(args, name)]
        if given:
            parser.error(f"argument --{given[0].replace('_', '-')}: is for --model, which makes results")
        if args.data is not None:
            parser.error("argument --data: is for --dataset; give --target, the folder of the originals")
    elif args.target is not None:
        parser.error("argument --target: is for --pred; with --model give --dataset, the folder of the originals")
    if args.model == "bicubic" and (given := [name for name in (*_SAMPLING, "seeds") if getattr(args, name)]):
        parser.error(f"argument --{given[0].replace('_', '-')}: bicubic has no such choice")
    alpha = args.alpha if isinstance(args.alpha, tuple | None) else (args.alpha,)
    given = Given(alpha=alpha, preset=args.preset is not None, calibration=args.calibration is not None)
    if conflict := find_conflict(given, spell):
        parser.error(f"argument {spell(conflict[0])}: {conflict[1]}")
    if args.worst_by and not args.worst:
        parser.error("argument --worst-by: is for the contact sheet; give --worst as well")
    return args

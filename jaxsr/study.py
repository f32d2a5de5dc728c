"""Study the few-step error of a model: python -m jaxsr.study -n tiny-x4 --pairs HR_DIR -o report/"""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from jaxsr.arguments import add_precision
from jaxsr.choices import SAMPLERS, THINNINGS
from jaxsr.command import exit_code

T = TypeVar("T")
NAMES = ("errors", "truncation", "trajectories", "dispersion")


def make_parser() -> argparse.ArgumentParser:
    """The command's options; nothing of JAX is imported for them."""
    parser = argparse.ArgumentParser(prog="python -m jaxsr.study", description=__doc__, allow_abbrev=False)
    add = parser.add_argument
    add("-n", "--model", default="tiny-x4", metavar="NAME", help="a known model or a checkpoint (default: tiny-x4)")
    add("--accept-license", action="store_true", help="accept a model's non-commercial licence")
    add("--pairs", required=True, metavar="HR", help="folder of HR photographs, or tfds:NAME/SPLIT")
    add("--lr-pairs", metavar="DIR", help="folder of their LR images (default: MATLAB's bicubic of the HR ones)")
    add("-o", "--output", type=Path, default=Path("report"), metavar="DIR", help="folder of the report")
    add("--instruments", type=_names, default=NAMES, metavar="NAMES", help=f"some of {','.join(NAMES)}")
    add("--steps", type=_whole, metavar="N", help="sampling steps that are studied (default: the model's)")
    add("--counts", type=_numbers(_whole), metavar="LIST", help="step counts to compare (default: 1,2,4,15,60)")
    add("--scales", type=_numbers(float), default=(-0.1, 0.05, 0.1, 0.2), metavar="LIST", help="LR guidance scales")
    add("--draws", type=_whole, default=4, metavar="N", help="samples of each image for the dispersion (default: 4)")
    add("--sampler", choices=SAMPLERS, help="whose states are studied (default: the model's)")
    add("--thinning", choices=THINNINGS, default="ends", help="which trained steps fewer steps keep")
    add_precision(parser)
    add("--crop", type=_whole, default=64, metavar="N", help="side of the LR crops in pixels (default: 64)")
    add("--limit", type=_whole, default=8, metavar="N", help="take the first N photographs (default: 8)")
    add("--seed", type=int, default=0, metavar="N", help="of the noise (default: 0)")
    return parser


def _names(text: str) -> tuple[str, ...]:
    if unknown := set(text.split(",")) - set(NAMES):
        raise argparse.ArgumentTypeError(f"no {', '.join(sorted(unknown))}; choose among {','.join(NAMES)}")
    return tuple(name for name in NAMES if name in text.split(","))


def _whole(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be a whole number of at least 1, not {text!r}")
    return int(text)


def _numbers(kind: Callable[[str], T]) -> Callable[[str], tuple[T, ...]]:
    def parse(text: str) -> tuple[T, ...]:
        try:
            return tuple(kind(word) for word in text.split(","))
        except ValueError as error:
            raise argparse.ArgumentTypeError(f"must be numbers with commas, not {text!r}") from error

    return parse


def main(argv: list[str] | None = None) -> int:
    """Run the command; 0 when the report is written, 1 after one sentence on an error, 130 after Ctrl-C."""
    argv = list(sys.argv[1:] if argv is None else argv)
    for at, word in enumerate(argv[:-1]):
        if word == "--scales":  # a list may begin with a minus, which argparse takes for an option
            argv[at : at + 2] = [f"{word}={argv[at + 1]}"]
            break
    args = make_parser().parse_args(argv)
    return exit_code(lambda: _run(args), smaller="a smaller --crop")


def _run(args: argparse.Namespace) -> int:
    from jaxsr.calibration.pairs import open_pairs
    from jaxsr.numerics.run import Study, carry_out
    from jaxsr.options import Options
    from jaxsr.pipeline import load
    from jaxsr.runtime import enable_compilation_cache

    options = Options(**{name: getattr(args, name) for name in ("steps", "sampler", "thinning", "precision")})
    upscaler = load(args.model, accept_license=args.accept_license)
    enable_compilation_cache(upscaler.preset, args.precision)
    pairs = open_pairs(args.pairs, args.lr_pairs, scale=upscaler.preset.scale, crop=args.crop, limit=args.limit)
    names = ("instruments", "counts", "scales", "draws", "seed")
    chosen = {name: getattr(args, name) for name in names}
    study = Study(upscaler=upscaler, name=args.model, pairs=pairs, options=options, **chosen)
    print(f"written: {carry_out(study, args.output)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

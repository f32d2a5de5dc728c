"""The options of the sample command: what they accept, and which contradict each other. Imports nothing of JAX."""

import argparse
from pathlib import Path

from jaxsr.choices import (
    BLENDS,
    OBJECTIVES,
    REFERENCE_MEANS,
    REFERENCE_VARIANCES,
    THROUGHS,
    GradientForm,
)
from jaxsr.cli.shared_options import (
    add_model,
    add_precision,
    add_sampler,
    add_steps,
    add_thinning,
    alphas,
    numbers,
    spell,
    whole,
)
from jaxsr.guidance.conflicts import Given
from jaxsr.guidance.conflicts import find_conflict as find_guidance_conflict
from jaxsr.version import __version__

_GIVEN = (
    "preset",
    "strip",
    "calibration",
    "alpha_map",
    "reference",
    "reference_box",
    "reference_mask",
    "feather",
    "objective",
)


def make_parser() -> argparse.ArgumentParser:
    """The parser of all of them."""
    parser = argparse.ArgumentParser(
        prog="python -m jaxsr.sample",
        description="Enlarge photographs: python -m jaxsr.sample -i photo.jpg -o out/",
        epilog="exit code: 0 all done, 1 error, 2 wrong usage, 3 some images failed (they are listed at the end)",
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("-i", "--input", type=Path, nargs="+", metavar="PATH", help="images, or folders of images")
    add("-o", "--output", type=Path, default=Path("out"), metavar="DIR", help="folder for the results (default: out)")
    add_model(parser)
    add("--list-models", action="store_true", help="list the known models with their licences, and stop")
    add_steps(parser)
    add_sampler(parser)
    add_thinning(parser)
    add("--seed", type=whole(0, 2**32 - 1), default=0, metavar="N", help="of every random choice (default: 0)")
    add("--n-samples", type=whole(1), default=1, metavar="N", help="different results per image (default: 1)")
    add(
        "-t",
        "--tile",
        type=_tile,
        default="auto",
        metavar="N",
        help="auto, off, or the side in input pixels, for tiny-x4 a multiple of 16",
    )
    add("--overlap", type=whole(0), metavar="N", help="of tiles, likewise a multiple of 16 (default: an eighth)")
    add("--blend", choices=BLENDS, default="feather", help="mean: as in the released ResShift tool")
    add(
        "--batch",
        type=whole(1),
        default=1,
        metavar="N",
        help="tiles per call: same noise, result equal up to rounding",
    )
    add_precision(parser)
    add("-r", "--recursive", action="store_true", help="look into folders below; the results mirror the tree")
    add("--suffix", default="", help="added to the name of each result")
    add("-f", "--ext", choices=("png", "jpg", "webp", "tif"), help="format of the results (default: as the input)")
    add("--quality", type=whole(1, 100), default=95, metavar="Q", help="of JPEG and WebP, 1 to 100 (default: 95)")
    add("--overwrite", action="store_true", help="make results again that are there already")
    add("--dry-run", action="store_true", help="show tiles, memory and time, and write nothing")
    add("--version", action="version", version=f"jaxsr {__version__}")
    _add_guidance(parser)
    return parser


def _add_guidance(parser: argparse.ArgumentParser) -> None:
    """Add those that guide, as a group of the help."""
    add = parser.add_argument_group("quality control").add_argument
    add("--alpha", type=alphas, metavar="A", help="above 0: more texture; below: closer to the input; or one per step")
    add("--preset", metavar="NAME", help="alpha from the calibration: faithful, balanced, vivid, open-loop or rule")
    add("--calibration", type=Path, metavar="JSON", help="for --preset (default: the file beside the model)")
    add("--alpha-map", type=Path, metavar="IMAGE", help="multiplies alpha: white 1, black 0, of the input's size")
    add("--strip", type=numbers, metavar="LIST", help="one labelled image of results with these alphas")
    add("--reference", type=Path, metavar="IMAGE", help="a part of the input at the result's resolution")
    add("--reference-box", type=_box, metavar="X,Y,W,H", help="where that lies, in input pixels")
    add("--reference-mask", type=Path, metavar="IMAGE", help="or, white where to use it, of the input's size")
    add("--feather", type=whole(0), metavar="N", help="input pixels over which the reference fades in (default: 8)")
    add("--objective", choices=OBJECTIVES, help="how alpha is fitted to the reference (default: lstsq)")
    add("--through", choices=THROUGHS, default="mean", help="state: take the gradient through the network")
    add(
        "--reference-mean",
        choices=REFERENCE_MEANS,
        default="clean",
        help="of --reference: its latent, or the mean of the forward process",
    )
    add(
        "--reference-variance",
        choices=REFERENCE_VARIANCES,
        default="posterior",
        help="variance of what guides: of the step, or of the forward process",
    )


def find_conflict(args: argparse.Namespace) -> str | None:
    """The first contradiction between the options, as one sentence, or None."""
    given = Given(
        alpha=args.alpha if isinstance(args.alpha, tuple | None) else (args.alpha,),
        form=GradientForm(args.through, args.reference_mean, args.reference_variance),
        **{name: getattr(args, name) is not None for name in _GIVEN},
    )
    conflict = find_guidance_conflict(given, spell)
    return f"argument {spell(conflict[0])}: {conflict[1]}" if conflict else None


def _box(text: str) -> tuple[int, ...]:
    numbers = text.split(",")
    if len(numbers) != 4 or not all(number.isdecimal() for number in numbers):
        raise argparse.ArgumentTypeError(f"must be X,Y,WIDTH,HEIGHT in pixels of the input, not {text!r}")
    return tuple(int(number) for number in numbers)


def _tile(text: str) -> int | str:
    if text in ("auto", "off"):
        return text
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be auto, off or a number of pixels, not {text!r}")
    return int(text)

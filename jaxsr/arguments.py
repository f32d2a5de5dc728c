"""The options of the sample command: what they take, and which do not go together; nothing of JAX is imported."""

import argparse
import math
import re
from collections.abc import Callable, Sequence
from pathlib import Path

import jaxsr
from jaxsr.choices import (
    BLENDS,
    OBJECTIVES,
    PRECISIONS,
    REFERENCE_MEANS,
    REFERENCE_VARIANCES,
    SAMPLERS,
    THINNINGS,
    THROUGHS,
)

# A list that begins with a minus looks like an option to argparse.
_NUMBERS = re.compile(r"-[\d.].*")
_WITH_NUMBERS = ("--alpha", "--strip")


def add_precision(parser: argparse.ArgumentParser) -> None:
    """--precision, as all commands that run a network have it."""
    text = "compute precision of the network; bf16 is for accelerators, and CPUs that multiply it fast"
    parser.add_argument("--precision", choices=PRECISIONS, default="fp32", help=text)


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
    add("-n", "--model", default="tiny-x4", metavar="NAME", help="a known model or a checkpoint (default: tiny-x4)")
    add("--list-models", action="store_true", help="list the known models with their licences, and stop")
    add("--accept-license", action="store_true", help="accept a model's non-commercial licence")
    add("--steps", type=whole(1), metavar="N", help="sampling steps (default: the model's)")
    add("--sampler", choices=SAMPLERS, help="sampler (default: the model's)")
    add("--thinning", choices=THINNINGS, default="ends", help="which trained steps fewer steps keep")
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
    add("--version", action="version", version=f"jaxsr {jaxsr.__version__}")
    _add_guidance(parser)
    return parser


def _add_guidance(parser: argparse.ArgumentParser) -> None:
    """Add those that guide, as a group of the help."""
    add = parser.add_argument_group("quality control").add_argument
    add("--alpha", type=alphas, metavar="A", help="above 0: more texture; below: closer to the input; or one per step")
    add("--preset", metavar="NAME", help="alpha from the calibration: faithful, balanced, vivid, open-loop or rule")
    add("--calibration", type=Path, metavar="JSON", help="for --preset (default: the file beside the model)")
    add("--alpha-map", type=Path, metavar="IMAGE", help="multiplies alpha: white 1, black 0, of the input's size")
    add("--strip", type=_numbers, metavar="LIST", help="one labelled image of results with these alphas")
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


def join_numbers(words: Sequence[str]) -> list[str]:
    """`--strip -0.2,0` as `--strip=-0.2,0`."""
    joined: list[str] = []
    for word in words:
        if joined and joined[-1] in _WITH_NUMBERS and _NUMBERS.fullmatch(word):
            joined[-1] += f"={word}"
        else:
            joined.append(word)
    return joined


def find_conflict(args: argparse.Namespace) -> str | None:
    """What does not go together, as one sentence; None if all does."""
    given = {name for name, value in vars(args).items() if value is not None}
    sources = ("alpha", "preset", "strip")
    if len(both := [name for name in sources if name in given]) > 1:
        return f"argument --{both[1]}: gives alpha, as --{both[0]} does; leave one of the two out"
    if "calibration" in given and "preset" not in given:
        return "argument --calibration: say which of its presets, such as --preset balanced"
    for name in ("reference_box", "reference_mask", "feather", "objective"):
        if name in given and "reference" not in given:
            return f"argument --{name.replace('_', '-')}: needs --reference, the image that it is about"
    if "reference" in given and ("reference_box" in given) == ("reference_mask" in given):
        return "argument --reference: say where it lies, by either --reference-box or --reference-mask"
    if "objective" in given and given & set(sources):
        return "argument --objective: is for an alpha that is fitted; leave --alpha, --preset and --strip out"
    changed = {"through": THROUGHS, "reference_mean": REFERENCE_MEANS, "reference_variance": REFERENCE_VARIANCES}
    guided = bool(given & {"preset", "strip", "reference"}) or _any(args.alpha)
    if args.reference_mean == "shifted" and "reference" not in given:
        return "argument --reference-mean: needs --reference; the shifted mean of the input is the input itself"
    for name in (name for name, words in changed.items() if getattr(args, name) != words[0]):
        if not guided:
            return f"argument --{name.replace('_', '-')}: there is nothing that guides; give --alpha or --reference"
    if "alpha_map" in given and not guided:
        return "argument --alpha-map: multiplies alpha; give --alpha, --preset, --strip or --reference"
    return None


def _any(alpha: float | tuple[float, ...] | None) -> bool:
    return any(alpha) if isinstance(alpha, tuple) else bool(alpha)


def _numbers(text: str) -> tuple[float, ...]:
    try:
        numbers = tuple(float(part) for part in text.split(","))
    except ValueError:
        numbers = (math.nan,)
    if not all(map(math.isfinite, numbers)):
        raise argparse.ArgumentTypeError(f"must be numbers with commas between, not {text!r}")
    return numbers


def alphas(text: str) -> float | tuple[float, ...]:
    """Argparse type: one number, or several with commas between."""
    first, *others = _numbers(text)
    return (first, *others) if others else first


def _box(text: str) -> tuple[int, ...]:
    numbers = text.split(",")
    if len(numbers) != 4 or not all(number.isdecimal() for number in numbers):
        raise argparse.ArgumentTypeError(f"must be X,Y,WIDTH,HEIGHT in pixels of the input, not {text!r}")
    return tuple(int(number) for number in numbers)


def whole(least: int, most: int | None = None) -> Callable[[str], int]:
    """Argparse type: a whole number of at least `least` and at most `most`."""
    span = f"of at least {least}" if most is None else f"from {least} to {most}"

    def parse(text: str) -> int:
        number = int(text) if text.isdecimal() else -1
        if number < least or (most is not None and number > most):
            raise argparse.ArgumentTypeError(f"must be a whole number {span}, not {text!r}")
        return number

    return parse


def _tile(text: str) -> int | str:
    if text in ("auto", "off"):
        return text
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be auto, off or a number of pixels, not {text!r}")
    return int(text)

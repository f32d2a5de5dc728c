"""The options of `jaxsr.sample` that guide: what they take, and which do not go together. Nothing of JAX is imported."""

import argparse
import math
import re
from collections.abc import Sequence
from pathlib import Path

from jaxsr.choices import REFERENCE_MEANS, REFERENCE_VARIANCES, THROUGHS

# A list that begins with a minus looks like an option to argparse.
_NUMBERS = re.compile(r"-[\d.].*")
_WITH_NUMBERS = ("--alpha", "--strip")


def add_guidance(parser: argparse.ArgumentParser) -> None:
    """Add them, as a group of the help."""
    add = parser.add_argument_group("quality control").add_argument
    add("--alpha", type=_alpha, metavar="A", help="above 0: more texture; below: closer to the input; or one per step")
    add("--preset", metavar="NAME", help="alpha from the calibration: faithful, balanced, vivid, open-loop or rule")
    add("--calibration", type=Path, metavar="JSON", help="for --preset (default: the file beside the model)")
    add("--alpha-map", type=Path, metavar="IMAGE", help="multiplies alpha: white 1, black 0, of the input's size")
    add("--strip", type=_numbers, metavar="LIST", help="one labelled image of results with these alphas")
    add("--reference", type=Path, metavar="IMAGE", help="a part of the input at the result's resolution")
    add("--reference-box", type=_box, metavar="X,Y,W,H", help="where that lies, in input pixels")
    add("--reference-mask", type=Path, metavar="IMAGE", help="or, white where to use it, of the input's size")
    add("--feather", type=_pixels, metavar="N", help="input pixels over which the reference fades in (default: 8)")
    add("--through", choices=THROUGHS, default="mean", help="state: take the gradient through the network")
    add("--reference-mean", choices=REFERENCE_MEANS, default="clean", help="what guides: the latent, or its noisy mean")
    add("--reference-variance", choices=REFERENCE_VARIANCES, default="posterior", help="of what guides")


def join_numbers(words: Sequence[str]) -> list[str]:
    """`--strip -0.2,0` as `--strip=-0.2,0`."""
    joined: list[str] = []
    for word in words:
        if joined and joined[-1] in _WITH_NUMBERS and _NUMBERS.fullmatch(word):
            joined[-1] += f"={word}"
        else:
            joined.append(word)
    return joined


def conflict(args: argparse.Namespace) -> str | None:
    """What does not go together, as one sentence; None if all does."""
    given = {name for name, value in vars(args).items() if value is not None}
    sources = ("alpha", "preset", "strip")
    if len(both := [name for name in sources if name in given]) > 1:
        return f"argument --{both[1]}: gives alpha, as --{both[0]} does; leave one of the two out"
    if "calibration" in given and "preset" not in given:
        return "argument --calibration: say which of its presets, such as --preset balanced"
    for name in ("reference_box", "reference_mask", "feather"):
        if name in given and "reference" not in given:
            return f"argument --{name.replace('_', '-')}: needs --reference, the image that it is about"
    if "reference" in given and ("reference_box" in given) == ("reference_mask" in given):
        return "argument --reference: say where it lies, by either --reference-box or --reference-mask"
    changed = {"through": THROUGHS, "reference_mean": REFERENCE_MEANS, "reference_variance": REFERENCE_VARIANCES}
    guided = bool(given & {"preset", "strip", "reference"}) or _any(args.alpha)
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


def _alpha(text: str) -> float | tuple[float, ...]:
    numbers = _numbers(text)
    return numbers if len(numbers) > 1 else numbers[0]


def _box(text: str) -> tuple[int, ...]:
    numbers = text.split(",")
    if len(numbers) != 4 or not all(number.isdecimal() for number in numbers):
        raise argparse.ArgumentTypeError(f"must be X,Y,WIDTH,HEIGHT in pixels of the input, not {text!r}")
    return tuple(int(number) for number in numbers)


def _pixels(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"must be a number of pixels, not {text!r}")
    return int(text)

"""Options that several commands have in common, and the values that they accept. Imports nothing of JAX."""

import argparse
import math
import re
import sys
import time
from collections.abc import Callable, Sequence

from jaxsr.choices import PRECISIONS, SAMPLERS, THINNINGS

QUIET = 30.0
"""Seconds between lines of progress where the output is not a terminal."""
# argparse takes a list that begins with a minus for an option.
_NEGATIVE = re.compile(r"-[\d.].*")


def add_model(parser: argparse._ActionsContainer, default: str | None = "tiny-x4", text: str = "") -> None:
    """Add --model and --accept-license."""
    text = text or "a known model or a checkpoint (default: tiny-x4)"
    parser.add_argument("-n", "--model", default=default, metavar="NAME", help=text)
    parser.add_argument("--accept-license", action="store_true", help="accept a model's non-commercial licence")


def add_steps(parser: argparse._ActionsContainer, text: str = "sampling steps (default: the model's)") -> None:
    """Add --steps."""
    parser.add_argument("--steps", type=whole(1), metavar="N", help=text)


def add_sampler(parser: argparse._ActionsContainer, text: str = "sampler") -> None:
    """Add --sampler."""
    names = ", ".join(SAMPLERS)
    parser.add_argument("--sampler", type=sampler, metavar="NAME", help=f"{text}: {names} (default: the model's)")


def add_thinning(parser: argparse._ActionsContainer) -> None:
    """Add --thinning."""
    parser.add_argument(
        "--thinning", choices=THINNINGS, default="ends", help="which of the trained steps fewer steps keep"
    )


def add_precision(parser: argparse._ActionsContainer, default: str | None = "fp32") -> None:
    """Add --precision."""
    text = "compute precision of the network; bf16 is for accelerators, and for CPUs that multiply it fast"
    parser.add_argument("--precision", choices=PRECISIONS, default=default, help=text)


def sampler(text: str) -> str:
    """Argparse type: the name of a sampler."""
    if text not in SAMPLERS:
        from jaxsr.diffusion import SAMPLERS as LISTED  # imports JAX, which the built-in names do not need

        if text not in LISTED:
            raise argparse.ArgumentTypeError(f"no {text!r}; choose one of {', '.join(LISTED)}")
    return text


def whole(least: int, most: int | None = None) -> Callable[[str], int]:
    """Argparse type: a whole number of at least `least` and at most `most`."""
    span = f"of at least {least}" if most is None else f"from {least} to {most}"

    def parse(text: str) -> int:
        number = int(text) if text.isdecimal() else -1
        if number < least or (most is not None and number > most):
            raise argparse.ArgumentTypeError(f"must be a whole number {span}, not {text!r}")
        return number

    return parse


def wholes(least: int) -> Callable[[str], tuple[int, ...]]:
    """Argparse type: whole numbers of at least `least`, with commas between."""
    one = whole(least)
    return lambda text: tuple(one(part) for part in text.split(","))


def numbers(text: str) -> tuple[float, ...]:
    """Argparse type: finite numbers with commas between."""
    try:
        found = tuple(float(part) for part in text.split(","))
    except ValueError:
        found = (math.nan,)
    if not all(map(math.isfinite, found)):
        raise argparse.ArgumentTypeError(f"must be numbers with commas between, not {text!r}")
    return found


def alphas(text: str) -> float | tuple[float, ...]:
    """Argparse type: one number, or several with commas between."""
    first, *others = numbers(text)
    return (first, *others) if others else first


def join_negative(words: Sequence[str], *options: str) -> list[str]:
    """Write `--strip -0.2,0` as `--strip=-0.2,0`, for the options whose lists may begin with a minus."""
    joined: list[str] = []
    for word in words:
        if joined and joined[-1] in options and _NEGATIVE.fullmatch(word):
            joined[-1] += f"={word}"
        else:
            joined.append(word)
    return joined


def spell(name: str) -> str:
    """An option's name as a command line has it: `alpha_map` as `--alpha-map`."""
    return f"--{name.replace('_', '-')}"


def progress_line() -> Callable[[str], None]:
    """A reporter of lines on stderr: in place on a terminal, elsewhere one at most every QUIET seconds."""
    if sys.stderr.isatty():
        return lambda line: print(f"\r\x1b[K{line}", end="", file=sys.stderr, flush=True)
    last = [-QUIET]

    def report(line: str) -> None:
        if (now := time.monotonic()) - last[0] >= QUIET:
            last[0] = now
            print(line, file=sys.stderr, flush=True)

    return report

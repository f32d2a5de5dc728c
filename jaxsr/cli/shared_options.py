"""Options that several commands share, and the values that they accept. This module does not import JAX."""

import argparse
import math
import re
import sys
import time
from collections.abc import Callable, Sequence

from jaxsr.choices import PRECISIONS, SAMPLERS, THINNINGS

QUIET = 30.0
"""Seconds between lines of progress if the output is not a terminal."""
# argparse mistakes a list that begins with a minus for an option.
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
        "--thinning",
        choices=THINNINGS,
        default="ends",
        help="rule that picks the trained steps to keep if --steps is lower",
    )


def add_precision(parser: argparse._ActionsContainer, default: str | None = "fp32") -> None:
    """Add --precision."""
    text = "compute precision of the network; bf16 is for accelerators, and for CPUs that multiply it fast"
    parser.add_argument("--precision", choices=PRECISIONS, default=default, help=text)


def sampler(text: str) -> str:
    """Check the name of a sampler, as an argparse type."""
    if text not in SAMPLERS:
        from jaxsr.diffusion import SAMPLERS as LISTED  # imports JAX, which the built-in names do not need

        if text not in LISTED:
            raise argparse.ArgumentTypeError(f"no {text!r}; choose one of {', '.join(LISTED)}")
    return text


def whole(least: int, most: int | None = None) -> Callable[[str], int]:
    """Make an argparse type for a whole number of at least `least` and at most `most`."""
    span = f"of at least {least}" if most is None else f"from {least} to {most}"

    def parse(text: str) -> int:
        number = int(text) if text.isdecimal() else -1
        if number < least or (most is not None and number > most):
            raise argparse.ArgumentTypeError(f"must be a whole number {span}, not {text!r}")
        return number

    return parse


def wholes(least: int) -> Callable[[str], tuple[int, ...]]:
    """Make an argparse type for whole numbers of at least `least`, separated by commas."""
    parse = whole(least)
    return lambda text: tuple(parse(part) for part in text.split(","))


def numbers(text: str) -> tuple[float, ...]:
    """Parse finite numbers separated by commas, as an argparse type."""
    try:
        values = tuple(float(part) for part in text.split(","))
    except ValueError:
        values = (math.nan,)
    if not all(map(math.isfinite, values)):
        raise argparse.ArgumentTypeError(f"must be numbers separated by commas, not {text!r}")
    return values


def alphas(text: str) -> float | tuple[float, ...]:
    """Parse one number, or several separated by commas, as an argparse type."""
    first, *others = numbers(text)
    return (first, *others) if others else first


def join_negative(words: Sequence[str], *options: str) -> list[str]:
    """Rewrite `--strip -0.2,0` as `--strip=-0.2,0`, for the options whose lists may begin with a minus."""
    joined: list[str] = []
    for word in words:
        if joined and joined[-1] in options and _NEGATIVE.fullmatch(word):
            joined[-1] += f"={word}"
        else:
            joined.append(word)
    return joined


def spell(name: str) -> str:
    """Spell an option's name as on a command line: `alpha_map` becomes `--alpha-map`."""
    return f"--{name.replace('_', '-')}"


def progress_line() -> Callable[[str], None]:
    """Make a reporter of lines on stderr: in place on a terminal, elsewhere at most one line every QUIET seconds."""
    if sys.stderr.isatty():
        return lambda line: print(f"\r\x1b[K{line}", end="", file=sys.stderr, flush=True)
    last = [-QUIET]

    def report(line: str) -> None:
        if (now := time.monotonic()) - last[0] >= QUIET:
            last[0] = now
            print(line, file=sys.stderr, flush=True)

    return report

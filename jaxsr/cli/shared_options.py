"""Options that several commands share, and the values that they accept. This module does not import JAX."""

import argparse
import math
import re
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from jaxsr.choices import MAX_SEED, PRECISIONS, REFERENCE_VARIANCES, SAMPLERS, THINNINGS, THROUGHS

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


def add_seed(parser: argparse._ActionsContainer) -> None:
    """Add --seed."""
    text = "seed of every random choice (default: 0)"
    parser.add_argument("--seed", type=whole(0, MAX_SEED), default=0, metavar="N", help=text)


def add_seeds(parser: argparse._ActionsContainer, shown: str, default: list[int] | None = None) -> None:
    """Add --seeds; `shown` names the default in the help text."""
    text = f"seeds of the noise, with one sample for each (default: {shown})"
    parser.add_argument("--seeds", type=whole(0, MAX_SEED), nargs="+", default=default, metavar="N", help=text)


def add_scale(parser: argparse._ActionsContainer) -> None:
    """Add --alpha, --preset and --calibration, which set the scale of the guidance by the LR image."""
    add = parser.add_argument
    text = "scale of the guidance; above 0: more texture; below: smoother; one number, or one per step"
    add("--alpha", type=alphas, metavar="A", help=text)
    text = "take alpha from the calibration: faithful, balanced, vivid, rule, open-loop or fitted"
    add("--preset", metavar="NAME", help=text)
    text = "calibration for --preset, a file or a folder of them (default: those beside the model)"
    add("--calibration", type=Path, metavar="JSON", help=text)


def add_metrics(parser: argparse._ActionsContainer) -> None:
    """Add --metrics."""
    text = "metrics to compute (default: the protocol's own)"
    parser.add_argument("-m", "--metrics", nargs="+", metavar="NAME", help=text)


def add_protocol(parser: argparse._ActionsContainer, text: str, default: str | None = None) -> None:
    """Add --protocol."""
    text = f"{text}: a name or a .json file"
    parser.add_argument("--protocol", default=default, metavar="NAME", help=text)


def add_dataset(parser: argparse._ActionsContainer, required: bool = False) -> None:
    """Add --dataset, and --data, the folder that it searches."""
    text = "set5, set14, div2k, realsr, a folder of originals, or tfds:div2k/SPLIT"
    parser.add_argument("--dataset", required=required, metavar="NAME", help=text)
    add_data(parser)


def add_lr(parser: argparse._ActionsContainer) -> None:
    """Add --lr."""
    text = "folder of LR images (default: the data set's, or MATLAB's bicubic)"
    parser.add_argument("--lr", type=Path, metavar="DIR", help=text)


def add_gradient(parser: argparse._ActionsContainer) -> None:
    """Add --through and --reference-variance, which choose the form of the gradient."""
    add = parser.add_argument
    text = "variable of the gradient: mean, or state x_t, through the network (default: mean)"
    add("--through", choices=THROUGHS, default="mean", help=text)
    text = "variance of the reference: posterior, the step's; or marginal, the forward process's (default: posterior)"
    add("--reference-variance", choices=REFERENCE_VARIANCES, default="posterior", help=text)


def add_pairs(parser: argparse._ActionsContainer) -> None:
    """Add --pairs and --lr-pairs."""
    add = parser.add_argument
    add("--pairs", required=True, metavar="HR", help="folder of HR photographs, or tfds:NAME/SPLIT")
    text = "folder of the LR images (default: the HR images, shrunk by MATLAB's bicubic)"
    add("--lr-pairs", metavar="DIR", help=text)


def add_crop(parser: argparse._ActionsContainer) -> None:
    """Add --crop."""
    text = "side of the LR crops in pixels (default: 64)"
    parser.add_argument("--crop", type=whole(1), default=64, metavar="N", help=text)


def add_limit(parser: argparse._ActionsContainer, text: str, default: int | None = None) -> None:
    """Add --limit."""
    parser.add_argument("--limit", type=whole(1), default=default, metavar="N", help=text)


def add_data(parser: argparse._ActionsContainer, required: bool = False) -> None:
    """Add --data, the folder that `--dataset` searches."""
    text = "folder that holds the named data sets"
    parser.add_argument("--data", type=Path, required=required, metavar="DIR", help=text)


def add_distributed(parser: argparse._ActionsContainer) -> None:
    """Add --distributed."""
    text = "join the processes that the cluster's environment describes"
    parser.add_argument("--distributed", action="store_true", help=text)


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

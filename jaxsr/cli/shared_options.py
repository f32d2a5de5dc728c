"""Options that several commands share, and the values that they accept. This module does not import JAX."""

import argparse
import math
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import cast

from jaxsr.choices import (
    BLENDS,
    LIKES,
    MAX_SEED,
    PRECISIONS,
    REFERENCE_VARIANCES,
    SAMPLERS,
    THINNINGS,
    THROUGHS,
    TILE_NOISES,
    Batch,
    GradientForm,
    Thinning,
)
from jaxsr.cli.parser import NUMBER, ListOf, numbers
from jaxsr.hub.cards import DEFAULT_MODEL
from jaxsr.options import Options, options_like
from jaxsr.storage import part_file


def add_model(parser: argparse._ActionsContainer, default: str | None = DEFAULT_MODEL, text: str = "") -> None:
    """Add --model and --accept-license."""
    text = text or f"a known model, a checkpoint, or hf:OWNER/NAME (default: {default})"
    parser.add_argument("-n", "--model", default=default, metavar="NAME", help=text)
    parser.add_argument("--accept-license", action="store_true", help="accept a model's non-commercial licence")


def add_steps(parser: argparse._ActionsContainer, text: str = "sampling steps (default: the model's)") -> None:
    """Add --steps."""
    parser.add_argument("--steps", type=whole(1), metavar="N", help=text)


def add_sampler(parser: argparse._ActionsContainer, text: str = "sampler") -> None:
    """Add --sampler."""
    names = ", ".join(SAMPLERS)
    parser.add_argument("--sampler", type=sampler, metavar="NAME", help=f"{text}: {names} (default: the model's)")


def add_thinning(parser: argparse._ActionsContainer, default: str | None = "ends") -> None:
    """Add --thinning."""
    text = f"trained steps to keep: {', '.join(THINNINGS)}, or their rows, such as 0,5,20,59 (default: ends)"
    parse = ListOf(_rule_or_row, _rule_or_rows, looks=NUMBER, what="rows")
    parser.add_argument("--thinning", type=parse, default=default, metavar="RULE", help=text)


def _rule_or_row(text: str) -> str | int:
    if text in THINNINGS:
        return text
    if not text.isdecimal():
        words = f"{', '.join(THINNINGS)}, or rows of 0 or more, such as 0,5,20,59"
        raise argparse.ArgumentTypeError(f"must be {words}, not {text!r}")
    return int(text)


def _rule_or_rows(found: tuple[str | int, ...]) -> Thinning:
    rules = [one for one in found if isinstance(one, str)]
    if rules and len(found) > 1:
        raise argparse.ArgumentTypeError("give one rule, or rows alone")
    return cast(Thinning, rules[0] if rules else found)


def add_tiles(parser: argparse._ActionsContainer) -> None:
    """Add --tile, --overlap, --blend and --tile-noise, and --like, which stands for all of these."""
    add = parser.add_argument
    text = "side of the tiles in input pixels, or WIDTHxHEIGHT, a multiple of 4 (tiny-x4: 8); or auto, or off"
    add("-t", "--tile", type=_tile, metavar="N", help=f"{text} (default: auto)")
    text = "overlap of the tiles, likewise a multiple of 4 (tiny-x4: 8) (default: 24; released models: 1/8 of the side)"
    add("--overlap", type=whole(0), metavar="N", help=text)
    text = "rule that joins the tiles; mean: as in the released ResShift tool (default: feather)"
    add("--blend", choices=BLENDS, help=text)
    text = "noise of a tile; position: of its place in the image; fresh: its own (default: position)"
    add("--tile-noise", choices=TILE_NOISES, help=text)
    text = "tiles and noise as in the released ResShift tool, with its chopping size of 512, 256 or 64"
    add("--like", choices=LIKES, help=f"{text}; results are PNG")


def find_like_conflict(args: argparse.Namespace) -> str | None:
    """Find an option that contradicts --like, and return one sentence about it; None without one."""
    if args.like is None:
        return None
    for name in options_like(args.like):
        if getattr(args, name) is not None:
            return f"argument {spell(name)}: --like {args.like} chooses it; leave one of the two out"
    if getattr(args, "ext", None) not in (None, "png"):
        return f"argument --ext: --like {args.like} writes png; leave one of the two out"
    return None


def chosen_options(args: argparse.Namespace) -> Options:
    """Make the options of sampling from the arguments that the user gave. Raises ValueError if they do not fit."""
    given = {field.name: getattr(args, field.name, None) for field in fields(Options)}
    like = options_like(args.like) if args.like else {}
    return Options(**like | {name: value for name, value in given.items() if value is not None})


def add_devices(parser: argparse._ActionsContainer, default: str | None = "all") -> None:
    """Add the option that says how many of the machine's devices share the work."""
    text = "devices of this machine that share the work, a number or `all` (default: all)"
    parser.add_argument("--devices", type=_devices, default=default, metavar="N", help=text)


def _devices(text: str) -> int | str:
    return text if text == "all" else whole(1)(text)


def add_batch(parser: argparse._ActionsContainer, text: str, default: int) -> None:
    """Add --batch, a number or `auto`."""
    text = f"{text}; auto: as many as the memory holds (default: {default})"
    parser.add_argument("--batch", type=_batch, default=default, metavar="N", help=text)


def _batch(text: str) -> Batch:
    return "auto" if text == "auto" else whole(1)(text)


def add_precision(parser: argparse._ActionsContainer, default: str | None = "fp32") -> None:
    """Add --precision."""
    text = "compute precision of the network; bf16 is for accelerators, and for CPUs that multiply it fast"
    parser.add_argument("--precision", choices=PRECISIONS, default=default, help=text)


def add_seed(parser: argparse._ActionsContainer) -> None:
    """Add --seed."""
    text = "seed of every random choice (default: 0)"
    parser.add_argument("--seed", type=whole(0, MAX_SEED), default=0, metavar="N", help=text)


def add_seeds(parser: argparse._ActionsContainer, shown: str, default: tuple[int, ...] | None = None) -> None:
    """Add --seeds; `shown` names the default in the help text."""
    text = f"seeds of the noise, with one sample for each (default: {shown})"
    kind = ListOf(whole(0, MAX_SEED), what="seeds")
    parser.add_argument("--seeds", type=kind, default=default, metavar="LIST", help=text)


def add_scale(parser: argparse._ActionsContainer) -> None:
    """Add --alpha, --preset, --calibration and --projection, which lead the result away from the LR image or to it."""
    add = parser.add_argument
    text = "scale of the guidance; above 0: more texture; below: smoother; one number, or one per step"
    add("--alpha", type=numbers(one_or_several), metavar="A", help=text)
    text = "take alpha, temperature and projection from the calibration"
    add("--preset", metavar="NAME", help=f"{text}: faithful, balanced, vivid, rule, open-loop or fitted")
    text = "calibration for --preset, a file or a folder of them (default: those beside the model)"
    add("--calibration", type=Path, metavar="JSON", help=text)
    text = "factor of the noise of the steps; above 1: more texture; below: smoother; one number, or one per step"
    add("--temperature", type=numbers(one_or_several), metavar="T", help=f"{text} (default: 1, or the preset's)")
    text = "strength of the projection onto images that shrink to the input; 1 suits clean inputs"
    add("--projection", type=fraction, metavar="S", help=f"{text}, 0 to 1 (default: 0, or the preset's)")


def add_metrics(parser: argparse._ActionsContainer, default: str = "the protocol's own") -> None:
    """Add --metrics."""
    text = f"metrics to compute (default: {default})"
    parser.add_argument("-m", "--metrics", type=ListOf(str), metavar="LIST", help=text)


def add_protocol(parser: argparse._ActionsContainer, text: str, default: str | None = None) -> None:
    """Add --protocol."""
    text = f"{text}: a name or a .json file"
    parser.add_argument("--protocol", default=default, metavar="NAME", help=text)


def add_dataset(parser: argparse._ActionsContainer, required: bool = False) -> None:
    """Add --dataset, and --data, the folder that it searches."""
    text = "set5, set14, div2k, realsr, kodak, a folder of originals, or tfds:div2k/SPLIT"
    parser.add_argument("--dataset", required=required, metavar="NAME", help=text)
    add_data(parser)


def add_lr(parser: argparse._ActionsContainer) -> None:
    """Add --lr."""
    text = "folder of LR images (default: the data set's, or MATLAB's bicubic)"
    parser.add_argument("--lr", type=Path, metavar="DIR", help=text)


def add_gradient(parser: argparse._ActionsContainer, defaults: bool = True) -> None:
    """Add --through and --reference-variance, which choose the form of the gradient.

    Without `defaults`, options that were not given are None.
    """
    add, default = parser.add_argument, GradientForm()
    text = "variable of the gradient: mean, or state x_t, through the network (default: mean)"
    add("--through", choices=THROUGHS, default=default.through if defaults else None, help=text)
    text = "variance of the reference: posterior, the step's; or marginal, the forward process's (default: posterior)"
    variance = default.reference_variance if defaults else None
    add("--reference-variance", choices=REFERENCE_VARIANCES, default=variance, help=text)


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


def add_hosts(parser: argparse._ActionsContainer) -> None:
    """Add the options of a run in several processes, usually one per host."""
    add = parser.add_argument
    add("--distributed", action="store_true", help="join the processes that the cluster's environment describes")
    add("--coordinator", metavar="HOST:PORT", help="address of process 0, if no cluster's environment gives it")
    add("--num-processes", type=whole(1), metavar="N", help="number of processes, with --coordinator")
    add("--process-id", type=whole(0), metavar="I", help="number of this process, 0 to N-1, with --coordinator")


def add_shard(parser: argparse._ActionsContainer, text: str) -> None:
    """Add --shard."""
    parser.add_argument("--shard", type=_shard, metavar="I/N", help=f"{text}, I from 1 to N, as a job of an array does")


def _shard(text: str) -> tuple[int, int]:
    number, _, count = text.partition("/")
    if not (number.isdecimal() and count.isdecimal() and 1 <= int(number) <= int(count)):
        raise argparse.ArgumentTypeError(f"must be I/N with I from 1 to N, such as 3/8, not {text!r}")
    return int(number), int(count)


def find_hosts_conflict(args: argparse.Namespace) -> str | None:
    """Find what is wrong with the options of `add_hosts` and `add_shard`, and return it as one sentence, or None."""
    if getattr(args, "shard", None) and (args.distributed or args.coordinator):
        return "argument --shard: the processes of --distributed share the images themselves; leave one of the two out."
    cluster = (args.coordinator, args.num_processes, args.process_id)
    if cluster == (None, None, None):
        return None
    if None in cluster:
        return "--coordinator, --num-processes and --process-id belong together: give all three"
    if args.process_id >= args.num_processes:
        return f"argument --process-id: must be below --num-processes {args.num_processes}, not {args.process_id}"
    host, _, port = args.coordinator.rpartition(":")
    if not (host and port.isdecimal()):
        return f"argument --coordinator: must be HOST:PORT, such as node1:8476, not {args.coordinator!r}"
    return None


def join_hosts(args: argparse.Namespace) -> bool:
    """Join the other processes of a run, if the options say so, before JAX is used. Return whether they did.

    Raises ValueError if no option and no cluster's environment says which processes these are.
    """
    if joined := bool(args.distributed or args.coordinator):
        import jax

        try:
            jax.distributed.initialize(args.coordinator, args.num_processes, args.process_id)
        except ValueError as error:
            raise ValueError(
                f"--distributed: JAX finds no cluster here ({error}); give --coordinator, --num-processes and "
                "--process-id."
            ) from error
    return joined


def leave_hosts(joined: bool) -> bool:
    """Wait for the other processes of a run that this one has joined. Return whether this process reports for all."""
    import jax

    first = jax.process_index() == 0
    if joined:
        jax.distributed.shutdown()  # waits for all processes
    return first


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


def fraction(text: str) -> float:
    """Parse a number from 0 to 1, as an argparse type."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"must be a number from 0 to 1, not {text!r}")
    return value


def _tile(text: str) -> tuple[int, int] | str:
    return text if text in ("auto", "off") else sides(text, "auto, off, ")


def sides(text: str, others: str = "") -> tuple[int, int]:
    """Parse the side of a square, or WIDTHxHEIGHT, into (height, width), as an argparse type.

    `others` names the other words of the option in the message.
    """
    parts = text.split("x")
    if len(parts) > 2 or not all(part.isdecimal() and int(part) for part in parts):
        raise argparse.ArgumentTypeError(f"must be {others}a number of pixels, or WIDTHxHEIGHT, not {text!r}")
    return int(parts[-1]), int(parts[0])


def one_or_several(values: tuple[float, ...]) -> float | tuple[float, ...]:
    """Return the number of a list of one, else the list."""
    return values[0] if len(values) == 1 else values


def spell(name: str) -> str:
    """Spell an option's name as on a command line: `alpha_map` becomes `--alpha-map`."""
    return f"--{name.replace('_', '-')}"


def check_json_output(output: Path, *, overwrite: bool, example: str) -> None:
    """Raise ValueError, which names --output, for a file that a long run could not write, or should not replace.

    A file whose run was stopped is no hindrance: the same command resumes it.
    """
    if output.is_dir():
        raise ValueError(f"--output: {output} is a folder; give the name of a file, such as {example}.")
    if output.suffix.lower() != ".json":
        raise ValueError(f"--output: {output} gets JSON; give a name that ends in .json, such as {example}.")
    if output.exists() and not overwrite and not part_file(output).exists():
        raise ValueError(f"--output: {output} is there already; give another name or --overwrite.")

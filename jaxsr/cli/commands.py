"""The command `jaxsr`: its sub-commands in one table. Nothing slow is imported before one of them is chosen."""

import difflib
import sys
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

from jaxsr.cli.exits import end, one_line
from jaxsr.version import __version__

EPILOG = "jaxsr COMMAND --help describes a command; python -m jaxsr COMMAND does the same as jaxsr COMMAND."


@dataclass(frozen=True)
class Subcommand:
    """A sub-command.

    Attributes:
        name: the word after `jaxsr`.
        summary: its line in the help.
        module: the module whose `main(words)` runs it and returns the exit code.
        first: words that `main` gets before the user's.
    """

    name: str
    summary: str
    module: str
    first: tuple[str, ...] = ()


SUBCOMMANDS = (
    Subcommand("sample", "enlarge photographs", "jaxsr.cli.sample"),
    Subcommand("studio", "turn the knob on a page in the browser", "jaxsr.cli.studio"),
    Subcommand("compare", "show pictures and their scores on one HTML page, with a slider", "jaxsr.cli.compare"),
    Subcommand("replay", "make a result again from its record, or say what differs", "jaxsr.cli.replay"),
    Subcommand("calibrate", "find presets of the knob on pairs of images", "jaxsr.cli.calibrate"),
    Subcommand("evaluate", "score results against originals, and tabulate scores", "jaxsr.cli.evaluate"),
    Subcommand("study", "measure the few-step error of a model", "jaxsr.cli.study"),
    Subcommand("train", "train a model on photographs", "jaxsr.cli.train"),
    Subcommand("export", "write a model as a program that runs without jaxsr", "jaxsr.cli.export"),
    Subcommand("doctor", "check this installation, and prove that the knob works here", "jaxsr.cli.doctor"),
    Subcommand("convert", "convert released PyTorch checkpoints", "weight_conversion.__main__", ("convert",)),
    Subcommand("verify", "compare a converted checkpoint with the original", "weight_conversion.__main__", ("verify",)),
    Subcommand("fit-niqe", "fit the model of the metric NIQE on good photographs", "jaxsr.cli.fit_niqe"),
    Subcommand("convert-lpips", "make the weights of LPIPS and DISTS from public files", "jaxsr.cli.convert_lpips"),
)
"""The sub-commands, in the order of the help. A row here is all that a new one needs."""


def main(argv: list[str] | None = None) -> int:
    """Run the sub-command that the first word names. Return its exit code, or 2 for wrong usage."""
    words = sys.argv[1:] if argv is None else argv
    if not words:
        print(usage(), file=sys.stderr)
        return 2
    name, *rest = words
    if name == "help" and rest:
        name, rest = rest[0], ["--help"]
    if name in ("-h", "--help", "help"):
        print(usage())
        return 0
    if name == "--version":
        print(f"jaxsr {__version__}")
        return 0
    found = next((one for one in SUBCOMMANDS if one.name == name), None)
    if found is None:
        print(f"error: {one_line(_advice(name))} jaxsr --help lists the commands.", file=sys.stderr)
        return 2
    return import_module(found.module).main([*found.first, *rest])


def usage() -> str:
    """Return the help: one line for each sub-command."""
    lines = [f"  {one.name:15} {one.summary}" for one in SUBCOMMANDS]
    head = ["usage: jaxsr COMMAND ...", "", "Super-resolution by diffusion, with a knob from faithful to textured.", ""]
    return "\n".join([*head, *lines, "", "  --version       print the version", "", EPILOG])


def _advice(word: str) -> str:
    """Say what a word that is no command may have meant."""
    if near := difflib.get_close_matches(word, [one.name for one in SUBCOMMANDS], 1, 0.5):
        return f"there is no command {word!r}; did you mean {near[0]}?"
    if Path(word).exists():
        return f"{word!r} is a file, not a command; did you mean jaxsr sample {word}?"
    return f"there is no command {word!r}."


def console() -> None:
    """Run the command `jaxsr` as a program."""
    end(main())

"""The parser of all commands: short errors, and lists whose items are separated by commas, by spaces, or by both.

This module does not import JAX.
"""

import argparse
import math
import re
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Generic, NoReturn, TypeVar

T = TypeVar("T")
NUMBER = re.compile(r"[-+]?\.?\d[\d.,eE:+-]*")
"""What a word of numbers looks like."""
NAMES = re.compile(r"[A-Za-z][\w-]*(,[\w,-]*)?")
"""What a word of names looks like. A file name has a dot."""
_NUMBER_OR_NAME = re.compile(rf"{NUMBER.pattern}|[A-Za-z][\w-]*(,[\w.,-]*)?")
_ANY = re.compile(r"[^-].*|-\.?\d.*", re.DOTALL)
_BETWEEN = r"[,\s]+"


def program(name: str, module: str = "") -> str:
    """Return how the user started a command: by the script `jaxsr`, or by `python -m` (module: jaxsr.NAME if empty)."""
    started = Path(sys.argv[0])
    if started.stem == "jaxsr":
        return f"jaxsr {name}"
    return f"python -m jaxsr {name}" if started.name == "__main__.py" else f"python -m {module or f'jaxsr.{name}'}"


class ListOf(Generic[T]):
    """An argparse type for a list. Its items are separated by commas or spaces, also as words of their own.

    `Parser` gathers the words after such an option for as long as they look like items, so that `--alpha 0.1 photo.jpg`
    leaves the file alone. The first word always belongs to the option.

    Args:
        item: converts one item, as an argparse type.
        finish: converts the tuple of items.
        between: regular expression of what separates the items in a word.
        looks: regular expression that a further word must match.
        count: the number of items; None for any.
        what: names the items in an error.
    """

    def __init__(
        self,
        item: Callable[[str], T],
        finish: Callable[[tuple[T, ...]], Any] = tuple,
        *,
        between: str = _BETWEEN,
        looks: re.Pattern[str] = _ANY,
        count: int | None = None,
        what: str = "items",
    ) -> None:
        self.item, self.finish, self.between = item, finish, re.compile(between)
        self.looks, self.count, self.what = looks, count, what

    def __call__(self, text: str) -> Any:
        """Convert the text of a list. Raises ArgumentTypeError."""
        parts = [part.strip() for part in self.between.split(text) if part.strip()]
        if not parts or self.count not in (None, len(parts)):
            raise argparse.ArgumentTypeError(f"must be {self.what} separated by commas or spaces, not {text!r}")
        return self.finish(tuple(self.item(part) for part in parts))

    def belongs(self, word: str) -> bool:
        """Return whether a word after the first one is still part of the list."""
        return self.looks.fullmatch(word) is not None


def numbers(finish: Callable[[tuple[float, ...]], Any] = tuple) -> ListOf[float]:
    """Make the type of a list of finite numbers."""
    return ListOf(number, finish, looks=NUMBER, what="numbers")


def number(text: str) -> float:
    """Parse a finite number, as an argparse type."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise argparse.ArgumentTypeError(f"must be numbers separated by commas or spaces, not {text!r}")
    return value


def numbers_or_names() -> ListOf[float | str]:
    """Make the type of a list of finite numbers and names, mixed."""

    def parse(text: str) -> float | str:
        return text if re.fullmatch(r"[A-Za-z][\w-]*", text) and text.lower() not in ("nan", "inf") else number(text)

    return ListOf(parse, looks=_NUMBER_OR_NAME, what="numbers and names")


def words() -> ListOf[str]:
    """Make the type of a list of words that are checked later, joined by commas: a string."""
    return ListOf(str, ",".join)


def some_of(known: Sequence[str]) -> ListOf[str]:
    """Make the type of a list of some known names, in the order of `known`."""

    def parse(text: str) -> str:
        if text not in known:
            raise argparse.ArgumentTypeError(f"no {text!r}; choose among {','.join(known)}")
        return text

    return ListOf(parse, lambda found: tuple(name for name in known if name in found), what="names")


class Parser(argparse.ArgumentParser):
    """A parser whose errors are one line, whose lists take commas and spaces, and whose files may stand anywhere."""

    def error(self, message: str) -> NoReturn:
        """Print the error on one line, without the usage of all options, and exit with code 2."""
        self.exit(2, f"error: {message}; {self.prog} --help lists the options\n")

    def parse_args(  # pyright: ignore[reportIncompatibleMethodOverride]
        self, args: Iterable[str] | None = None, namespace: Any = None
    ) -> Any:
        """Parse the words of a command line, in any order of options and files."""
        found = self.join_lists(sys.argv[1:] if args is None else args)
        places = [action for action in self._actions if not action.option_strings]
        if places and self._subparsers is None:  # the parser of a subcommand mixes neither
            return self.parse_intermixed_args(found, namespace)
        return super().parse_args(found, namespace)

    def join_lists(self, given: Iterable[str]) -> list[str]:
        """Rewrite `--strip -0.2 0` as `--strip=-0.2,0`: argparse mistakes a list that begins with a minus.

        A list that is given twice is one list, so that no item gets lost.
        """
        lists = {flag: one.type for one in self._actions if isinstance(one.type, ListOf) for flag in one.option_strings}
        names = {flag: one.dest for one in self._actions for flag in one.option_strings}
        places: dict[str, int] = {}
        joined: list[str] = []
        rest = list(given)
        while rest:
            word = rest.pop(0)
            if word == "--":  # argparse mixes files and options, or knows this mark, but not both
                return [*joined, *(f"./{file}" if file.startswith("-") else file for file in rest)]
            flag, equals, value = word.partition("=")
            kind = lists.get(flag)
            if kind is None:
                joined.append(word)
                continue
            items = [value] if equals else []
            if not items and rest and _ANY.fullmatch(rest[0]):
                items.append(rest.pop(0))
            while items and rest and kind.belongs(rest[0]):
                items.append(rest.pop(0))
            if not items:
                joined.append(flag)
                continue
            text, name = ",".join(item.rstrip(",") for item in items), names[flag]
            if name in places:
                joined[places[name]] += f",{text}"
            else:
                places[name] = len(joined)
                joined.append(f"{flag}={text}")
        return joined

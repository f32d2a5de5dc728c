"""Plain data from JSON, checked against a dataclass by msgspec: types, words, unknown and missing fields, and sizes.

Every file that a user may have edited, or that may be damaged, is read through `parse_json` and `convert`. The errors
of `convert` name the field.
"""

import json
import math
import sys
from collections.abc import Collection, Mapping
from dataclasses import fields
from itertools import islice
from typing import Any, TypeVar

T = TypeVar("T")
MOST_ITEMS = 10_000_000
"""The most values in a file of this project: more than the scores of 500,000 images."""
MOST_LEVELS = 100
"""The most objects and lists inside of each other."""


def parse_json(text: str | bytes) -> Any:
    """Parse JSON that may be damaged or meant to do harm.

    Raises:
        ValueError: in a few words, for text that is no JSON, more than MOST_LEVELS levels, or a number of thousands of
            digits.
    """
    try:
        data = json.loads(text)
    except RecursionError:
        raise ValueError(f"it has more than {MOST_LEVELS} levels") from None
    except (json.JSONDecodeError, UnicodeDecodeError):
        raise
    except ValueError:  # Python's limit
        raise ValueError("it has a number of too many digits") from None
    level = [data]
    for _ in range(MOST_LEVELS):
        holders = [item for item in level if isinstance(item, dict | list)]
        level = [item for holder in holders for item in (holder.values() if isinstance(holder, dict) else holder)]
    if any(isinstance(item, dict | list) for item in level):
        raise ValueError(f"it has more than {MOST_LEVELS} levels")
    return data


def convert(data: Any, kind: type[T], *, where: str = "") -> T:
    """Make an instance of the dataclass `kind` from plain data. Lists become tuples where the fields are tuples.

    Args:
        data: what JSON gave.
        kind: a dataclass whose fields are plain data, tuples or other dataclasses.
        where: name of the part, which begins the message of an error.
    Raises:
        ValueError: "PART.FIELD: what is wrong", for data that is no object, an unknown or a missing field, a value of
            another type, a number that is not finite, or what the dataclass itself refuses.
    """
    import msgspec

    prefix = f"{where}: " if where else ""
    if not isinstance(data, Mapping):
        raise ValueError(f"{prefix}must be an object with named fields, not {type(data).__name__}")
    names = [field.name for field in fields(kind)]  # pyright: ignore[reportArgumentType]
    if unknown := sorted(str(name)[:40] for name in data.keys() - set(names)):
        raise ValueError(f"{prefix}has no field {', '.join(unknown[:5])}")
    check_numbers(data, where)
    try:
        return msgspec.convert(data, kind)
    except msgspec.ValidationError as error:
        if isinstance(error.__cause__, ValueError):  # of the dataclass itself
            raise error.__cause__ from None
        text, _, place = str(error).partition(" - at `$")
        place = ".".join(part for part in (where, place.rstrip("`").lstrip(".")) if part)
        text = brief(text, 200)
        raise ValueError(f"{place}: {text}" if place else text) from error


def brief(text: object, most: int = 500) -> str:
    """Return a text in one line of at most `most` characters, for messages that quote what a file holds."""
    line = " ".join(str(text).split())
    return line if len(line) <= most else f"{line[: most - 4]} ..."


def listed(names: Collection[object], most: int = 20) -> str:
    """Return the first names in one line, and how many more there are, for messages that list what a file holds."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(brief(name, 100) for name in islice(names, most)) + more


def check_numbers(data: Any, where: str) -> None:
    """Raise ValueError for a number that is not finite, or for more than MOST_ITEMS items, anywhere in plain data."""
    todo, count = [(where, data)], 0
    while todo:
        place, value = todo.pop()
        count += 1
        if count > MOST_ITEMS:
            raise ValueError(f"{where}: has more than {MOST_ITEMS} values")
        if isinstance(value, float) and not math.isfinite(value):
            raise ValueError(f"{place}: must be a finite number, not {value}")
        if isinstance(value, int) and abs(value) > sys.float_info.max:
            raise ValueError(f"{place}: must be a number below 1.8e308, not one of {value.bit_length()} bits")
        if isinstance(value, Mapping):
            todo += [(f"{place}.{str(key)[:40]}".lstrip("."), item) for key, item in value.items()]
        elif isinstance(value, list | tuple):
            todo += [(f"{place}[{i}]", item) for i, item in enumerate(value)]

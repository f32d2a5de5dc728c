"""Spoil plain data: put a wrong value into every place in turn."""

import copy
import functools
import operator
from collections.abc import Iterable, Iterator
from typing import Any


def places(data: Any, *, whole: tuple[str, ...] = (), before: tuple = ()) -> Iterator[tuple]:
    """Yield the path of every value in nested dicts and lists; those under the keys `whole` are not gone into."""
    for key, value in data.items() if isinstance(data, dict) else enumerate(data):
        yield (*before, key)
        if isinstance(value, dict | list) and key not in whole:
            yield from places(value, whole=whole, before=(*before, key))


def spoilt(data: Any, paths: Iterable[tuple], values: Iterable[Any]) -> Iterator[Any]:
    """Yield copies of the data, each with one of the values at one of the paths."""
    values = tuple(values)
    for path in paths:
        for value in values:
            changed = copy.deepcopy(data)
            functools.reduce(operator.getitem, path[:-1], changed)[path[-1]] = value
            yield changed

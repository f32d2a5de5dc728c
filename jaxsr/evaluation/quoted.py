"""Published rows of other people's tables, which a table of ours quotes. They are never computed or mixed with ours."""

import json
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from jaxsr.evaluation.layout import Table, markdown
from jaxsr.metrics.catalogue import METRICS

_FILE = Path(__file__).with_name("quoted.json")
_ARROWS = {metric.title: "↑" if metric.more_is_better else "↓" for metric in METRICS.values()} | {"MUSIQ": "↑"}


@cache
def sources() -> list[dict[str, Any]]:
    """Read the sources: each has its name, what its numbers are of, its columns, and rows by set."""
    return json.loads(_FILE.read_text(encoding="utf-8"))


def quoted(sets: Sequence[str]) -> str:
    """Format the published rows of some sets as Markdown tables, each with its source; empty if there are none."""
    tables = [_table(name, source) for name in sets for source in sources() if name in source["sets"]]
    return markdown(tables) if tables else ""


def _table(name: str, source: dict[str, Any]) -> Table:
    columns = source["columns"]
    head = ("method", *(f"{column} {_ARROWS[column]}" for column in columns))
    rows = tuple(
        (f"{row} (quoted)", *(_shown(numbers[key]) for key in columns)) for row, numbers in source["sets"][name].items()
    )
    return Table(f"{name}, quoted from {source['source']}", head, rows, (source["about"],))


def _shown(number: float) -> str:
    return f"{number:.4f}" if number < 1 else f"{number:.2f}"

"""Published rows of other people's tables, which a table of ours quotes. They are never computed or mixed with ours."""

import json
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

_FILE = Path(__file__).with_name("quoted.json")


@cache
def _content() -> dict[str, Any]:
    return json.loads(_FILE.read_text(encoding="utf-8"))


def quoted(sets: Sequence[str]) -> str:
    """Format the published rows of some sets as Markdown tables, each with its source; empty if there are none."""
    parts = [_table(name, source) for name in sets for source in _content()["sources"] if name in source["sets"]]
    return "".join([f"\n## Quoted, not measured here\n\n{_content()['about']}\n", *parts]) if parts else ""


def _table(name: str, source: dict[str, Any]) -> str:
    columns, rows = source["columns"], source["sets"][name]
    lines = [["method", *columns], ["---"] * (len(columns) + 1)]
    lines += [[f"{row} (quoted)", *(_shown(numbers[key]) for key in columns)] for row, numbers in rows.items()]
    table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    return f"\n{name}, from {source['source']}:\n\n{table}\n"


def _shown(number: float) -> str:
    return f"{number:.4f}" if number < 1 else f"{number:.2f}"

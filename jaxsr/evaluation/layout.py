"""Tables as text: Markdown, LaTeX (booktabs) and CSV."""

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass

_LATEX = {"↑": r"$\uparrow$", "↓": r"$\downarrow$", "%": r"\%", "_": r"\_", "&": r"\&", "–": "--", "#": r"\#"}


@dataclass(frozen=True)
class Table:
    """One table: what it is of, its head and rows as text, and what is to be said below it."""

    title: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...]


def markdown(tables: Sequence[Table], warning: str = "") -> str:
    """GitHub's Markdown, the warning on top."""
    parts = [f"**{warning}**"] if warning else []
    for table in tables:
        lines = [f"## {table.title}", "", f"| {' | '.join(table.head)} |", "|---" * len(table.head) + "|"]
        lines += [f"| {' | '.join(row)} |" for row in table.rows]
        parts.append("\n".join([*lines, "", *(f"- {note}" for note in table.notes)]).rstrip())
    return "\n\n".join(parts) + "\n"


def latex(tables: Sequence[Table], warning: str) -> str:
    """For the booktabs package, the notes in the caption."""
    parts = [f"% {warning}"] if warning else []
    for table in tables:
        lines = [r"\begin{table}\centering", rf"\begin{{tabular}}{{l{'r' * (len(table.head) - 1)}}}", r"\toprule"]
        lines += [f"{' & '.join(map(_escape, table.head))} " + r"\\", r"\midrule"]
        lines += [f"{' & '.join(map(_escape, row))} " + r"\\" for row in table.rows]
        caption = _escape(" ".join([f"{table.title}.", *table.notes]))
        parts.append("\n".join([*lines, r"\bottomrule", r"\end{tabular}", rf"\caption{{{caption}}}", r"\end{table}"]))
    return "\n\n".join(parts) + "\n"


def _escape(text: str) -> str:
    return "".join(_LATEX.get(letter, letter) for letter in text)


def to_csv(tables: Sequence[Table], warning: str) -> str:
    """One block for each table, with its title in the first column."""
    text = io.StringIO()
    writer = csv.writer(text)
    for table in tables:
        writer.writerow(("table", *table.head))
        writer.writerows((table.title, *row) for row in table.rows)
    return text.getvalue()

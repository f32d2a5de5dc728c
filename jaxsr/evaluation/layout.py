"""Tables as text: Markdown, LaTeX (booktabs) and CSV."""

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass

_LATEX = {letter: f"\\{letter}" for letter in "%_&#${}"}
_LATEX |= {"\\": r"\textbackslash{}", "^": r"\textasciicircum{}", "~": r"\textasciitilde{}", "|": r"\textbar{}"}
_LATEX |= {"<": r"\textless{}", ">": r"\textgreater{}", "↑": r"$\uparrow$", "↓": r"$\downarrow$", "–": "--", "\n": " "}


@dataclass(frozen=True)
class Table:
    """One table.

    Attributes:
        title: what it is of.
        head, rows: as text, each row as long as the head.
        notes: what is to be said below it.
        variants: what exactly is measured in each column but the first; none where the head says it all.
    """

    title: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...]
    variants: tuple[str, ...] = ()

    @property
    def said(self) -> list[str]:
        """The variants, each with its column's title where that has a number, and the notes, as sentences."""
        named = zip(self.head[1:], self.variants, strict=False)
        variants = [f"{title.rstrip(' ↑↓')}: {said}." if "(" in title else f"{said}." for title, said in named]
        return [*variants, *self.notes]


def markdown(tables: Sequence[Table], warning: str = "") -> str:
    """GitHub's Markdown, the warning on top."""
    parts = [f"**{warning}**"] if warning else []
    for table in tables:
        lines = [f"## {table.title}", "", _bars(table.head), "|---" * len(table.head) + "|", *map(_bars, table.rows)]
        parts.append("\n".join([*lines, "", *(f"- {note}" for note in table.said)]).rstrip())
    return "\n\n".join(parts) + "\n"


def _bars(row: Sequence[str]) -> str:
    cells = (cell.replace("|", r"\|").replace("\n", " ") for cell in row)
    return f"| {' | '.join(cells)} |"


def latex(tables: Sequence[Table], warning: str) -> str:
    """For the booktabs package, the notes in the caption, the warning as a paragraph on top."""
    parts = [rf"\noindent\textbf{{{_escape(warning)}}}\par"] if warning else []
    for table in tables:
        lines = [r"\begin{table}\centering", rf"\begin{{tabular}}{{l{'r' * (len(table.head) - 1)}}}", r"\toprule"]
        lines += [_ampersands(table.head), r"\midrule", *map(_ampersands, table.rows)]
        caption = _escape(" ".join([f"{table.title}.", *table.said]))
        parts.append("\n".join([*lines, r"\bottomrule", r"\end{tabular}", rf"\caption{{{caption}}}", r"\end{table}"]))
    return "\n\n".join(parts) + "\n"


def _ampersands(row: Sequence[str]) -> str:
    text = " & ".join(map(_escape, row))
    return ("{}" if text[:1] in ("[", "*") else "") + text + r" \\"  # or the \\ before would take it as its own


def _escape(text: str) -> str:
    return "".join(_LATEX.get(letter, letter) for letter in text)


def to_csv(tables: Sequence[Table], warning: str) -> str:
    """One block for each table, with its title in the first column, and the last two for all that is no number.

    `kind` tells the rows apart: `variant` (what exactly each column measures), `result`, and `note` or `warning`, whose
    text is in the last column.
    """
    text = io.StringIO()
    writer = csv.writer(text)
    for table in tables:
        empty = [""] * len(table.head)
        writer.writerow(("table", *table.head, "kind", "note"))
        if warning:
            writer.writerow((table.title, *empty, "warning", warning))
        if table.variants:
            writer.writerow((table.title, "", *table.variants, "variant", ""))
        writer.writerows((table.title, *row, "result", "") for row in table.rows)
        writer.writerows((table.title, *empty, "note", note) for note in table.notes)
    return text.getvalue()

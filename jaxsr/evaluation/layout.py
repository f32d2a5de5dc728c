"""Formats of tables as text: Markdown, LaTeX (booktabs) and CSV."""

import csv
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass

_LATEX = {letter: f"\\{letter}" for letter in "%_&#${}"}
_LATEX |= {"\\": r"\textbackslash{}", "^": r"\textasciicircum{}", "~": r"\textasciitilde{}", "|": r"\textbar{}"}
_LATEX |= {"<": r"\textless{}", ">": r"\textgreater{}", "↑": r"$\uparrow$", "↓": r"$\downarrow$", "–": "--", "\n": " "}


@dataclass(frozen=True)
class Table:
    """A table of text cells with its title and notes.

    Attributes:
        title: the title above the table.
        head, rows: the cells as text; each row is as long as the head.
        notes: sentences to print below the table.
        variants: exactly what each column except the first measures; empty if the head already says it.
    """

    title: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...]
    variants: tuple[str, ...] = ()

    @property
    def said(self) -> list[str]:
        """The sentences below the table: the variants, with their column's title if it has a number, and the notes."""
        named = zip(self.head[1:], self.variants, strict=False)
        variants = [f"{title.rstrip(' ↑↓')}: {said}." if "(" in title else f"{said}." for title, said in named]
        return [*variants, *self.notes]


def markdown(tables: Sequence[Table], warning: str = "") -> str:
    """Format the tables in GitHub's Markdown, with the warning on top."""
    parts = [f"**{_plain(warning)}**"] if warning else []
    for table in tables:
        lines = [
            f"## {_plain(table.title)}",
            "",
            _bars(table.head),
            "|---" * len(table.head) + "|",
            *map(_bars, table.rows),
        ]
        parts.append("\n".join([*lines, "", *(f"- {_plain(note)}" for note in table.said)]).rstrip())
    return "\n\n".join(parts) + "\n"


def _bars(row: Sequence[str]) -> str:
    cells = (_plain(cell).replace("|", r"\|") for cell in row)
    return f"| {' | '.join(cells)} |"


def _plain(text: str) -> str:
    """Write a text, such as the name of a file, in one line that holds no HTML and neither links nor images."""
    line = re.sub(r"[\x00-\x1f\x7f\x85\u2028\u2029]+", " ", text)
    return line.replace("<", "&lt;").replace("](", r"]\(").replace("![", r"!\[")


def latex(tables: Sequence[Table], warning: str) -> str:
    """Format the tables for LaTeX's booktabs package: notes in the caption, the warning as a paragraph on top."""
    parts = [rf"\noindent\textbf{{{_escape(warning)}}}\par"] if warning else []
    for table in tables:
        lines = [r"\begin{table}\centering", rf"\begin{{tabular}}{{l{'r' * (len(table.head) - 1)}}}", r"\toprule"]
        lines += [_ampersands(table.head), r"\midrule", *map(_ampersands, table.rows)]
        caption = _escape(" ".join([f"{table.title}.", *table.said]))
        parts.append("\n".join([*lines, r"\bottomrule", r"\end{tabular}", rf"\caption{{{caption}}}", r"\end{table}"]))
    return "\n\n".join(parts) + "\n"


def _ampersands(row: Sequence[str]) -> str:
    text = " & ".join(map(_escape, row))
    return (
        ("{}" if text[:1] in ("[", "*") else "") + text + r" \\"
    )  # otherwise the preceding \\ takes [ or * as its argument


def _escape(text: str) -> str:
    return "".join(_LATEX.get(letter, letter) for letter in text)


def to_csv(tables: Sequence[Table], warning: str) -> str:
    """Format each table as a block of CSV, with its title in the first column and `kind` and `note` in the last two.

    `kind` distinguishes the rows: `variant` (exactly what each column measures), `result`, and `note` or `warning`,
    whose text is in the last column.
    """
    text = io.StringIO()
    writer = csv.writer(text)
    for table in tables:
        empty = [""] * len(table.head)
        rows = [("table", *table.head, "kind", "note")]
        if warning:
            rows.append((table.title, *empty, "warning", warning))
        if table.variants:
            rows.append((table.title, "", *table.variants, "variant", ""))
        rows += [(table.title, *row, "result", "") for row in table.rows]
        rows += [(table.title, *empty, "note", note) for note in table.notes]
        for row in rows:  # the cells of a result begin with numbers, which may be negative
            numbers = row[2:-1] if row[-2] == "result" else map(csv_text, row[2:-1])
            writer.writerow([*map(csv_text, row[:2]), *numbers, csv_text(row[-1])])
    return text.getvalue()


def csv_text(text: str) -> str:
    """Return a text for a cell of CSV that no spreadsheet takes for a formula, as it does with =, +, - and @."""
    return f"'{text}" if text.startswith(("=", "+", "-", "@", "\t", "\r")) else text

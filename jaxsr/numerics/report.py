"""The files of a study: CSV tables, plots, and one HTML page with all of them that needs no other file."""

import base64
import csv
import html
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jaxsr.errors import install
from jaxsr.numerics.tables import Row, Tables
from jaxsr.storage import write_whole

TITLES = {
    "modular": "Modular error: KL divergence of every step from the true step, nats per element",
    "cumulative": "Cumulative error: KL divergence of the marginals (Gaussians of patches), nats per value",
    "truncation": "Local truncation error, RMS, against Heun over every step the network knows (float32)",
    "order": "Local error over the step's length (order p + 1 for a method of order p)",
    "regression": "Regression of the truncation error on the KL gradient (Theorem 3.2.1)",
    "alignment": "Alignment: cos(SR → HR, SR → LR)",
    "plane": "Paths in the plane of their principal components (first image)",
    "spectrum": "Mean power over radial frequency, cycles per pixel",
    "dispersion": "Dispersion: variance of the samples over the variance that the data require",
    "front": "Distortion and perception",
}
_STYLE = "body{font:15px sans-serif;max-width:70em;margin:2em auto;padding:0 1em}table{border-collapse:collapse}"
_STYLE += "td,th{padding:.15em .6em;border-bottom:1px solid #ddd;text-align:right}div{max-height:30em;overflow:auto}"


def to_csv(rows: Sequence[Row]) -> str:
    """Format a table as CSV, with the columns of its first row. Numbers are written in full."""
    stream = io.StringIO()
    writer = csv.DictWriter(stream, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return stream.getvalue()


def write_report(folder: Path, tables: Tables, choices: Mapping[str, Any], notes: Iterable[str] = ()) -> list[Path]:
    """Write `TABLE.csv`, `TABLE.svg` and `report.html` into a folder. Return the paths, the page first.

    Without matplotlib (in the extra `notebooks`) there are no plots, and the page says so.

    Args:
        folder: folder to write into.
        tables: tables by their names in TITLES; empty tables are left out.
        choices: choices to show at the top of the page.
        notes: sentences to show below the choices.
    Raises:
        OSError: if the folder cannot be written to.
    """
    tables = {name: tables[name] for name in TITLES if tables.get(name)}
    notes, plots = list(notes), {}
    try:
        plots = {name: plot(name, rows) for name, rows in tables.items()}
    except ModuleNotFoundError:
        notes.append(f"No plots: they need matplotlib; {install('notebooks')}.")
    files = {f"{name}.csv": to_csv(rows).encode() for name, rows in tables.items()}
    files |= {f"{name}.svg": picture for name, picture in plots.items()}
    files["report.html"] = _page(tables, plots, choices, notes).encode()
    for name, data in files.items():
        write_whole(folder / name, data)
    for stale in {f"{name}.{ending}" for name in TITLES for ending in ("csv", "svg")} - files.keys():
        (folder / stale).unlink(missing_ok=True)  # from an earlier report on other images
    return [folder / name for name in reversed(files)]


def _page(
    tables: Mapping[str, Sequence[Row]], plots: Mapping[str, bytes], choices: Mapping[str, Any], notes: Sequence[str]
) -> str:
    chosen = "".join(f"<tr><th>{_text(key)}</th><td>{_text(value)}</td></tr>" for key, value in choices.items())
    parts = [f"<h1>Numerical-error study</h1><table>{chosen}</table>"]
    parts += [f"<p>{_text(note)}</p>" for note in notes]
    for name, rows in tables.items():
        parts.append(f"<h2>{_text(TITLES[name])}</h2>")
        if name in plots:
            picture = base64.b64encode(plots[name]).decode()
            parts.append(f'<img alt="{name}" src="data:image/svg+xml;base64,{picture}">')
        parts.append(f"<div>{_html_table(rows)}</div>")
    head = f'<meta charset="utf-8"><title>Numerical-error study</title><style>{_STYLE}</style>'
    return f"<!DOCTYPE html><html lang=en><head>{head}</head><body>{''.join(parts)}</body></html>\n"


def _html_table(rows: Sequence[Row]) -> str:
    head = "".join(f"<th>{_text(key)}</th>" for key in rows[0])
    body = "".join(f"<tr>{''.join(f'<td>{_text(value)}</td>' for value in row.values())}</tr>" for row in rows)
    return f"<table><tr>{head}</tr>{body}</table>"


def _text(value: Any) -> str:
    return html.escape(f"{value:.4g}" if isinstance(value, float) else str(value))


@dataclass(frozen=True)
class Curves:
    """The content of a plot: its axes, the columns that distinguish curves and panels, and the logarithmic axes."""

    x: str
    y: tuple[str, ...]
    curve: tuple[str, ...] = ()
    panel: str | None = None
    logarithmic: str = ""


_CURVES = {
    "modular": Curves("t", ("mean",), ("states",), logarithmic="y"),
    "cumulative": Curves("t-1", ("mean", "floor"), logarithmic="y"),
    "truncation": Curves("t", ("mean",), ("sampler",)),
    "order": Curves("length", ("rms",), ("sampler",), logarithmic="xy"),
    "regression": Curves("t", ("r2",), ("reference", "through", "reference_mean"), "sampler"),
    "alignment": Curves("t", ("mean",), ("reference",)),
    "plane": Curves("x", ("y",), ("path",), "reference"),
    "spectrum": Curves("frequency", ("hr", "sr", "lr", "error"), logarithmic="y"),
    "dispersion": Curves("steps", ("ratio",), ("scale",), logarithmic="x"),
    "front": Curves("mse", ("swd",), ("scale",)),
}


def plot(name: str, rows: Sequence[Row]) -> bytes:
    """Plot one table as SVG, with intervals as bands. Raises ModuleNotFoundError if matplotlib is missing."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure  # no pyplot: no window and no state

    what = _CURVES[name]
    if name == "regression":  # the variance scales the slope and leaves R^2 as it is
        rows = [row for row in rows if row["reference_variance"] == "posterior"]
    panels = [*dict.fromkeys(row[what.panel] for row in rows)] if what.panel else [None]
    figure = Figure(figsize=(max(8, 4.5 * len(panels)), 5), layout="constrained")
    figure.suptitle(TITLES[name])
    shared: Any = None
    for place, panel in enumerate(panels, 1):
        axes = shared = figure.add_subplot(1, len(panels), place, sharey=shared if name == "regression" else None)
        _draw(axes, what, [row for row in rows if what.panel is None or row[what.panel] == panel])
        axes.set(xlabel=what.x, ylabel=" ".join(what.y), title=panel or "")
        for axis in what.logarithmic:
            getattr(axes, f"set_{axis}scale")("log")
    shared.legend(fontsize=8)
    stream = io.BytesIO()
    with rc_context({"svg.hashsalt": name}):  # else equal plots have other identifiers in every run
        figure.savefig(stream, format="svg", metadata={"Date": None})
    return stream.getvalue()


def _draw(axes: Any, what: Curves, rows: Sequence[Row]) -> None:
    for key in dict.fromkeys(tuple(row[column] for column in what.curve) for row in rows):
        curve = [row for row in rows if tuple(row[column] for column in what.curve) == key]
        at = [row[what.x] for row in curve]
        for column in what.y:
            axes.plot(at, [row[column] for row in curve], marker=".", label=" ".join(map(str, key)) or column)
            if column == "mean":
                axes.fill_between(at, [row["low"] for row in curve], [row["high"] for row in curve], alpha=0.2)
        if what.y == ("swd",):
            for row in curve:
                axes.annotate(f"{row['steps']} steps", (row["mse"], row["swd"]), fontsize=8)

"""Results side by side, and two against each other; those of different protocols or images never share a column."""

from collections.abc import Sequence
from typing import Any

from jaxsr.evaluation.layout import Table, latex, markdown, to_csv
from jaxsr.evaluation.metrics import METRICS
from jaxsr.evaluation.result import Result, ResultError
from jaxsr.evaluation.statistics import Difference, Interval, paired_difference

FORMATS = ("md", "latex", "csv")
_ARROWS = {True: "↑", False: "↓", None: ""}
_NAMES_ONLY = ("name", "about", "dataset", "metrics", "variants", "images", "lr_images")
"""What two protocols may differ in and measure the same."""


def render(results: Sequence[Result], form: str, *, against: str | None = None) -> str:
    """All results as text, one table for each hash.

    Args:
        form: of FORMATS.
        against: name of a result; the brackets then hold the interval of the difference to it, not of the mean.
    Raises:
        ResultError: where no result has that name.
    """
    if against is not None and all(result.name != against for result in results):
        raise ResultError(f"--against: no result is called {against}; there are {', '.join(r.name for r in results)}.")
    groups: dict[str, list[Result]] = {}
    for result in results:
        groups.setdefault(result.protocol_sha256, []).append(result)
    tables = [_table(group, against) for group in groups.values()]
    warning = ""
    if len(groups) > 1:
        unlike = "; ".join(_difference(results[0], group[0]) for group in list(groups.values())[1:])
        warning = (
            f"{len(groups)} tables, as the results differ in protocol or images; their numbers may not be compared "
            f"across tables: {unlike}."
        )
    return {"md": markdown, "latex": latex, "csv": to_csv}[form](tables, warning)


def _difference(first: Result, other: Result) -> str:
    """What tells two results of different hashes apart."""
    keys = [key for key in first.protocol if key not in _NAMES_ONLY]
    unlike = [key for key in keys if first.protocol[key] != other.protocol.get(key)]
    what = [f"{key} {first.protocol[key]} and {other.protocol.get(key)}" for key in unlike]
    pair = [r.data["name"] if first.name == other.name else r.name for r in (first, other)]
    return f"{' and '.join(pair)}: {', '.join(what) or 'other images'}"


def _table(results: Sequence[Result], against: str | None) -> Table:
    """Of results of one hash."""
    columns = list(dict.fromkeys((name, told["variant"]) for r in results for name, told in r.metrics.items()))
    base = next((result for result in results if result.name == against), None)
    rows = [(r.name, *(_cell(r, name, variant, base) for name, variant in columns)) for r in results]
    data, protocol, sha256 = results[0].data, results[0].protocol["name"], results[0].protocol_sha256[:12]
    title = f"{data['name']}, {data['images']} images, protocol {protocol} ({sha256})"
    head = [_heading(name, [v for n, v in columns if n == name].index(variant)) for name, variant in columns]
    named = zip(head, columns, strict=True)
    meant = [f"{title.rstrip(' ↑↓')}: {said}." if "(" in title else f"{said}." for title, (_, said) in named]
    what = f"the mean difference to {base.name}" if base else "the mean"
    notes = [f"In brackets: 95 % of {what}, by Student's t over images.", *meant, *_notes(results)]
    return Table(title, ("method", *head), tuple(rows), tuple(notes))


def _heading(name: str, number: int) -> str:
    """Of a column; a second variant of a metric gets a number: it is another metric."""
    title, arrow = METRICS[name].title, _ARROWS[METRICS[name].up]
    return f"{title}{f' ({number + 1})' if number else ''} {arrow}".rstrip()


def _cell(result: Result, name: str, variant: str, base: Result | None) -> str:
    told = result.metrics.get(name, {})
    if told.get("variant") != variant or "mean" not in told:
        return "–"
    interval: Interval | None = told["images"]
    if base is not None:
        paired = base is not result and _is_paired(result, base, name)
        interval = compare_one(result, base, name).interval if paired else None
    form = f"{'' if base is None else '+'}.{METRICS[name].digits}f"
    more = "" if interval is None else f" [{interval[0]:{form}}, {interval[1]:{form}}]"
    return f"{told['mean']:.{METRICS[name].digits}f}{more}"


def _notes(results: Sequence[Result]) -> list[str]:
    """What is to be known of some results: metrics without numbers, seeds, failures, other inputs."""
    notes = []
    for result in results:
        for name, told in result.metrics.items():
            if reason := told.get("missing") or told.get("note"):
                notes.append(f"{result.name}: {METRICS[name].title}: {reason}.")
        seeds = [f"{METRICS[n].title} {_seeds(t, n)}" for n, t in result.metrics.items() if t.get("seeds")]
        notes += [f"{result.name}: 95 % over {len(result.seeds)} seeds: {', '.join(seeds)}."] if seeds else []
        notes += [f"{result.name}: {len(result.failed)} images failed and are left out."] if result.failed else []
    known = {result.data["lr_sha256"] for result in results} - {None}
    return notes + (["The results were not all made from the same LR images."] if len(known) > 1 else [])


def _seeds(told: dict[str, Any], name: str) -> str:
    low, high = told["seeds"]
    return f"{low:.{METRICS[name].digits}f} to {high:.{METRICS[name].digits}f}"


def _is_paired(first: Result, second: Result, name: str) -> bool:
    """Whether both have numbers of one variant, image by image."""
    variants = {result.metrics.get(name, {}).get("variant") for result in (first, second)}
    return len(variants) == 1 and all(
        name in result.scored and result.column(name).images for result in (first, second)
    )


def compare_one(first: Result, second: Result, metric: str) -> Difference:
    """The paired difference of two results of one hash in a metric, of the images that both have."""
    one, other = first.column(metric), second.column(metric)
    place = {image: at for at, image in enumerate(other.images)}
    here = [at for at, image in enumerate(one.images) if image in place]
    there = [place[one.images[at]] for at in here]
    values, others = one.values.mean(0)[here], other.values.mean(0)[there]
    return paired_difference(values, others, one.groups[here], up=METRICS[metric].up)


def compare(first: Result, second: Result) -> str:
    """Two results of one hash, metric by metric: means, difference with its interval, and who won on how many images.

    Raises:
        ResultError: for results of different protocols or images, which have no pairs.
    """
    if first.protocol_sha256 != second.protocol_sha256:
        raise ResultError(
            f"the results differ in protocol or images ({_difference(first, second)}): score both under one protocol "
            "on the same images."
        )
    rows, notes = [], []
    for name in (name for name in first.scored if name in second.scored):
        if _is_paired(first, second, name):
            rows.append(_compared(first, second, name))
        else:
            variants = " and ".join(result.metrics[name]["variant"] for result in (first, second))
            notes.append(f"{METRICS[name].title} has no pairs: {variants}.")
    title = f"{first.name} less {second.name}, {first.data['name']} ({first.protocol_sha256[:12]})"
    head = ("metric", first.name, second.name, "difference", "95 %", "wins", "losses", "images")
    return markdown([Table(title, head, tuple(rows), tuple(notes))])


def _compared(first: Result, second: Result, name: str) -> tuple[str, ...]:
    found, digits = compare_one(first, second, name), METRICS[name].digits
    interval = "–" if found.interval is None else ", ".join(f"{x:+.{digits}f}" for x in found.interval)
    means = (f"{r.metrics[name]['mean']:.{digits}f}" for r in (first, second))
    counts = (str(n) for n in (found.wins, found.losses, found.n))
    return (_heading(name, 0), *means, f"{found.mean:+.{digits}f}", interval, *counts)

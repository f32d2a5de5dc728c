"""Tables of several results, and comparisons of two. Results of different protocols or images never share a column."""

from collections.abc import Sequence
from typing import NamedTuple

from jaxsr.evaluation.layout import Table, latex, markdown, to_csv
from jaxsr.evaluation.protocols import NOT_HASHED
from jaxsr.evaluation.result import Result, ResultError
from jaxsr.metrics.catalogue import METRICS
from jaxsr.metrics.statistics import Difference, Interval, Mean, mean_with_intervals, paired_difference

FORMATS = ("md", "latex", "csv")
_ARROWS = {True: "↑", False: "↓", None: ""}
_LIBRARIES = ("jaxsr", "jax")
"""The libraries whose versions a table lists if its results differ in them."""


class _Shown(NamedTuple):
    """The form in which tables show a metric."""

    title: str
    up: bool | None
    digits: int


def _shown(name: str, *results: Result) -> _Shown:
    """Look up the form of a metric. If this version of jaxsr does not know the metric, the results supply its form."""
    if metric := METRICS.get(name):
        return _Shown(metric.title, metric.more_is_better, metric.digits)
    ups = {result.metrics[name].get("up") for result in results if name in result.metrics}
    return _Shown(name, ups.pop() if len(ups) == 1 else None, 4)


def render(results: Sequence[Result], form: str, *, against: str | None = None) -> str:
    """Format all results as text, one table per hash.

    Args:
        results: the results.
        form: one of FORMATS.
        against: name of a result. Every mean is then followed by its difference to that result and the difference's
            interval, instead of the mean's interval.
    Raises:
        ResultError: if no result has the name `against`.
    """
    if against is not None and all(result.name != against for result in results):
        raise ResultError(
            f"--against: no result is called {against}; give one of {', '.join(r.name for r in results)}."
        )
    groups: dict[str, list[Result]] = {}
    for result in results:
        groups.setdefault(result.protocol_sha256, []).append(result)
    tables = [_table(group, against) for group in groups.values()]
    warning = ""
    if len(groups) > 1:
        unlike = "; ".join(_difference(results[0], group[0]) for group in list(groups.values())[1:])
        warning = (
            f"{len(groups)} tables, because the results differ in protocol or images; their numbers may not be "
            f"compared across tables: {unlike}."
        )
    return {"md": markdown, "latex": latex, "csv": to_csv}[form](tables, warning)


def _difference(first: Result, other: Result) -> str:
    """Describe what differs between two results of different hashes."""
    keys = [key for key in first.protocol if key not in NOT_HASHED]
    unlike = [key for key in keys if first.protocol[key] != other.protocol.get(key)]
    what = [f"{key} {first.protocol[key]} and {other.protocol.get(key)}" for key in unlike]
    pair = [r.data["name"] if first.name == other.name else r.name for r in (first, other)]
    return f"{' and '.join(pair)}: {', '.join(what) or 'other images'}"


def _table(results: Sequence[Result], against: str | None) -> Table:
    """Make the table of results of one hash."""
    columns = list(dict.fromkeys((name, entry["variant"]) for r in results for name, entry in r.metrics.items()))
    base = next((result for result in results if result.name == against), None)
    rows = [(r.name, *(_cell(r, name, variant, base) for name, variant in columns)) for r in results]
    data, protocol, sha256 = results[0].data, results[0].protocol["name"], results[0].protocol_sha256[:12]
    title = f"{data['name']}, {data['images']} images, protocol {protocol} ({sha256})"
    head = [_heading(_shown(n, *results), [v for m, v in columns if m == n].index(own)) for n, own in columns]
    interval = "95 % interval by Student's t over images"
    intro = f"In parentheses: the mean difference to {base.name}, and its" if base else "In brackets:"
    notes = (f"{intro} {interval}.", *(note for result in results for note in _notes(result)), *_unlike(results))
    return Table(title, ("method", *head), tuple(rows), notes, tuple(variant for _, variant in columns))


def _heading(metric: _Shown, number: int = 0) -> str:
    """Write the heading of a column. Further variants of a metric get a number, because they are different metrics."""
    return f"{metric.title}{f' ({number + 1})' if number else ''} {_ARROWS[metric.up]}".rstrip()


def _cell(result: Result, name: str, variant: str, base: Result | None) -> str:
    """Write a cell: `mean [interval]` or `mean (difference [interval])`, without the parts that are unavailable."""
    entry = result.metrics.get(name, {})
    if entry.get("variant") != variant or "mean" not in entry:
        return "–"
    digits = _shown(name, result).digits
    mean = f"{entry['mean']:.{digits}f}"
    if base is None:
        return mean + _brackets(_intervals(result, name).images, f".{digits}f")
    if base is result or not _is_paired(result, base, name):
        return mean
    difference, form = compare_one(result, base, name), f"+.{digits}f"
    return f"{mean} ({difference.mean:{form}}{_brackets(difference.interval, form)})"


def _brackets(interval: Interval | None, form: str) -> str:
    return "" if interval is None else f" [{interval[0]:{form}}, {interval[1]:{form}}]"


def _notes(result: Result) -> list[str]:
    """Write the notes about a result: metrics without numbers, intervals over seeds, and failures."""
    shown = {name: _shown(name, result) for name in result.metrics}
    reasons = {name: entry.get("missing") or entry.get("note") for name, entry in result.metrics.items()}
    notes = [f"{result.name}: {shown[name].title}: {reason}." for name, reason in reasons.items() if reason]
    intervals = _seeds(result)
    seeds = [f"{shown[n].title}{_brackets(interval, f'.{shown[n].digits}f')}" for n, interval in intervals.items()]
    notes += [f"{result.name}: 95 % over {len(result.seeds)} seeds: {', '.join(seeds)}."] if seeds else []
    if count := result.data.get("transparent"):
        one = "image is transparent and is" if count == 1 else "images are transparent and are"
        notes.append(f"{result.name}: {count} {one} compared as shown on white.")
    if count := result.data.get("recoloured"):
        one = "image has another colour profile than its original"
        one = one if count == 1 else "images have other colour profiles than their originals"
        notes.append(f"{result.name}: {count} {one}; the numbers in the files are compared as they are.")
    return notes + ([f"{result.name}: {len(result.failed)} images failed and are left out."] if result.failed else [])


def _intervals(result: Result, name: str) -> Mean:
    """Compute the intervals of a metric that has a mean, from its numbers: older results store another kind."""
    column = result.column(name)
    if column.images:
        return mean_with_intervals(column.values, column.groups)
    return Mean(result.metrics[name]["mean"], None, None)  # the metric has one number for the set of images


def _seeds(result: Result) -> dict[str, Interval]:
    """Compute the intervals over seeds, by metric."""
    intervals = {name: _intervals(result, name).seeds for name in result.scored}
    return {name: interval for name, interval in intervals.items() if interval is not None}


def _unlike(results: Sequence[Result]) -> list[str]:
    """Write notes about the differences between the results of one table: LR images, versions."""
    notes = []
    if len({result.data["lr_sha256"] for result in results} - {None}) > 1:
        notes.append("The results were not all made from the same LR images.")
    for library in _LIBRARIES:
        users: dict[str, list[str]] = {}
        for result in results:
            users.setdefault(result.versions.get(library, "not recorded"), []).append(result.name)
        if len(users) > 1:
            listed = "; ".join(f"{version} ({', '.join(names)})" for version, names in users.items())
            notes.append(f"The results come from different versions of {library}: {listed}.")
    return notes


def _is_paired(first: Result, second: Result, name: str) -> bool:
    """Return whether both have numbers of one variant, image by image."""
    variants = {result.metrics.get(name, {}).get("variant") for result in (first, second)}
    return len(variants) == 1 and all(
        name in result.scored and result.column(name).images for result in (first, second)
    )


def compare_one(first: Result, second: Result, metric: str) -> Difference:
    """Compute the paired difference of two results of one hash in a metric, over the images that both have."""
    one, other = first.column(metric), second.column(metric)
    place = {image: index for index, image in enumerate(other.images)}
    here = [index for index, image in enumerate(one.images) if image in place]
    there = [place[one.images[index]] for index in here]
    values, others = one.values.mean(0)[here], other.values.mean(0)[there]
    return paired_difference(values, others, one.groups[here], up=_shown(metric, first, second).up)


def compare(first: Result, second: Result) -> str:
    """Compare two results of one hash by metric: means, difference with its interval, and how many images each won.

    Raises:
        ResultError: if the results have different protocols or images, because then there are no pairs.
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
            notes.append(f"{_shown(name, first).title} has no pairs: {variants}.")
    title = f"{first.name} minus {second.name}, {first.data['name']} ({first.protocol_sha256[:12]})"
    head = ("metric", first.name, second.name, "difference", "95 %", "wins", "losses", "images")
    return markdown([Table(title, head, tuple(rows), tuple(notes))])


def _compared(first: Result, second: Result, name: str) -> tuple[str, ...]:
    difference, metric = compare_one(first, second, name), _shown(name, first, second)
    bounds = difference.interval
    interval = "–" if bounds is None else ", ".join(f"{x:+.{metric.digits}f}" for x in bounds)
    means = (f"{r.metrics[name]['mean']:.{metric.digits}f}" for r in (first, second))
    counts = (str(n) for n in (difference.wins, difference.losses, difference.n))
    return (_heading(metric), *means, f"{difference.mean:+.{metric.digits}f}", interval, *counts)

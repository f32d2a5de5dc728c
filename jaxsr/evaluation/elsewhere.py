"""Metrics of other libraries: the images are kept as files, which `jaxsr.evaluation.external` has scored."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from jaxsr.evaluation import external
from jaxsr.evaluation.images import Pair, Ready
from jaxsr.evaluation.protocols import Protocol
from jaxsr.imaging.pixels import from_float
from jaxsr.metrics.catalogue import METRICS

ORIGINALS = "original"
Row = dict[str, Any]
Place = tuple[int, str, int]
"""Seed, name of the image, number of the patch."""
Known = Mapping[str, Mapping[Place, tuple[float, str]]]
"""By metric: the number of each result, and what it was measured with."""
OnScore = Callable[[str, Row, float, str], None]
Ask = Callable[[Sequence[str], Sequence[Row]], dict[str, Any]]


@dataclass(frozen=True)
class Found:
    """What another library gave beside the numbers of images, which are in their rows; by the metrics' names.

    Attributes:
        whole: numbers of whole sets of images (as FID), one for each seed.
        variants: what exactly was measured, with versions and weights.
        reasons: why a metric has no number, of all images or of some, or what to know of it.
    """

    whole: dict[str, tuple[float, ...]] = field(default_factory=dict)
    variants: dict[str, str] = field(default_factory=dict)
    reasons: dict[str, str] = field(default_factory=dict)


def keep(folder: Path, pairs: Sequence[Pair], seed: int) -> None:
    """Write the results, and the originals beside them, as PNG of 8 bits."""
    for pair in pairs:
        if pair.sr is not None:
            _write(result_file(folder, pair.image, pair.patch, seed), pair.sr)
        if pair.hr is not None:
            _write(result_file(folder, pair.image, pair.patch, None), pair.hr)


def result_file(folder: Path, image: str, patch: int, seed: int | None) -> Path:
    """Where a result of a seed is kept; with None, the original."""
    return folder / (ORIGINALS if seed is None else f"seed{seed}") / f"{image}_{patch}.png"


def _write(path: Path, pixels: Ready) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels if pixels.dtype == np.uint8 else from_float(pixels, np.uint8)).save(path)


def place(row: Mapping[str, Any]) -> Place:
    """Which result a row, or a line of the journal, is of."""
    return row["seed"], row["image"], row["patch"]


def score(
    names: Sequence[str], protocol: Protocol, rows: Sequence[Row], folder: Path, known: Known, on_score: OnScore
) -> Found:
    """Put the numbers of some metrics into the rows of the images that were kept in `folder`.

    Args:
        known: numbers that a stopped run left, by metric; the rest is scored.
        on_score: called with metric, row, number and what it was measured with, for each that comes.
    """
    found = Found()

    def ask(asked: Sequence[str], of: Sequence[Row]) -> dict[str, Any]:
        return _ask(asked, protocol, of, folder, on_score) if asked else {}

    sets = [name for name in names if external.VARIANTS[METRICS[name].external].of_sets]
    fresh = [name for name in names if name not in sets and not known.get(name)]
    for name, told in ask(fresh, rows).items():
        _fill(found, name, rows, told)
    for name in (name for name in names if name not in sets and name not in fresh):
        _go_on(found, name, rows, known[name], ask)
    for name in sets:
        _score_sets(found, name, rows, ask)
    if protocol.bits is None:
        found.variants.update({name: f"{told}, of files rounded to 8 bits" for name, told in found.variants.items()})
    return found


def _ask(
    names: Sequence[str], protocol: Protocol, rows: Sequence[Row], folder: Path, on_score: OnScore
) -> dict[str, Any]:
    """What the other library says of these rows, by our names of the metrics."""
    files = [result_file(folder, row["image"], row["patch"], row["seed"]) for row in rows]
    originals = [result_file(folder, row["image"], row["patch"], None) for row in rows]
    asked = {METRICS[name].external: name for name in names}
    variants = {theirs: protocol.variant(name) for theirs, name in asked.items()}
    targets = originals if all(file.is_file() for file in originals) else None
    row_of = dict(zip(files, rows, strict=True))
    found = external.score_external(
        list(asked),
        files,
        targets,
        variants,
        on_score=lambda theirs, file, value, by: on_score(asked[theirs], row_of[file], value, by),
    )
    return {asked[theirs]: told for theirs, told in found.items()}


def _fill(found: Found, name: str, rows: Sequence[Row], told: Any) -> None:
    """Put one metric's numbers into these rows."""
    if isinstance(told, str):
        found.reasons[name] = told
        return
    found.variants[name] = _identify(told)
    for row, value in zip(rows, told.values, strict=True):
        row[name] = value
    if reason := told.note or next(iter(told.problems.values()), ""):
        found.reasons[name] = reason


def _go_on(found: Found, name: str, rows: Sequence[Row], known: Mapping[Place, tuple[float, str]], ask: Ask) -> None:
    """Score what a stopped run has not; all of it, where the library or its weights are others by now."""
    *_, (_, newest) = known.values()
    same = {key: value for key, (value, by) in known.items() if by == newest}
    todo = [row for row in rows if place(row) not in same]
    told = ask([name], todo)[name] if todo else None
    if told is not None and not isinstance(told, str) and _identify(told) != newest:
        same, todo, told = {}, list(rows), ask([name], rows)[name]
    if told is not None:
        _fill(found, name, todo, told)
    if isinstance(told, str):
        return
    found.variants.setdefault(name, newest)
    for row in rows:
        row.setdefault(name, same.get(place(row)))


def _score_sets(found: Found, name: str, rows: Sequence[Row], ask: Ask) -> None:
    """One number for each seed, of the images that all seeds have."""
    seeds: dict[int, list[Row]] = {}
    for row in rows:
        seeds.setdefault(row["seed"], []).append(row)
    common = set.intersection(*({place(row)[1:] for row in of} for of in seeds.values()))
    values = []
    for of in seeds.values():
        told = ask([name], [row for row in of if place(row)[1:] in common])[name]
        if isinstance(told, str):
            found.reasons[name] = told
            return
        values.append(told.set_score)
        found.variants[name] = f"{_identify(told)}, of {len(common)} images"
        if told.note:
            found.reasons[name] = told.note
    found.whole[name] = tuple(values)


def _identify(told: Any) -> str:
    """What was measured, with the versions and the weights that it depends on."""
    return external.identify(told.variant, told.versions, told.weights_sha256)

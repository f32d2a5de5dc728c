"""Metrics of other libraries. Images are written to files, and `jaxsr.evaluation.external` has these files scored."""

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
"""The place of a result: seed, name of the image, number of the patch."""
Known = Mapping[str, Mapping[Place, tuple[float, str]]]
"""Numbers by metric and result, each with an identification of what measured it (see `external.identify`)."""
OnScore = Callable[[str, Row, float, str], None]
Ask = Callable[[Sequence[str], Sequence[Row]], dict[str, Any]]


@dataclass(frozen=True)
class Found:
    """The results of another library by metric, except the numbers of single images, which are in the rows.

    Attributes:
        whole: numbers of whole sets of images (such as FID), one per seed.
        variants: exactly what was measured, with versions and weights.
        reasons: why a metric has no number for all or some of the images, or a caution about its numbers.
    """

    whole: dict[str, tuple[float, ...]] = field(default_factory=dict)
    variants: dict[str, str] = field(default_factory=dict)
    reasons: dict[str, str] = field(default_factory=dict)


def keep(folder: Path, pairs: Sequence[Pair], seed: int) -> None:
    """Write the results, and beside them the originals, as 8-bit PNG files."""
    for pair in pairs:
        if pair.sr is not None:
            _write(result_file(folder, pair.image, pair.patch, seed), pair.sr)
        if pair.hr is not None:
            _write(result_file(folder, pair.image, pair.patch, None), pair.hr)


def result_file(folder: Path, image: str, patch: int, seed: int | None) -> Path:
    """Return the file of a result of one seed, or of the original if `seed` is None."""
    return folder / (ORIGINALS if seed is None else f"seed{seed}") / f"{image}_{patch}.png"


def _write(path: Path, pixels: Ready) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels if pixels.dtype == np.uint8 else from_float(pixels, np.uint8)).save(path)


def place(row: Mapping[str, Any]) -> Place:
    """Return the place of a row, or of a line of the journal."""
    return row["seed"], row["image"], row["patch"]


def score(
    names: Sequence[str], protocol: Protocol, rows: Sequence[Row], folder: Path, known: Known, on_score: OnScore
) -> Found:
    """Score the images in `folder`, which `keep` wrote, by some metrics and put the numbers into their rows.

    Args:
        known: numbers that a stopped run left, by metric; only the others are scored.
        on_score: called for each new number, with the metric, the row, the number and what measured it.
    """
    outcome = Found()

    def ask(metrics: Sequence[str], part: Sequence[Row]) -> dict[str, Any]:
        return _ask(metrics, protocol, part, folder, on_score) if metrics else {}

    sets = [name for name in names if external.VARIANTS[METRICS[name].external].of_sets]
    fresh = [name for name in names if name not in sets and not known.get(name)]
    for name, answer in ask(fresh, rows).items():
        _fill(outcome, name, rows, answer)
    for name in (name for name in names if name not in sets and name not in fresh):
        _resume(outcome, name, rows, known[name], ask)
    for name in sets:
        _score_sets(outcome, name, rows, ask)
    if protocol.bits is None:
        rounded = {name: f"{variant}, of files rounded to 8 bits" for name, variant in outcome.variants.items()}
        outcome.variants.update(rounded)
    return outcome


def _ask(
    names: Sequence[str], protocol: Protocol, rows: Sequence[Row], folder: Path, on_score: OnScore
) -> dict[str, Any]:
    """Have the other library score these rows, and return its answers under our names of the metrics."""
    files = [result_file(folder, row["image"], row["patch"], row["seed"]) for row in rows]
    originals = [result_file(folder, row["image"], row["patch"], None) for row in rows]
    ours = {METRICS[name].external: name for name in names}
    variants = {theirs: protocol.variant(name) for theirs, name in ours.items()}
    targets = originals if all(file.is_file() for file in originals) else None
    row_of = dict(zip(files, rows, strict=True))
    answers = external.score_external(
        list(ours),
        files,
        targets,
        variants,
        on_score=lambda theirs, file, value, by: on_score(ours[theirs], row_of[file], value, by),
    )
    return {ours[theirs]: answer for theirs, answer in answers.items()}


def _fill(outcome: Found, name: str, rows: Sequence[Row], answer: Any) -> None:
    """Put one metric's numbers into these rows, and the rest of the answer into `outcome`."""
    if isinstance(answer, str):
        outcome.reasons[name] = answer
        return
    outcome.variants[name] = _identify(answer)
    for row, value in zip(rows, answer.values, strict=True):
        row[name] = value
    if reason := answer.note or next(iter(answer.problems.values()), ""):
        outcome.reasons[name] = reason


def _resume(outcome: Found, name: str, rows: Sequence[Row], known: Mapping[Place, tuple[float, str]], ask: Ask) -> None:
    """Score the rows that a stopped run has not scored, or all rows if the library or its weights have changed."""
    *_, (_, newest) = known.values()
    same = {key: value for key, (value, by) in known.items() if by == newest}
    todo = [row for row in rows if place(row) not in same]
    answer = ask([name], todo)[name] if todo else None
    if answer is not None and not isinstance(answer, str) and _identify(answer) != newest:
        same, todo, answer = {}, list(rows), ask([name], rows)[name]
    if answer is not None:
        _fill(outcome, name, todo, answer)
    if isinstance(answer, str):
        return
    outcome.variants.setdefault(name, newest)
    for row in rows:
        row.setdefault(name, same.get(place(row)))


def _score_sets(outcome: Found, name: str, rows: Sequence[Row], ask: Ask) -> None:
    """Compute one number per seed from the images that all seeds have."""
    seeds: dict[int, list[Row]] = {}
    for row in rows:
        seeds.setdefault(row["seed"], []).append(row)
    common = set.intersection(*({place(row)[1:] for row in part} for part in seeds.values()))
    values = []
    for part in seeds.values():
        answer = ask([name], [row for row in part if place(row)[1:] in common])[name]
        if isinstance(answer, str):
            outcome.reasons[name] = answer
            return
        values.append(answer.set_score)
        outcome.variants[name] = f"{_identify(answer)}, of {len(common)} images"
        if answer.note:
            outcome.reasons[name] = answer.note
    outcome.whole[name] = tuple(values)


def _identify(answer: Any) -> str:
    """Describe what was measured, with the versions and the weights that it depends on."""
    return external.identify(answer.variant, answer.versions, answer.weights_sha256)

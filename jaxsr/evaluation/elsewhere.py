"""Metrics of other libraries: the images are kept as files, which `jaxsr.evaluation.external` has scored."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from jaxsr.evaluation import external
from jaxsr.evaluation.images import Pair, Ready
from jaxsr.evaluation.metrics import METRICS
from jaxsr.evaluation.protocols import Protocol
from jaxsr.imaging.pixels import from_float

ORIGINALS = "original"


@dataclass(frozen=True)
class Found:
    """What another library gave beside the numbers of images, which are in their rows; by the metrics' names.

    Attributes:
        whole: numbers of whole sets of images (as FID).
        variants: what exactly was measured, with versions and weights.
        reasons: why a metric has no number, of all images or of some, or what to know of it.
    """

    whole: dict[str, float] = field(default_factory=dict)
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


def score(names: Sequence[str], protocol: Protocol, rows: Sequence[dict[str, Any]], folder: Path) -> Found:
    """Put the numbers of some metrics into the rows of the images that were kept in `folder`."""
    found = Found()
    files = [result_file(folder, row["image"], row["patch"], row["seed"]) for row in rows]
    originals = [result_file(folder, row["image"], row["patch"], None) for row in rows]
    asked = {METRICS[name].external: name for name in names}
    variants = {theirs: protocol.variant(name) for theirs, name in asked.items()}
    targets = originals if all(file.is_file() for file in originals) else None
    for theirs, told in external.score_external(list(asked), files, targets, variants).items():
        name = asked[theirs]
        if isinstance(told, str):
            found.reasons[name] = told
            continue
        found.variants[name] = _identify(told)
        if told.set_score is not None:
            found.whole[name] = told.set_score
        for row, value in zip(rows, told.values, strict=False):
            row[name] = value
        if reason := told.note or next(iter(told.problems.values()), ""):
            found.reasons[name] = reason
    return found


def _identify(told: Any) -> str:
    """What was measured, with the versions and the weights that it depends on."""
    versions = ", ".join(f"{name} {version}" for name, version in told.versions.items())
    weights = f", weights {told.weights_sha256[:12]}" if told.weights_sha256 else ""
    return f"{told.variant}, {versions}{weights}"

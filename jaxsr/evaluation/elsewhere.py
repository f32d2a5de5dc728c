"""Metrics of other libraries: the images are kept as files, which `jaxsr.evaluation.external` has scored."""

import importlib
import importlib.util
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from jaxsr.evaluation.images import Pair, Ready
from jaxsr.evaluation.protocols import Protocol
from jaxsr.imaging.pixels import from_float

ADAPTER = "jaxsr.evaluation.external"
ORIGINALS = "original"


@dataclass(frozen=True)
class Found:
    """Numbers of whole sets of images (as FID), and why a metric has none; numbers of images are in their rows."""

    whole: dict[str, float] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)


def why_missing(name: str) -> str | None:
    """Why no metric of another library can be had, or None; that one has no weights shows only when it is run."""
    if importlib.util.find_spec(ADAPTER) is None:
        return f"{name} is scored by pyiqa, for which this version has no adapter"
    return None


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
    """Put the numbers of some metrics into the rows of the images that were kept in `folder`.

    The adapter gives for each name a list of numbers (one per image, None where it has none), one number for all, or a
    sentence that says why there is none.
    """
    adapter, found = importlib.import_module(ADAPTER), Found()
    files = [result_file(folder, row["image"], row["patch"], row["seed"]) for row in rows]
    originals = [result_file(folder, row["image"], row["patch"], None) for row in rows]
    variants: dict[str, Mapping[str, Any]] = {name: protocol.variant(name) for name in names}
    for name, values in adapter.score_external(names, files, originals, variants).items():
        if isinstance(values, str):
            found.missing[name] = values
        elif isinstance(values, float):
            found.whole[name] = values
        else:
            for row, value in zip(rows, values, strict=True):
                row[name] = value
    return found

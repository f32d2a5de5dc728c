"""The result of an evaluation: a JSON file with every number of every image, and what the numbers are of."""

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int

from jaxsr.metrics.catalogue import METRICS
from jaxsr.metrics.statistics import mean_with_intervals
from jaxsr.storage import write_whole

Row = dict[str, Any]


class ResultError(ValueError):
    """A file that is no result of an evaluation."""


class Column(NamedTuple):
    """A metric's numbers: a row per seed and a column per image, these images' (name, patch), and their photographs."""

    values: Float[np.ndarray, "s n"]
    images: tuple[tuple[str, int], ...]
    groups: Int[np.ndarray, " n"]


@dataclass(frozen=True, kw_only=True)
class Result:
    """What was measured.

    Attributes:
        name: of the method, as tables have it.
        protocol: all of it. protocol_sha256: `Protocol.hash` of it and the originals.
        data: which data set; the hashes of the LR images' pixels and of all files.
        method: what made the results.
        seeds: of the samples.
        metrics: by name, `variant` (what exactly), `mean`, `images` and `seeds` (95 % intervals), `n` images, and
            `by_seed` for a number of sets; or `missing`, why there is no number.
        images: one row per seed, image and patch.
        failed: images that could not be scored, with the reason.
        versions: of jaxsr and the libraries that the numbers come from.
        command: that made this.
    """

    name: str
    protocol: dict[str, Any]
    protocol_sha256: str
    data: dict[str, Any]
    method: dict[str, Any]
    seeds: list[int]
    metrics: dict[str, dict[str, Any]]
    images: list[Row]
    failed: list[str]
    versions: dict[str, str]
    command: str

    def column(self, metric: str) -> Column:
        """The numbers of one metric, of the images that have one for every seed."""
        by_image: dict[tuple[str, int], dict[int, float]] = {}
        for row in self.images:
            if row.get(metric) is not None:
                by_image.setdefault((row["image"], row["patch"]), {})[row["seed"]] = row[metric]
        whole = {key: found for key, found in by_image.items() if len(found) == len(self.seeds)}
        keys = tuple(sorted(whole))
        values = np.array([[whole[key][seed] for key in keys] for seed in self.seeds], np.float64)
        _, groups = np.unique([name for name, _ in keys], return_inverse=True)
        return Column(values.reshape(len(self.seeds), len(keys)), keys, groups.reshape(-1))

    @cached_property
    def scored(self) -> list[str]:
        """The metrics that have a mean."""
        return [name for name, told in self.metrics.items() if "mean" in told]

    @property
    def without(self) -> list[str]:
        """The metrics that have no number at all."""
        return [name for name, told in self.metrics.items() if "missing" in told]

    def write(self, path: Path) -> None:
        """Write the file, whole or not at all."""
        write_whole(path, json.dumps(asdict(self), indent=1) + "\n")

    @classmethod
    def read(cls, path: Path) -> "Result":
        """Read a file. Raises ResultError for one that is no result, OSError for one that is not there."""
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise ResultError(f"{path}: cannot be read as JSON ({error}); give a result of this command.") from error
        names = {one.name for one in fields(cls)}
        if not isinstance(content, dict) or content.keys() != names:
            raise ResultError(f"{path}: is no result of an evaluation; give one that jaxsr.evaluate wrote with -o.")
        return cls(**content)

    def csv(self) -> str:
        """One line per seed, image and patch."""
        text = io.StringIO()
        writer = csv.DictWriter(text, ["image", "patch", "seed", *self.scored], extrasaction="ignore")
        writer.writeheader()
        writer.writerows(self.images)
        return text.getvalue()


def summarise(
    result: Result, variants: Mapping[str, str], reasons: Mapping[str, str], whole: Mapping[str, Sequence[float]]
) -> dict[str, dict[str, Any]]:
    """The `metrics` of a result, from its rows.

    Args:
        result: whose `metrics` are not there yet.
        variants: what is measured, in words, by the metric's name, in the order of the columns.
        reasons: why a metric has no number, of all images or of some; or what else is to be told of it.
        whole: numbers of the images as a set, one for each seed; they have no interval over images.
    """
    total, found = len({(row["image"], row["patch"]) for row in result.images}), {}
    for name, variant in variants.items():
        column, told = result.column(name), {"variant": variant, "up": METRICS[name].more_is_better}
        few = f"of {len(column.images)} of {total} images" if len(column.images) < total else ""
        if column.images:
            told |= mean_with_intervals(column.values, column.groups)._asdict() | {"n": len(column.images)}
        elif name in whole:
            mean = mean_with_intervals(np.array(whole[name], np.float64)[:, None], np.zeros(1, int))
            told |= mean._asdict() | {"n": total, "by_seed": list(whole[name])}
            few = ""
        else:
            told["missing"] = reasons.get(name, "no image was scored")
        if "mean" in told and (note := "; ".join(filter(None, (few, reasons.get(name))))):
            told["note"] = note
        found[name] = told
    return found

"""The result of an evaluation: a JSON file with every number of every image, and the record of how it was made."""

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int

from jaxsr.evaluation.layout import csv_text
from jaxsr.metrics.catalogue import METRICS
from jaxsr.metrics.statistics import mean_with_intervals
from jaxsr.plain_data import convert, parse_json
from jaxsr.storage import write_whole

Row = dict[str, Any]


class ResultError(ValueError):
    """A file that is not the result of an evaluation."""


class Column(NamedTuple):
    """The numbers of a metric, with a row per seed and a column per image.

    `images` has the (name, patch) of each column, and `groups` the number of its photograph.
    """

    values: Float[np.ndarray, "s n"]
    images: tuple[tuple[str, int], ...]
    groups: Int[np.ndarray, " n"]


@dataclass(frozen=True, kw_only=True)
class Result:
    """The result of an evaluation.

    Attributes:
        name: name of the method in tables.
        protocol: all fields of the protocol.
        protocol_sha256: `Protocol.hash` of the protocol and the originals.
        data: the data set; the hashes of the LR images' pixels and of all files.
        method: what made the results.
        seeds: seeds of the samples.
        metrics: by name: `variant` (exactly what was measured), `mean`, `images` and `seeds` (95 % intervals), `n`
            images, and `by_seed` for a metric of sets; or `missing`, the reason why there is no number.
        images: one row per seed, image and patch.
        failed: images that could not be scored, with the reason.
        versions: versions of jaxsr and of the libraries that computed the numbers.
        command: the command that made this result.
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
        """Collect the numbers of one metric, for the images that have a number for every seed."""
        by_image: dict[tuple[str, int], dict[int, float]] = {}
        for row in self.images:
            if row.get(metric) is not None:
                by_image.setdefault((row["image"], row["patch"]), {})[row["seed"]] = row[metric]
        complete = {key: numbers for key, numbers in by_image.items() if len(numbers) == len(self.seeds)}
        keys = tuple(sorted(complete))
        values = np.array([[complete[key][seed] for key in keys] for seed in self.seeds], np.float64)
        _, groups = np.unique([name for name, _ in keys], return_inverse=True)
        return Column(values.reshape(len(self.seeds), len(keys)), keys, groups.reshape(-1))

    @property
    def names(self) -> set[str]:
        """The names of the images."""
        return {row["image"] for row in self.images}

    @cached_property
    def scored(self) -> list[str]:
        """List the metrics that have a mean."""
        return [name for name, entry in self.metrics.items() if "mean" in entry]

    @property
    def without(self) -> list[str]:
        """List the metrics that have no number at all."""
        return [name for name, entry in self.metrics.items() if "missing" in entry]

    def write(self, path: Path) -> None:
        """Write the file, completely or not at all."""
        write_whole(path, json.dumps(asdict(self), indent=1) + "\n")

    @classmethod
    def read(cls, path: Path) -> "Result":
        """Read a file. Raises ResultError if it is not a result, and OSError if it does not exist."""
        try:
            content = parse_json(path.read_bytes())
        except ValueError as error:
            raise ResultError(f"{path}: cannot be read as JSON ({error}); give a result of this command.") from error
        names = {field.name for field in fields(cls)}
        if not isinstance(content, dict) or content.keys() != names:
            raise ResultError(f"{path}: is no result of an evaluation; give one that jaxsr.evaluate wrote with -o.")
        try:
            found = convert(content, cls)
            check_rows(found)
        except ValueError as error:
            raise ResultError(f"{path}: is a damaged result ({error}); evaluate again.") from error
        return found

    def csv(self) -> str:
        """Format the numbers as CSV, one line per seed, image and patch."""
        text = io.StringIO()
        names = ["image", "patch", "seed", *self.scored]
        writer = csv.DictWriter(text, names, extrasaction="ignore")
        writer.writerow({name: csv_text(name) for name in names})
        writer.writerows(row | {"image": csv_text(row["image"])} for row in self.images)
        return text.getvalue()


def check_rows(result: Result) -> None:
    """Raise ValueError unless every row and every metric of a result has the fields that tables need."""
    for i, row in enumerate(result.images):
        kinds = {"image": str, "patch": int, "seed": int}
        if wrong := [name for name, kind in kinds.items() if type(row.get(name)) is not kind]:
            raise ValueError(f"images[{i}].{wrong[0]}: must be {kinds[wrong[0]].__name__}")
        if row["seed"] not in result.seeds:
            raise ValueError(f"images[{i}].seed: is not among the seeds of the result")
        numbers = {name: value for name, value in row.items() if name not in kinds}
        if wrong := [name for name, value in numbers.items() if not isinstance(value, int | float | None)]:
            raise ValueError(f"images[{i}].{wrong[0]}: must be a number or null")
    _check_fields("protocol", result.protocol, {"name": str})
    _check_fields("data", result.data, {"name": str, "images": int, "lr_sha256": str | None})
    for name, entry in result.metrics.items():
        _check_fields(f"metrics.{name[:40]}", entry, {"variant": str} | ({"up": bool | None} if "up" in entry else {}))
        if not isinstance(entry.get("missing", ""), str) or not ("missing" in entry or "mean" in entry):
            raise ValueError(f"metrics.{name[:40]}: must have a mean, or say why it is missing")
        if isinstance(entry.get("mean", 0.0), bool) or not isinstance(entry.get("mean", 0.0), int | float):
            raise ValueError(f"metrics.{name[:40]}.mean: must be a number")
        if not isinstance(entry.get("note", ""), str):
            raise ValueError(f"metrics.{name[:40]}.note: must be str")


def _check_fields(where: str, found: Mapping[str, Any], kinds: Mapping[str, Any]) -> None:
    for name, kind in kinds.items():
        if name not in found or not isinstance(found[name], kind) or (kind is int and found[name] is True):
            raise ValueError(f"{where}.{name}: is missing, or not {getattr(kind, '__name__', kind)}")


def restrict(result: Result, few: Result) -> Result:
    """Restrict a result to the images of another one, which has some of them and is of the same set and protocol.

    Numbers of the images as a set are left out, because they cannot be computed from those of the whole set.

    Raises:
        ValueError: if the result lacks some of the images.
    """
    kept = few.names
    if not kept <= result.names:
        raise ValueError(f"{result.name} lacks {', '.join(sorted(kept - result.names))}, which {few.name} has.")
    rows = [row for row in result.images if row["image"] in kept]
    old, new = (str(r.data["lr_sha256"])[:12] for r in (result, few))  # variants name the LR images
    variants = {name: entry["variant"].replace(old, new) for name, entry in result.metrics.items()}
    reasons = {name: entry["missing"] for name, entry in result.metrics.items() if "missing" in entry}
    reasons |= {name: "it is of the whole set" for name, entry in result.metrics.items() if "by_seed" in entry}
    data = result.data | {"images": few.data["images"], "lr_sha256": few.data["lr_sha256"]}
    part = replace(result, protocol_sha256=few.protocol_sha256, data=data, images=rows, metrics={}, failed=[])
    return replace(part, metrics=summarise(part, variants, reasons, {}))


def summarise(
    result: Result, variants: Mapping[str, str], reasons: Mapping[str, str], whole: Mapping[str, Sequence[float]]
) -> dict[str, dict[str, Any]]:
    """Compute the `metrics` of a result from its rows.

    Args:
        result: a result whose `metrics` are still empty.
        variants: what each metric measures in words, by its name, in the order of the columns.
        reasons: why a metric has no number for all or some of the images, or a caution about its numbers.
        whole: numbers of the images as a set, one per seed; they have no interval over images.
    """
    total, metrics = len({(row["image"], row["patch"]) for row in result.images}), {}
    for name, variant in variants.items():
        column, entry = result.column(name), {"variant": variant, "up": METRICS[name].more_is_better}
        coverage = f"of {len(column.images)} of {total} images" if len(column.images) < total else ""
        if column.images:
            entry |= mean_with_intervals(column.values, column.groups)._asdict() | {"n": len(column.images)}
        elif name in whole:
            mean = mean_with_intervals(np.array(whole[name], np.float64)[:, None], np.zeros(1, int))
            entry |= mean._asdict() | {"n": total, "by_seed": list(whole[name])}
            coverage = ""
        else:
            entry["missing"] = reasons.get(name, "no image was scored")
        if "mean" in entry and (note := "; ".join(filter(None, (coverage, reasons.get(name))))):
            entry["note"] = note
        metrics[name] = entry
    return metrics

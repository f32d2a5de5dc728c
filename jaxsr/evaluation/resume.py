"""Selects the journal lines of a stopped evaluation that are still valid: the files of their images are unchanged."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from jaxsr.evaluation import external_scoring
from jaxsr.evaluation.pairs import Item
from jaxsr.storage import sha256_file

Line = dict[str, Any]
"""A journal line: about an image and a seed (it has `rows`), or about a number of another library (it has `metric`)."""
Hashes = dict[str, list[str | None]]
"""Name of an image -> SHA-256 of the files of its original, LR image and result; None for a missing file."""


def file_hashes(items: Sequence[Item]) -> Hashes:
    """Hash the files of all items. The hash of an unreadable file is "": its error is reported when its turn comes."""
    with ThreadPoolExecutor() as pool:
        return dict(zip([item.name for item in items], pool.map(_hashes, items), strict=True))


def _hashes(item: Item) -> list[str | None]:
    return [_hash(source) if isinstance(source, Path) else None for source in (item.target, item.lr, item.pred)]


def _hash(path: Path) -> str:
    try:
        return sha256_file(path)
    except OSError:
        return ""


def fingerprint(hashes: Mapping[str, object]) -> str:
    """Compute one hash of the names of all images and of a value for each, such as the hashes of its files."""
    return hashlib.sha256(repr(sorted(hashes.items())).encode()).hexdigest()


def holding(lines: Iterable[Line], hashes: Hashes, files: Path | None) -> list[Line]:
    """Select the lines of images whose files are unchanged. If `files` is a folder, it must hold the compared images.

    Raises:
        ValueError: if there are lines but none belongs to these files: they come from another evaluation.
    """
    scored = [line for line in lines if "rows" in line]
    same = [line for line in scored if line["files"] == hashes.get(line["image"])]
    if scored and not same:
        raise ValueError("holds a stopped evaluation of other images")
    newest = {(line["seed"], line["image"]): line for line in same if files is None or _is_kept(line, files)}
    return list(newest.values())


def kept_in(files: Path | None) -> str | None:
    """Write the folder of the compared images as a line records it."""
    return None if files is None else str(files.resolve())


def _is_kept(line: Line, files: Path) -> bool:
    seeds = (line["seed"], None) if line["hr"] else (line["seed"],)
    places = [(row["patch"], seed) for row in line["rows"] for seed in seeds]
    here = (external_scoring.result_file(files, line["image"], patch, seed).is_file() for patch, seed in places)
    return line["kept"] == kept_in(files) and all(here)


def external_scores(lines: Iterable[Line], hashes: Hashes) -> external_scoring.Known:
    """Collect the numbers of other libraries that are still valid, the newest of each metric last."""
    known: dict[str, dict[external_scoring.Place, tuple[float, str]]] = {}
    for line in lines:
        if "metric" in line and line["files"] == hashes.get(line["image"]):
            numbers, place = known.setdefault(line["metric"], {}), external_scoring.place(line)
            numbers.pop(place, None)
            numbers[place] = line["score"], line["by"]
    return known


def external_line(name: str, row: Mapping[str, Any], score: float, by: str, hashes: Hashes) -> Line:
    """Make the line of a number that another library gave the image of a row."""
    place = {key: row[key] for key in ("seed", "image", "patch")}
    return {"metric": name, **place, "score": score, "by": by, "files": hashes[row["image"]]}

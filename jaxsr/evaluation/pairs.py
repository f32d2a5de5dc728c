"""The pairing of results, originals and LR images: by name, never by order. Files without a partner are reported."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from jaxsr.data.photographs import RGB
from jaxsr.imaging.folders import list_images

Source = Path | Callable[[], RGB]
"""The source of an image: its file, or a function that makes its pixels."""
Match = dict[str, Path]

# Endings that programs and data sets add: 0801x4, baby_HR, Canon_001_LR4, img_001_SRF_4_LR, baby_out, baby_SRx4.
_ENDING = re.compile(
    r"(?:[_-](?:hr|lr|gt|lq|sr|out|output|result|pred|restored|upscaled)(?:x?\d)?|[_-]?x\d|[_-]srf_\d)$", re.IGNORECASE
)
_SHOWN = 8


class PairingError(ValueError):
    """Files with no partner, or with more than one."""


@dataclass(frozen=True)
class Item:
    """One image of a data set: its name, and the sources of its original, LR image and result, if they exist."""

    name: str
    target: Source | None = None
    lr: Path | None = None
    pred: Path | None = None


def plain_name(name: str) -> str:
    """Remove the endings that programs and data sets add to a name."""
    while (shorter := _ENDING.sub("", name)) != name and shorter:
        name = shorter
    return name


def folder_names(folder: Path) -> Match:
    """List the image files in and below a folder by name: the path relative to the folder, without the extension.

    Raises:
        PairingError: if the folder has no images, or if two files have one name.
        ValueError: if `folder` is not a folder.
    """
    files = list_images(folder, recursive=True)
    if not files:
        raise PairingError(f"{folder}: has no images; give the folder that holds them.")
    return _unique((file.relative_to(folder).with_suffix("").as_posix(), file) for file in files)


def _unique(named: Iterable[tuple[str, Path]]) -> Match:
    files: Match = {}
    for name, file in named:
        if name in files:
            raise PairingError(f"{files[name]} and {file} are both called {name}: rename or remove one.")
        files[name] = file
    return files


def match(names: Mapping[str, Sequence[str]], files: Match, option: str) -> Match:
    """Find the file of every name.

    A file matches if it has the name itself or one of its other names. Usual endings of the names may differ.

    Args:
        names: the names of the originals, each with all names that its file may have (such as its LR image's).
        files: the files by their own names.
        option: the option that gave the files, for the error.
    Raises:
        PairingError: if the match is incomplete. It lists every name without a file and every file without a name, and
            drops none.
    """
    best: tuple[int, Match, list[str]] | None = None
    own = {name: (name,) for name in names}
    for known in (own, names):
        for shorten in (str, plain_name):
            partners, alone = _attempt(known, files, shorten)
            if not alone:
                return partners
            if best is None or len(alone) < best[0]:
                best = len(alone), partners, alone
    alone = best[2] if best else []
    rest = f" and {len(alone) - _SHOWN} more" if len(alone) > _SHOWN else ""
    raise PairingError(
        f"{option}: without one partner of the same name: {', '.join(alone[:_SHOWN])}{rest}; "
        "rename, add or remove these files."
    )


def _attempt(
    names: Mapping[str, Sequence[str]], files: Match, shorten: Callable[[str], str]
) -> tuple[Match, list[str]]:
    """Match once. Return the matches, and a list of all names and files without exactly one partner."""
    wanted: dict[str, set[str]] = {}
    for name, others in names.items():
        for other in others:
            wanted.setdefault(shorten(other), set()).add(name)
    holders: dict[str, list[Path]] = {}
    lost = []
    for own, file in files.items():
        owners = wanted.get(shorten(own), set())
        if len(owners) == 1:
            holders.setdefault(next(iter(owners)), []).append(file)
        else:
            lost.append(str(file))
    alone = [f"{name} (no file)" for name in names if name not in holders]
    alone += [f"{' and '.join(map(str, held))} (for one name)" for held in holders.values() if len(held) > 1]
    return {name: holders[name][0] for name in names if name in holders}, alone + lost


def read_table(path: Path, root: Path) -> dict[Path, Path]:
    """Read a table with two columns, LR path and HR path below `root`, and return the LR file of every HR file.

    A tab separates the columns.

    Raises:
        PairingError: if a line has another form, or if an HR file occurs twice.
        OSError: if the table does not exist.
    """
    partners: dict[Path, Path] = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        if not line.strip():
            continue
        columns = line.split("\t")
        if len(columns) != 2:
            raise PairingError(f"{path}:{number}: must be an LR path, a tab and an HR path; correct the line.")
        lr, hr = (root / column.strip() for column in columns)
        if hr in partners:
            raise PairingError(f"{path}:{number}: {columns[1]} has an LR image already; remove one of the lines.")
        partners[hr] = lr
    return partners


def attach(items: Sequence[Item], *, pred: Path | None = None, lr: Path | None = None) -> list[Item]:
    """Give the items the files of a folder of results (`pred`) or of LR images (`lr`), matched by name.

    Raises:
        PairingError: see `match`.
    """
    attached = list(items)
    if lr is not None:
        files = match({item.name: _names(item) for item in attached}, folder_names(lr), "--lr")
        attached = [replace(item, lr=files[item.name]) for item in attached]
    if pred is not None:
        files = match({item.name: _names(item) for item in attached}, folder_names(pred), "--pred")
        attached = [replace(item, pred=files[item.name]) for item in attached]
    return attached


def attach_some(items: Sequence[Item], folder: Path, option: str) -> list[Item]:
    """Return the items that have a result in a folder, with it. A name itself goes before one with usual endings.

    Args:
        items: the images.
        folder: the folder of results. It may lack some, may have files of other images, and may be empty.
        option: the option that gave the folder, for the error.
    Raises:
        PairingError: if two files have one name, or are the result of one item, or one file is that of two items.
    """
    files = folder_names(folder) if list_images(folder, recursive=True) else {}
    found: dict[Path, Item] = {}
    for item in items:
        for shorten in (str, plain_name):
            wanted = {shorten(name) for name in _names(item)}
            hits = [file for name, file in files.items() if shorten(name) in wanted]
            if len(hits) > 1:
                raise PairingError(f"{option}: {hits[0]} and {hits[1]} are both of {item.name}; rename or remove one.")
            if hits:
                if other := found.get(hits[0]):
                    raise PairingError(f"{option}: {hits[0]} is of {other.name} and {item.name}; rename it.")
                found[hits[0]] = replace(item, pred=hits[0])
                break
    return list(found.values())


def _names(item: Item) -> tuple[str, ...]:
    """List the names that the file of an image may have: the image's own, and its LR image's."""
    return (item.name,) if item.lr is None else (item.name, item.lr.stem)

"""Which result, original and LR image belong together: by name, never by order, and whoever is alone is told."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from jaxsr.data.photographs import RGB
from jaxsr.imaging.files import list_images

Source = Path | Callable[[], RGB]
"""Where an image is: its file, or what makes its pixels."""
Match = dict[str, Path]

# What programs and data sets add to a name: 0801x4, baby_HR, Canon_001_LR4, img_001_SRF_4_LR, baby_out, baby_SRx4.
_ENDING = re.compile(
    r"(?:[_-](?:hr|lr|gt|lq|sr|out|output|result|pred|restored|upscaled)(?:x?\d)?|[_-]?x\d|[_-]srf_\d)$", re.IGNORECASE
)
_SHOWN = 8


class PairingError(ValueError):
    """Files that have no partner, or more than one."""


@dataclass(frozen=True)
class Item:
    """One image of a data set: its name, and where its original, its LR image and its result are, if they are."""

    name: str
    target: Source | None = None
    lr: Path | None = None
    pred: Path | None = None


def plain_name(name: str) -> str:
    """A name without the endings that programs and data sets add to it."""
    while (shorter := _ENDING.sub("", name)) != name and shorter:
        name = shorter
    return name


def folder_names(folder: Path) -> Match:
    """The image files in and below a folder by their names: the path from there without the extension.

    Raises:
        PairingError: for a folder without images, or two files of one name; ValueError for no folder.
    """
    files = list_images(folder, recursive=True)
    if not files:
        raise PairingError(f"{folder}: there are no images in it; give the folder that holds them.")
    return _unique((file.relative_to(folder).with_suffix("").as_posix(), file) for file in files)


def _unique(named: Iterable[tuple[str, Path]]) -> Match:
    found: Match = {}
    for name, file in named:
        if name in found:
            raise PairingError(f"{found[name]} and {file} are both called {name}: rename or remove one.")
        found[name] = file
    return found


def match(names: Mapping[str, Sequence[str]], files: Match, option: str) -> Match:
    """The file of every name: called so, or as one of its other names, or either of them but for usual endings.

    Args:
        names: of the originals, each with the other names that it goes by (as that of its LR image).
        files: by their own names.
        option: what gave the files, for the error.
    Raises:
        PairingError: listing every name without a file and every file without a name; none is dropped.
    """
    best: tuple[int, Match, list[str]] | None = None
    own = {name: (name,) for name in names}
    for known in (own, names):
        for shorten in (str, plain_name):
            found, alone = _attempt(known, files, shorten)
            if not alone:
                return found
            if best is None or len(alone) < best[0]:
                best = len(alone), found, alone
    alone = best[2] if best else []
    more = f" and {len(alone) - _SHOWN} more" if len(alone) > _SHOWN else ""
    raise PairingError(
        f"{option}: without one partner of the same name: {', '.join(alone[:_SHOWN])}{more}; "
        "rename, add or remove these files."
    )


def _attempt(
    names: Mapping[str, Sequence[str]], files: Match, shorten: Callable[[str], str]
) -> tuple[Match, list[str]]:
    """What is matched, and the names and files that are alone or have several partners."""
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
    """The LR file of every HR file of a table of two columns with a tab between: LR path, HR path, both below `root`.

    Raises:
        PairingError: for a line of another form, or an HR file named twice; OSError for a table that is not there.
    """
    partners: dict[Path, Path] = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        if not line.strip():
            continue
        columns = line.split("\t")
        if len(columns) != 2:
            raise PairingError(f"{path}:{number}: must be an LR path, a tab and an HR path.")
        lr, hr = (root / column.strip() for column in columns)
        if hr in partners:
            raise PairingError(f"{path}:{number}: {columns[1]} has an LR image already.")
        partners[hr] = lr
    return partners


def attach(items: Sequence[Item], *, pred: Path | None = None, lr: Path | None = None) -> list[Item]:
    """The items with the files of a folder of results, or of LR images, that go by their names.

    Raises:
        PairingError: see `match`.
    """
    found = list(items)
    if lr is not None:
        files = match({item.name: _names(item) for item in found}, folder_names(lr), "--lr")
        found = [replace(item, lr=files[item.name]) for item in found]
    if pred is not None:
        files = match({item.name: _names(item) for item in found}, folder_names(pred), "--pred")
        found = [replace(item, pred=files[item.name]) for item in found]
    return found


def _names(item: Item) -> tuple[str, ...]:
    """An image's result may be called as its LR image is."""
    return (item.name,) if item.lr is None else (item.name, item.lr.stem)

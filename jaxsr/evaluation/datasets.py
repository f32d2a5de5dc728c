"""The images of a named data set, of any folder, or of a TFDS data set, with their LR images if it has any.

A named data set lies below one folder, in one of the layouts that `datasets.json` lists. The first layout that exists
is used.
"""

import json
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from jaxsr.data.side_by_side import low_names, partners
from jaxsr.evaluation.pairs import Item, Match, PairingError, attach, folder_names, match, plain_name, read_table
from jaxsr.evaluation.protocols import Protocol, ProtocolError, did_you_mean
from jaxsr.imaging.files import READ

SCALE = 4
"""The scale of the models here, of whose LR images a folder with several is made."""
FILE = Path(__file__).with_name("datasets.json")


def known_datasets() -> dict[str, dict[str, Any]]:
    """Read the table of named data sets: their layouts, and how to get them."""
    return json.loads(FILE.read_text(encoding="utf-8"))


def open_dataset(name: str, data: Path | None = None, lr: Path | None = None, scale: int = SCALE) -> list[Item]:
    """List the images of a data set, sorted by name.

    Args:
        name: the name of a known data set below `data`, a folder of HR images, or `tfds:NAME/SPLIT` (see
            `jaxsr.data.sources.load_tfds`).
        data: the folder that holds the known data sets.
        lr: a folder of LR images. They replace the data set's own LR images, and also the ones that bicubic would make.
        scale: the scale of the LR images to take, where a folder has several beside each original.
    Raises:
        PairingError: if the data set is missing, if an image has no partner, or if two images have one name.
        ImportError, OSError: if the TFDS data are unavailable.
    """
    if name.startswith("tfds:"):
        items = _tfds(name.removeprefix("tfds:"))
    elif name in known_datasets():
        items = _known(name, data)
    elif Path(name).is_dir():
        items = folder_items(Path(name), scale)
    elif Path(name).exists():
        raise PairingError(f"--dataset: {name} is a file; give the folder that holds it.")
    else:
        known = ", ".join(known_datasets())
        hint = did_you_mean(name, known_datasets())
        raise PairingError(
            f"--dataset: there is no {name!r}{hint}; give one of {known}, a folder of images, or tfds:NAME/SPLIT."
        )
    return attach(items, lr=lr)


def folder_items(target: Path, scale: int = SCALE) -> list[Item]:
    """List the images in and below a folder as originals.

    Files named as in RealSR, NAME_HR and NAME_LR4 side by side, are pairs: the second is the LR image of the first. Of
    several LR images, the one named for `scale` is taken.
    """
    files = folder_names(target)
    pairs = partners(files, scale)
    small = low_names(files, scale)
    return [Item(n, f, files[pairs[n][0]] if n in pairs else None) for n, f in files.items() if n not in small]


def _known(name: str, data: Path | None) -> list[Item]:
    card = known_datasets()[name]
    if data is None:
        raise PairingError(f"--dataset: give --data DIR, the folder that holds {name}: {card['get']}.")
    for layout in card["layouts"]:
        files = _glob(data, layout["hr"])
        if files and ("lr" not in layout or _glob(data, layout["lr"])):
            return _layout(data, files, layout)
    tried = ", ".join(layout["hr"] for layout in card["layouts"])
    raise PairingError(f"--data: {data} holds no {name} (looked for {tried}): {card['get']}.")


def _glob(data: Path, pattern: str) -> Match:
    files = sorted(path for path in data.glob(pattern) if path.suffix.lower() in READ and path.is_file())
    names = {plain_name(path.stem): path for path in files}
    if len(names) < len(files):
        raise PairingError(
            f"{data / pattern}: {len(files) - len(names)} images share their names with others; rename or remove them."
        )
    return names


def _layout(data: Path, files: Match, layout: dict[str, str]) -> list[Item]:
    partners: dict[str, Path | None] = dict.fromkeys(files)
    table = data / layout.get("pairs", "")
    if "lr" in layout:
        partners |= match({name: (name,) for name in files}, _glob(data, layout["lr"]), layout["lr"])
    elif table.is_file():
        listed = read_table(table, data)
        if missing := [str(file) for file in files.values() if file not in listed]:
            raise PairingError(
                f"{table}: does not list {', '.join(missing)}; add them to the table, or remove these files."
            )
        partners |= {name: listed[file] for name, file in files.items()}
    return [Item(name, file, partners[name]) for name, file in files.items()]


def _tfds(name: str) -> list[Item]:
    from jaxsr.data.sources import load_tfds

    dataset, _, split = name.rpartition("/")
    images = load_tfds(dataset, split)
    return [Item(f"{i:06d}", partial(images.__getitem__, i)) for i in range(len(images))]


def fit_list(items: Sequence[Item], protocol: Protocol) -> list[Item]:
    """Give the items the names that the protocol lists, where the names differ only in usual endings.

    Raises:
        ProtocolError: unless the items are exactly the images that the protocol lists.
    """
    if not protocol.images:
        return list(items)
    for rename in (str, plain_name):
        names = [rename(item.name) for item in items]
        if sorted(names) == sorted(protocol.images):
            return sorted(map(_named, items, names), key=lambda item: item.name)
    missing = [f"{name} (missing)" for name in sorted(protocol.images.keys() - set(names))]
    wrong = missing + [f"{name} (not in it)" for name in sorted(set(names) - protocol.images.keys())]
    rest = f" and {len(wrong) - 8} more" if len(wrong) > 8 else ""
    listed = f"{', '.join(wrong[:8])}{rest}"
    raise ProtocolError(f"--protocol: the images are not those of {protocol.name}: {listed}; {protocol.wanted}.")


def _named(item: Item, name: str) -> Item:
    return replace(item, name=name)

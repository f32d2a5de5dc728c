"""Protocols for given images: the hashes of their pixels, so that a number can only be of these."""

import json
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, fields, replace

from jaxsr.evaluation.images import read_picture
from jaxsr.evaluation.pairs import Item, Source
from jaxsr.evaluation.protocols import Protocol, pixel_hash


def pinned(protocol: Protocol, items: Sequence[Item], name: str) -> str:
    """The text of a protocol file: as `protocol`, under a new name, for the originals and LR images of `items` alone.

    Raises:
        ImageFileError (a ValueError) for an image that cannot be read.
    """
    images = {item.name: item.target for item in items if item.target is not None}
    lr_images = {item.name: item.lr for item in items if item.lr is not None}
    found = replace(protocol, name=name, images=_hashes(images), lr_images=_hashes(lr_images))
    usual = {one.name: one.default for one in fields(Protocol)}
    told = {key: value for key, value in asdict(found).items() if value != usual[key] and value != {}}
    return json.dumps(told, indent=1) + "\n"


def _hashes(sources: Mapping[str, Source]) -> dict[str, str]:
    with ThreadPoolExecutor() as pool:
        pictures = pool.map(read_picture, sources.values())
        return {name: pixel_hash(picture.pixels) for name, picture in zip(sources, pictures, strict=True)}

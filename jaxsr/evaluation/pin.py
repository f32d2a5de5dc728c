"""Pins: protocols that list the hashes of the pixels of given images, so that they accept only these images."""

import json
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, fields, replace

from jaxsr.evaluation.images import read_picture
from jaxsr.evaluation.pairs import Item, Source
from jaxsr.evaluation.protocols import Protocol, pixel_hash


def pinned(protocol: Protocol, items: Sequence[Item], name: str) -> str:
    """Write the text of a protocol file: `protocol` under a new name, for the originals and LR images of `items` only.

    Raises:
        ImageFileError: (a ValueError) if an image cannot be read.
    """
    images = {item.name: item.target for item in items if item.target is not None}
    lr_images = {item.name: item.lr for item in items if item.lr is not None}
    pin = replace(protocol, name=name, images=_hashes(images), lr_images=_hashes(lr_images))
    defaults = {field.name: field.default for field in fields(Protocol)}
    content = {key: value for key, value in asdict(pin).items() if value != defaults[key] and value != {}}
    return json.dumps(content, indent=1) + "\n"


def _hashes(sources: Mapping[str, Source]) -> dict[str, str]:
    with ThreadPoolExecutor() as pool:
        pictures = pool.map(read_picture, sources.values())
        return {name: pixel_hash(picture.pixels) for name, picture in zip(sources, pictures, strict=True)}

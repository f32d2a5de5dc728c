"""Photographs in files as training data: RGB uint8 pixels, sizes from the headers, and sequences decoded when read."""

import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from jaxsr.imaging.files import read_photo

RGB = UInt8[np.ndarray, "_ _ 3"]


@dataclass(frozen=True)
class LazyImages(Sequence[np.ndarray]):
    """A sequence of RGB uint8 photographs of which each is decoded whenever it is read, and none is kept."""

    source: Sequence[Any]
    """What there is to decode: paths, or the records of a data set."""
    decode: Callable[[Any], RGB]
    """Makes the photograph of one of them."""

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, i: int) -> RGB:  # pyright: ignore[reportIncompatibleMethodOverride]
        # A range turns an index past the end into the IndexError that ends an iteration.
        return self.decode(self.source[range(len(self))[i]])


def read_rgb(path: Path) -> RGB:
    """Read an image file as RGB uint8, upright, without its alpha, 16-bit channels rounded to 8.

    Raises ImageFileError (a ValueError) that names a file that cannot be read.
    """
    return np.rint(read_photo(path).rgb * 255).astype(np.uint8)


def image_sizes(files: Sequence[Path]) -> list[tuple[int, int]]:
    """The two sides of each image in pixels, in no fixed order (EXIF may turn the image), from its header where it can.

    Raises ImageFileError (a ValueError) that names a file that is no image.
    """
    # Pillow warns of large images and odd metadata, which `read_photo` takes; the filter holds for the threads too.
    with warnings.catch_warnings(), ThreadPoolExecutor() as pool:
        warnings.simplefilter("ignore")
        return list(pool.map(_size, files))


def _size(path: Path) -> tuple[int, int]:
    try:
        with Image.open(path) as image:
            return image.size
    except Exception:  # Pillow's limit of pixels, a TIFF that it does not know, damage: `read_photo` reads or names it
        height, width, _ = read_photo(path).rgb.shape
        return width, height

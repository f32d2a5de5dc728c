"""Photographs from files: RGB uint8 pixels, sizes from the headers, and sequences that decode when they are read."""

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
from jaxsr.imaging.tiff import HEADS, tiff_size

RGB = UInt8[np.ndarray, "_ _ 3"]


@dataclass(frozen=True)
class LazyImages(Sequence[np.ndarray]):
    """A sequence of RGB uint8 photographs. Each is decoded whenever it is read, and none is kept."""

    source: Sequence[Any]
    """Items to decode: paths, or the records of a data set."""
    decode: Callable[[Any], RGB]
    """Function that decodes one item to a photograph."""

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, i: int) -> RGB:  # pyright: ignore[reportIncompatibleMethodOverride]
        # A range turns an index past the end into the IndexError that ends an iteration.
        return self.decode(self.source[range(len(self))[i]])


def read_rgb(path: Path) -> RGB:
    """Read an image file as upright RGB uint8, as it shows on white. 16-bit channels are rounded to 8 bits.

    Raises ImageFileError (a ValueError), which names the file, if it cannot be read.
    """
    return np.rint(read_photo(path).shown * 255).astype(np.uint8)


def image_sizes(files: Sequence[Path]) -> list[tuple[int, int]]:
    """Read the two sides of each image in pixels, from its header if possible.

    The two have no fixed order, because EXIF may turn the image. Raises ImageFileError (a ValueError), which names the
    file, for a file that is no image.
    """
    # Pillow warns of large images and odd metadata, which `read_photo` accepts. The filter covers the threads too.
    with warnings.catch_warnings(), ThreadPoolExecutor() as pool:
        warnings.simplefilter("ignore")
        return list(pool.map(_size, files))


def _size(path: Path) -> tuple[int, int]:
    try:
        with path.open("rb") as file:
            if file.read(4) in HEADS:
                return tiff_size(path)
        with Image.open(path) as image:
            return image.size
    except Exception:  # too large for Pillow, an unknown kind, or damaged: `read_photo` reads or names the file
        height, width, _ = read_photo(path).rgb.shape
        return width, height

"""Pairs of LR and HR crops of one size from folders or TFDS, read on demand, so that few are in memory at once."""

import hashlib
import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import islice
from math import isqrt
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int, UInt8

from jaxsr.data.crops import downsample_crop
from jaxsr.data.photographs import RGB, LazyImages, image_sizes, read_rgb
from jaxsr.data.side_by_side import low_names, partners
from jaxsr.data.sources import load_tfds
from jaxsr.imaging.folders import list_images
from jaxsr.imaging.resize import downsample_bicubic_uint8
from jaxsr.storage import sha256_file

LEAST_CONSISTENCY = 20.0
"""PSNR in dB between an LR crop and the shrunk HR crop, below which the two count as different pictures."""
_SUFFIX = re.compile(r"(?:[_-]?(?:hr|lr|gt|lq)\d?|[_-]?x\d)$", re.IGNORECASE)

Crops = tuple[UInt8[np.ndarray, "p p 3"], UInt8[np.ndarray, "s s 3"]]


class PairError(ValueError):
    """The pictures cannot be used as pairs."""


@dataclass(frozen=True, eq=False)
class PairSet:
    """A sequence of (LR crop, HR crop), uint8, each read from its photograph on demand. Build it with `open_pairs`.

    Attributes:
        names: names of the photographs.
        hr: the photographs.
        lr: their LR images, or None to make them with MATLAB's bicubic, rounded to 8 bits.
        scale: HR size over LR size.
        crop: side of an LR crop in pixels.
        grid: crops per side. A photograph has grid x grid adjacent crops about its centre.
    """

    names: tuple[str, ...]
    hr: Sequence[RGB]
    lr: Sequence[RGB] | None
    scale: int
    crop: int
    grid: int = 1

    def __len__(self) -> int:
        return len(self.names) * self.grid**2

    def __getitem__(self, i: int) -> Crops:
        """Read pair number `i`. Raises PairError, which names the file, if LR and HR do not show the same picture."""
        photo, place = divmod(range(len(self))[i], self.grid**2)
        hr, lr = self._latest(photo)
        size, scale = self.crop, self.scale
        centre = [(n // scale - self.grid * size) // 2 for n in hr.shape[:2]]
        y, x = (start + size * cell for start, cell in zip(centre, divmod(place, self.grid), strict=True))
        high = hr[scale * y : scale * (y + size), scale * x : scale * (x + size)]
        if lr is None:
            return downsample_crop(hr, y, x, size, scale), high
        low = lr[y : y + size, x : x + size]
        check_content(self.names[photo], low, high, scale)
        return low, high

    def name(self, i: int) -> str:
        """Return the name of crop `i`, for messages and tables."""
        photo, place = divmod(i, self.grid**2)
        return f"{self.names[photo]}#{place}" if self.grid > 1 else self.names[photo]

    @property
    def groups(self) -> Int[np.ndarray, " n"]:
        """The number of the photograph that each crop comes from."""
        return np.repeat(np.arange(len(self.names)), self.grid**2)

    def describe(self) -> dict[str, Any]:
        """Identify the data set in plain JSON, by the names and contents of its files and by its crops."""
        names = hashlib.sha256("\n".join(self.names).encode(errors="surrogateescape")).hexdigest()
        made = "bicubic" if self.lr is None else "given"
        sizes = {"scale": self.scale, "crop": self.crop, "crops_per_photograph": self.grid**2}
        hashes = {"names_sha256": names, **_hash_files(self.hr, self.lr)}
        return {**hashes, "photographs": len(self.names), "pairs": len(self), "lr": made, **sizes}

    @cached_property
    def _latest(self):
        """The reader of photographs, which keeps the last one for its next crop."""
        return lru_cache(maxsize=1)(self._read)

    def _read(self, photo: int) -> tuple[RGB, RGB | None]:
        hr, lr = self.hr[photo], None if self.lr is None else self.lr[photo]
        if lr is not None and lr.shape[:2] != tuple(n // self.scale for n in hr.shape[:2]):
            raise PairError(
                f"{self.names[photo]}: HR of {hr.shape[1]}x{hr.shape[0]} and LR of {lr.shape[1]}x{lr.shape[0]} pixels "
                f"are no pair of scale {self.scale}: give LR images exactly {self.scale} times smaller."
            )
        return hr, lr


def open_pairs(
    hr: str, lr: str | None = None, *, scale: int, crop: int = 64, crops: int = 1, limit: int | None = None
) -> PairSet:
    """Open the pairs of a folder of HR photographs, of two folders, or of a prepared TFDS data set.

    Photographs too small for the crops are left out. Only the names of the others are kept in memory.

    Args:
        hr: a folder, or `tfds:NAME/SPLIT` (see `jaxsr.data.sources.load_tfds`). In a folder, NAME_HR and NAME_LR4 side
            by side are pairs. TFDS photographs are decoded for their sizes, so give a limit if the data set is large.
        lr: a folder with the LR image of every HR photograph. The names may end differently, in `_HR`, `_LR4`, `x4` and
            the like.
        scale: scale of the model.
        crop: side of an LR crop in pixels.
        crops: number of crops per photograph, a square number. They lie side by side about its centre.
        limit: number of photographs to take from the start; None takes all.
    Raises:
        PairError: for an empty folder, fewer than two photographs, names without a partner, or crops that do not fit.
        OSError, ImportError: for data that cannot be read.
    """
    grid = isqrt(crops)
    if crops < 1 or grid**2 != crops:
        raise PairError(f"--crops: must be a square number such as 1, 4 or 9, got {crops}.")
    least = scale * crop * grid
    if hr.startswith("tfds:"):
        if lr is not None:
            raise PairError("--lr-pairs: TFDS data has no folder of LR images; leave it out.")
        names, photos, lows = *_tfds(hr, least, limit), None
    else:
        names, photos, lows = _folders(Path(hr), None if lr is None else Path(lr), scale, least, limit)
    pairs = PairSet(tuple(names), photos, lows, scale, crop, grid)
    if len(names) < 2:
        raise PairError(
            f"--pairs: {hr} gives {len(names)} photograph{'s' * (len(names) != 1)} of at least {least} pixels a side, "
            "but the command needs at least 2; give "
            + ("a --limit of 2 or more." if limit == 1 else "more or larger photographs, or a smaller --crop.")
        )
    return pairs


def check_content(name: str, lr: RGB, hr: RGB, scale: int) -> None:
    """Raise PairError if the LR crop and the HR crop do not show the same picture."""
    difference = downsample_bicubic_uint8(hr, scale).astype(np.float64) - lr
    error = np.mean(np.square(difference / 255))
    if error > 10 ** (-LEAST_CONSISTENCY / 10):
        raise PairError(
            f"{name}: LR and HR do not show the same picture (the shrunk HR image is at {-10 * np.log10(error):.1f} dB "
            "from the LR image); check that the files belong together, aligned and not turned."
        )


def _hash_files(*photos: Sequence[RGB] | None) -> dict[str, str]:
    """Hash the contents of all HR and LR files together. Other sources give {}: their names identify them."""
    sources = [item for images in photos if isinstance(images, LazyImages) for item in images.source]
    files = [source for source in sources if isinstance(source, Path)]
    if not files:
        return {}
    with ThreadPoolExecutor() as pool:
        hashes = "".join(pool.map(sha256_file, files))
    return {"files_sha256": hashlib.sha256(hashes.encode()).hexdigest()}


def _folders(
    hr: Path, lr: Path | None, scale: int, least: int, limit: int | None
) -> tuple[list[str], Sequence[RGB], Sequence[RGB] | None]:
    files = list_images(hr, recursive=True)
    low = _beside(hr, files, scale) if lr is None else _match(hr, files, lr)
    files = [*low] if low else files
    large = (f for f, size in zip(files, image_sizes(files), strict=True) if min(size) >= least)
    files = list(islice(large, limit))
    names = [str(file.relative_to(hr)) for file in files]
    return names, LazyImages(files, read_rgb), LazyImages([low[file] for file in files], read_rgb) if low else None


def _beside(folder: Path, files: Sequence[Path], scale: int) -> dict[Path, Any]:
    """Match the LR files that lie beside the HR files of one folder, named NAME_HR and NAME_LR4; {} without any.

    Raises PairError if only some of the HR files have one.
    """
    names = {str(file.relative_to(folder).with_suffix("")): file for file in files}
    found = partners(names, scale)
    if found and (alone := sorted(names.keys() - found.keys() - low_names(names, scale))):
        raise PairError(
            f"--pairs: {folder} has LR images beside {len(found)} photographs and none beside {len(alone)}, such as "
            f"{alone[0]}; separate them."
        )
    return {names[high]: names[low[0]] for high, low in found.items()}


def _match(hr: Path, files: Sequence[Path], lr: Path) -> dict[Path, Any]:
    """Match an LR file to every HR file, by equal names, or else by names that are equal without a `_SUFFIX` ending."""
    low_files = list_images(lr, recursive=True)
    for ending in ("", _SUFFIX):
        high, low = (
            {_key(file, root, ending): file for file in paths} for root, paths in ((hr, files), (lr, low_files))
        )
        if high.keys() == low.keys() and len(high) == len(files) and len(low) == len(low_files):
            return {high[key]: low[key] for key in high}
    alone = sorted(str((high | low)[key]) for key in high.keys() ^ low.keys())
    shown = ", ".join(alone[:5]) + (f" and {len(alone) - 5} more" if len(alone) > 5 else "")
    raise PairError(
        "--lr-pairs: every HR file needs exactly one LR file of the same name; "
        f"these do not match: {shown or 'several files of one name'}."
    )


def _key(file: Path, root: Path, ending: str | re.Pattern[str]) -> str:
    return re.sub(ending, "", str(file.relative_to(root).with_suffix("")))


def _tfds(hr: str, least: int, limit: int | None) -> tuple[list[str], Sequence[RGB]]:
    name, _, split = hr.removeprefix("tfds:").rpartition("/")
    images = load_tfds(name, split)
    with ThreadPoolExecutor() as pool:
        sizes = pool.map(lambda i: min(images[i].shape[:2]), range(len(images)))
        kept = list(islice((i for i, size in enumerate(sizes) if size >= least), limit))
        pool.shutdown(cancel_futures=True)
    names = [f"{name}/{split}#{i}" for i in kept]
    return names, LazyImages([images.source[i] for i in kept], images.decode)

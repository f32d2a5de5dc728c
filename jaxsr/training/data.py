"""Photographs to training batches: every batch is a pure function of (seed, step), so a resumed run sees the same data.

An example is a random crop of a random photograph in one of its eight flips and rotations, with its low-resolution
(LR) counterpart. Nothing is carried from step to step, and hosts of a multi-host run make different parts of a batch.
"""

import logging
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageOps

from jaxsr.imaging.resize import downsample_bicubic_uint8
from jaxsr.training.degradation import Degradation, bicubic

RGB = UInt8[np.ndarray, "_ _ 3"]
T = TypeVar("T")

SUFFIXES = frozenset({".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"})
TFDS_FEATURES = {"div2k": "hr", "imagenet2012": "image"}
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class PairDataset:
    """Random HR/LR crops of photographs, as batches that depend on nothing but the seed and the step.

    Build it with `pair_dataset`; `for_host` gives the share of one process.
    """

    images: Sequence[RGB]
    """High-resolution photographs, RGB uint8."""
    cached_lr: Sequence[RGB] | None
    """Bicubic LR of each whole photograph, or None where the LR is made when an example is read."""
    hr_size: int
    """Side of the HR crops in pixels, a multiple of the scale."""
    scale: int
    seed: int
    examples: range
    """Which examples of the global batch this process makes."""
    degrade: Degradation
    """Degradation of an HR crop, or `bicubic` for the downsampling of the whole photograph."""

    def for_host(self, process_index: int, process_count: int) -> "PairDataset":
        """Part of each batch that one process makes: together the hosts make exactly the global batch."""
        share, rest = divmod(len(self.examples), process_count)
        if rest:
            raise ValueError(
                f"a batch of {len(self.examples)} cannot be split over {process_count} hosts: use a multiple of it"
            )
        return replace(self, examples=self.examples[process_index * share : (process_index + 1) * share])

    def batch(self, step: int) -> dict[str, UInt8[np.ndarray, "b _ _ 3"]]:
        """Batch of a training step: `hr` uint8 [b, s, s, 3] and `lr` uint8 [b, s/scale, s/scale, 3]."""
        hr, lr = zip(*(self.example(step, i) for i in self.examples), strict=True)
        return {"hr": np.stack(hr), "lr": np.stack(lr)}

    def example(self, step: int, i: int) -> tuple[UInt8[np.ndarray, "s s 3"], UInt8[np.ndarray, "p p 3"]]:
        """HR and LR crop number i of the global batch of a step."""
        rng = np.random.default_rng([self.seed, step, i])
        k, image = self._draw_image(rng)
        size = self.hr_size // self.scale
        # The crop is placed on the LR grid, so that the crop of the LR image is the LR of the crop.
        y, x = (int(rng.integers(n // self.scale - size + 1)) for n in image.shape[:2])
        symmetry = int(rng.integers(8))
        hr = dihedral(_crop(image, y * self.scale, x * self.scale, self.hr_size), symmetry)
        if self.degrade is not bicubic:
            return hr, self.degrade(hr, self.scale, rng)
        lr = self.cached_lr[k] if self.cached_lr else downsample_bicubic_uint8(image, self.scale)
        return hr, dihedral(_crop(lr, y, x, size), symmetry)

    def _draw_image(self, rng: np.random.Generator, attempts: int = 100) -> tuple[int, RGB]:
        for _ in range(attempts):
            k = int(rng.integers(len(self.images)))
            image = self.images[k]
            if min(image.shape[:2]) >= self.hr_size:
                return k, image
        raise ValueError(
            f"{attempts} images drawn are all smaller than the crop of {self.hr_size} pixels: lower hr_size"
        )


def pair_dataset(
    images: Sequence[RGB],
    *,
    hr_size: int,
    scale: int,
    batch_size: int,
    seed: int,
    degrade: Degradation = bicubic,
) -> PairDataset:
    """Training pairs of photographs: HR crops of hr_size pixels and their LR of hr_size / scale pixels.

    `degrade` is a function of `jaxsr.training.degradation` that makes the LR of a crop. For `bicubic`, the LR of the
    whole photograph is made instead, so that crops know their surroundings: once and now for a list or a tuple of
    photographs, and at each read for any other sequence (data sets that do not fit in memory).
    `batch_size` is the number of examples over all hosts. Raises ValueError for sizes that do not fit together.
    """
    if scale < 1 or hr_size < scale or hr_size % scale:
        raise ValueError(f"hr_size {hr_size} is not a multiple of the scale {scale}: choose one that is")
    if batch_size < 1 or seed < 0 or not len(images):
        raise ValueError(f"need a batch_size >= 1, a seed >= 0 and images, got {batch_size}, {seed} and {len(images)}")
    cached_lr = None
    if isinstance(images, (list, tuple)):
        images = [image for image in images if min(image.shape[:2]) >= hr_size]
        if not images:
            raise ValueError(f"all images are smaller than the crop of {hr_size} pixels: lower hr_size")
        if degrade is bicubic:
            cached_lr = [downsample_bicubic_uint8(image, scale) for image in images]
    return PairDataset(images, cached_lr, hr_size, scale, seed, range(batch_size), degrade)


def load_folder(path: str | Path, min_size: int = 1) -> list[RGB]:
    """Read all photographs under a folder into memory, in the order of their paths, as RGB uint8.

    Rotation stored in EXIF is applied. Images with a side under `min_size` pixels are left out, and their number is
    logged. Raises FileNotFoundError if no image is left, OSError naming a file that cannot be read.
    """
    files = sorted(p for p in Path(path).rglob("*") if p.suffix.lower() in SUFFIXES)
    with ThreadPoolExecutor() as pool:
        images = list(pool.map(read_rgb, files))
    kept = [image for image in images if min(image.shape[:2]) >= min_size]
    if not kept:
        raise FileNotFoundError(
            f"{path}: no image of at least {min_size} pixels among {len(files)}: name another folder"
        )
    if len(kept) < len(images):
        log.warning(
            "%s: left out %d of %d images, smaller than %d pixels", path, len(files) - len(kept), len(files), min_size
        )
    return kept


def read_rgb(path: str | Path) -> RGB:
    """Read an image file as RGB uint8 with its EXIF rotation applied; alpha is dropped, 16-bit grey becomes 8-bit."""
    try:
        with Image.open(path) as file:
            image = ImageOps.exif_transpose(file)
    except (OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise OSError(f"{path}: cannot be read as an image ({error}): repair or remove it") from error
    if image.mode.startswith("I;16"):
        image = Image.fromarray(np.round(np.asarray(image) / 257).astype(np.uint8))
    return np.array(image.convert("RGB"))


def load_tfds(name: str, split: str, data_dir: str | Path | None = None) -> Sequence[RGB]:
    """Photographs of a prepared TFDS data set, decoded when read: `div2k` or `imagenet2012`, a config after a slash.

    Read through `tfds.data_source`, without TensorFlow; the data set must have been prepared as ArrayRecord
    (`file_format="array_record"`). Use `list(load_tfds(...))` to hold it in memory (DIV2K: 7 GB).
    Raises ImportError without the packages, FileNotFoundError without the prepared data.
    """
    feature = TFDS_FEATURES.get(name.split("/")[0])
    if feature is None:
        raise ValueError(f"no TFDS data set {name!r} here: choose one of {', '.join(TFDS_FEATURES)}")
    try:
        import tensorflow_datasets as tfds  # pyright: ignore[reportMissingImports]

        source = tfds.data_source(name, split=split, data_dir=data_dir, download=False)
    except ImportError as error:
        raise ImportError("TFDS data needs two more packages: run  pip install 'jaxsr[data]'") from error
    except (KeyError, NotImplementedError) as error:
        raise FileNotFoundError(
            f"{data_dir or 'the default TFDS folder'}: {name} is not prepared there as ArrayRecord; install TensorFlow "
            f"once, with  pip install 'jaxsr[data]' tensorflow , and run  tfds build {name} --file_format=array_record"
        ) from error
    return TfdsImages(source, feature)


@dataclass(frozen=True)
class TfdsImages(Sequence[np.ndarray]):
    """One image feature of a TFDS data source as a sequence of RGB uint8 arrays."""

    source: Any
    feature: str

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, i: int) -> RGB:  # pyright: ignore[reportIncompatibleMethodOverride]
        # A range turns an index past the end into the IndexError that ends an iteration.
        return np.asarray(self.source[range(len(self))[i]][self.feature])


def prefetch(batches: Iterable[T], size: int = 2) -> Iterator[T]:
    """Same batches in the same order, made up to `size` ahead by one thread; its exceptions reach the consumer."""
    if size < 1:
        raise ValueError(f"prefetch size is {size}: use at least 1")
    iterator = iter(batches)
    pool = ThreadPoolExecutor(1, thread_name_prefix="prefetch")
    try:
        ahead = deque(pool.submit(next, iterator) for _ in range(size))
        while True:
            try:
                item = ahead.popleft().result()
            except StopIteration:
                return
            ahead.append(pool.submit(next, iterator))
            yield item
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def dihedral(image: RGB, k: int) -> RGB:
    """One of the eight flips and rotations of a square: k % 4 quarter turns, then a mirror for k >= 4."""
    turned = np.rot90(image, k % 4)
    return turned[:, ::-1] if k >= 4 else turned


def _crop(image: RGB, y: int, x: int, size: int) -> RGB:
    return image[y : y + size, x : x + size]

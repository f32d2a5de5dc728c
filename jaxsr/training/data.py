"""Photographs to training batches: every batch is a pure function of (seed, step), so a resumed run sees the same data.

An example is a random crop of a random photograph in one of its eight flips and rotations, with its low-resolution
(LR) counterpart. Nothing is carried from step to step, and hosts of a multi-host run make different parts of a batch.
"""

import logging
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from jaxtyping import UInt8

from jaxsr.imaging.resize import downsample_bicubic_uint8
from jaxsr.training.degradation import Degradation, bicubic
from jaxsr.training.photographs import RGB, LazyImages, image_sizes, read_rgb

T = TypeVar("T")

SUFFIXES = frozenset({".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"})
MAX_IN_MEMORY = 4 * 10**9
"""Bytes of pixels (3 a pixel) up to which a folder is held in memory."""
LR_MARGIN = 4
"""LR pixels kept around a crop that is downsampled; the bicubic kernel reaches less than 2 beyond it."""
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
    """Bicubic LR of each whole photograph, or None where the LR is made when an example is read, by threads."""
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
        example = partial(self.example, step)
        if self.cached_lr:
            pairs = list(map(example, self.examples))
        else:  # decoding, downsampling and random degradation take long, mostly in C code that runs in parallel
            with ThreadPoolExecutor() as pool:
                pairs = list(pool.map(example, self.examples))
        hr, lr = zip(*pairs, strict=True)
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
        lr = _crop(self.cached_lr[k], y, x, size) if self.cached_lr else downsample_crop(image, y, x, size, self.scale)
        return hr, dihedral(lr, symmetry)

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

    `degrade` is a function of `jaxsr.training.degradation` that makes the LR of a crop. For `bicubic`, it
    is a crop of the whole photograph's LR instead, which knows its surroundings: of LR images made once and now for a
    list or a tuple of photographs; made at each read, with the same result, for any other sequence (data sets that do
    not fit in memory).
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


def load_folder(path: str | Path, min_size: int = 1) -> list[RGB] | LazyImages:
    """All photographs under a folder, in the order of their paths, as RGB uint8, upright.

    They are read into memory (a list) where their pixels take up to MAX_IN_MEMORY (4 GB); a larger folder becomes a
    sequence that decodes at each read, and `list(load_folder(...))` holds that in memory as well. Images with a side
    under `min_size` pixels are left out, and their number is logged. Raises FileNotFoundError if no image is left,
    ImageFileError (a ValueError) that names a file that cannot be read.
    """
    files = sorted(p for p in Path(path).rglob("*") if p.suffix.lower() in SUFFIXES)
    large = {file: size for file, size in zip(files, image_sizes(files), strict=True) if min(size) >= min_size}
    if not large:
        raise FileNotFoundError(
            f"{path}: no image of at least {min_size} pixels among {len(files)}: name another folder"
        )
    if left_out := len(files) - len(large):
        log.warning("%s: left out %d of %d images, smaller than %d pixels", path, left_out, len(files), min_size)
    if sum(3 * width * height for width, height in large.values()) > MAX_IN_MEMORY:
        return LazyImages(list(large), read_rgb)
    with ThreadPoolExecutor() as pool:
        return list(pool.map(read_rgb, large))


def load_tfds(name: str, split: str, data_dir: str | Path | None = None) -> LazyImages:
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

        source: Any = tfds.data_source(name, split=split, data_dir=data_dir, download=False)
    except ImportError as error:
        raise ImportError("TFDS data needs two more packages: run  pip install 'jaxsr[data]'") from error
    except (KeyError, NotImplementedError) as error:
        raise FileNotFoundError(
            f"{data_dir or 'the default TFDS folder'}: {name} is not prepared there as ArrayRecord; install TensorFlow "
            f"once, with  pip install 'jaxsr[data]' tensorflow , and run  tfds build {name} --file_format=array_record"
        ) from error
    return LazyImages(source, lambda record: np.asarray(record[feature]))


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


def downsample_crop(image: RGB, y: int, x: int, size: int, scale: int) -> UInt8[np.ndarray, "p p 3"]:
    """Crop at (y, x) of a photograph's bicubic LR image, equal to the last bit, from the pixels around it alone."""
    (top, bottom), (left, right) = (
        (max(start - LR_MARGIN, 0), min(start + size + LR_MARGIN, n // scale))
        for start, n in zip((y, x), image.shape, strict=False)
    )
    part = image[top * scale : bottom * scale, left * scale : right * scale]
    return _crop(downsample_bicubic_uint8(part, scale), y - top, x - left, size)


def _crop(image: RGB, y: int, x: int, size: int) -> RGB:
    return image[y : y + size, x : x + size]

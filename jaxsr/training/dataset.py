"""Training batches from photographs. Each is a pure function of (seed, step), so a resumed run sees the same data.

An example is a random crop of a random photograph in one of its eight flips and rotations, with its low-resolution
(LR) counterpart. No state is carried from step to step. Each host of a run makes a different part of a batch.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from jaxtyping import UInt8

from jaxsr.data.crops import crop, dihedral, downsample_crop
from jaxsr.data.photographs import RGB
from jaxsr.imaging.resize import downsample_bicubic_uint8
from jaxsr.training.dead_leaves import dead_leaves
from jaxsr.training.degradation import Degradation, bicubic


@dataclass(frozen=True)
class PairDataset:
    """Random HR/LR crops of photographs, as batches that depend only on the seed and the step.

    Build it with `pair_dataset`; `for_host` returns the share of one process.
    """

    images: Sequence[RGB]
    """High-resolution photographs, RGB uint8."""
    cached_lr: Sequence[RGB] | None
    """Bicubic LR image of each whole photograph; None if threads make the LR crop of an example when it is read."""
    hr_size: int
    """Side of the HR crops in pixels, a multiple of the scale."""
    scale: int
    seed: int
    examples: range
    """Numbers of the examples in the global batch that this process makes."""
    degrade: Degradation
    """Degradation of an HR crop; `bicubic` stands for a crop of the downsampled whole photograph."""
    leaves_share: float = 0.0
    """Share of the examples that are synthetic, from `jaxsr.training.dead_leaves`."""

    def for_host(self, process_index: int, process_count: int) -> "PairDataset":
        """Return the part of each batch that one process makes. Together, the hosts make exactly the global batch."""
        share, rest = divmod(len(self.examples), process_count)
        if rest:
            raise ValueError(
                f"batch_size: a batch of {len(self.examples)} cannot be split over {process_count} hosts; choose a "
                f"multiple of {process_count}."
            )
        return replace(self, examples=self.examples[process_index * share : (process_index + 1) * share])

    def batch(self, step: int) -> dict[str, UInt8[np.ndarray, "b _ _ 3"]]:
        """Make the batch of a training step: `hr` uint8 [b, s, s, 3] and `lr` uint8 [b, s/scale, s/scale, 3]."""
        example = partial(self.example, step)
        if self.cached_lr:
            pairs = list(map(example, self.examples))
        else:  # decoding, downsampling and random degradation take long, mostly in C code that runs in parallel
            with ThreadPoolExecutor() as pool:
                pairs = list(pool.map(example, self.examples))
        hr, lr = zip(*pairs, strict=True)
        return {"hr": np.stack(hr), "lr": np.stack(lr)}

    def example(self, step: int, i: int) -> tuple[UInt8[np.ndarray, "s s 3"], UInt8[np.ndarray, "p p 3"]]:
        """Make HR and LR crop number `i` of the global batch of a step."""
        rng = np.random.default_rng([self.seed, step, i])
        k, image = self._draw_image(rng)
        size = self.hr_size // self.scale
        if self.leaves_share and rng.random() < self.leaves_share:
            leaves = dead_leaves(image, self.hr_size, rng)
            return leaves, self.degrade(leaves, self.scale, rng)
        # The crop is placed on the LR grid, so that the crop of the LR image is the LR of the crop.
        y, x = (int(rng.integers(n // self.scale - size + 1)) for n in image.shape[:2])
        symmetry = int(rng.integers(8))
        hr = dihedral(crop(image, y * self.scale, x * self.scale, self.hr_size), symmetry)
        if self.degrade is not bicubic:
            return hr, self.degrade(hr, self.scale, rng)
        lr = crop(self.cached_lr[k], y, x, size) if self.cached_lr else downsample_crop(image, y, x, size, self.scale)
        return hr, dihedral(lr, symmetry)

    def _draw_image(self, rng: np.random.Generator, attempts: int = 100) -> tuple[int, RGB]:
        for _ in range(attempts):
            k = int(rng.integers(len(self.images)))
            image = self.images[k]
            if min(image.shape[:2]) >= self.hr_size:
                return k, image
        raise ValueError(
            f"hr_size: {attempts} images drawn are all smaller than the crop of {self.hr_size} pixels; lower hr_size."
        )


def pair_dataset(
    images: Sequence[RGB],
    *,
    hr_size: int,
    scale: int,
    batch_size: int,
    seed: int,
    degrade: Degradation = bicubic,
    leaves_share: float = 0.0,
) -> PairDataset:
    """Build the data set of training pairs: HR crops of hr_size pixels and their LR crops of hr_size / scale pixels.

    `degrade` is a function of `jaxsr.training.degradation` that makes the LR image of an HR crop. For `bicubic`, the LR
    crop comes from the LR image of the whole photograph instead, so that its borders know their surroundings. For a
    list or a tuple of photographs, these LR images are made once, here. For any other sequence (data sets that do not
    fit in memory), the LR crop is made at each read, with the same result.

    `leaves_share` is the share of synthetic examples, in colours of the photographs (`jaxsr.training.dead_leaves`).

    `batch_size` is the number of examples over all hosts. Raises ValueError for sizes that do not fit together.
    """
    if scale < 1 or hr_size < scale or hr_size % scale:
        raise ValueError(f"hr_size: {hr_size} is not a multiple of the scale {scale}; choose one that is.")
    if batch_size < 1 or seed < 0 or not len(images):
        raise ValueError(f"need a batch_size >= 1, a seed >= 0 and images, got {batch_size}, {seed} and {len(images)}")
    cached_lr = None
    if isinstance(images, (list, tuple)):
        images = [image for image in images if min(image.shape[:2]) >= hr_size]
        if not images:
            raise ValueError(f"hr_size: all images are smaller than the crop of {hr_size} pixels; lower hr_size.")
        if degrade is bicubic:
            cached_lr = [downsample_bicubic_uint8(image, scale) for image in images]
    return PairDataset(images, cached_lr, hr_size, scale, seed, range(batch_size), degrade, leaves_share)

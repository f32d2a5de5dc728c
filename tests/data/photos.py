"""Make random photographs, in memory and in folders, and training pairs of them."""

from functools import partial

import numpy as np
from PIL import Image

from jaxsr.training.dataset import pair_dataset

make = partial(pair_dataset, hr_size=16, scale=4, batch_size=6, seed=5)


def photos(*sizes: tuple[int, int]) -> list[np.ndarray]:
    return [np.random.default_rng(i).integers(0, 256, (*size, 3), dtype=np.uint8) for i, size in enumerate(sizes)]


def save_folder(folder, images) -> None:
    for i, image in enumerate(images):
        exif = Image.Exif()
        exif[0x0112] = 6  # a quarter turn, which the size in the header ignores
        Image.fromarray(image).save(folder / f"{i}.png", exif=exif)

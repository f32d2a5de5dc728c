"""Make images of noise, and list the sizes that tests try."""

import numpy as np

SIZES = [(1, 1), (1, 7), (7, 1), (33, 50), (64, 64), (65, 129)]


def noise_image(height: int, width: int, dtype=np.uint8, *channels: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, np.iinfo(dtype).max + 1, (height, width, *channels), dtype)


IMAGE = noise_image(40, 30, np.uint8, 3)

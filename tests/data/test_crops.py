"""Test that the LR image of a crop is the same as in the LR image of the whole photograph."""

import itertools

import numpy as np
import pytest

from jaxsr.data.crops import downsample_crop
from jaxsr.imaging.resize import downsample_bicubic_uint8
from tests.data.photos import photos


@pytest.mark.parametrize("scale", [1, 2, 3, 4])
@pytest.mark.parametrize("size", [1, 5])
def test_downsampled_crop_is_that_of_the_whole_photograph_at_every_place(scale, size):
    # Black and white is the hardest input. One pixel more than a multiple of the scale must have no effect.
    image = (photos((14 * scale + 1, 17 * scale + 1))[0] >> 7) * np.uint8(255)
    small = downsample_bicubic_uint8(image, scale)
    for y, x in itertools.product(*(range(n - size + 1) for n in small.shape[:2])):
        crop = downsample_crop(image, y, x, size, scale)
        np.testing.assert_array_equal(crop, small[y : y + size, x : x + size])

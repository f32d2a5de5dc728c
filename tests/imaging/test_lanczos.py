"""Test Lanczos resizing against Pillow on the whole picture at once, in every depth, larger and smaller."""

import numpy as np
import pytest
from PIL import Image

from jaxsr.imaging import lanczos
from jaxsr.imaging.lanczos import resize_into

SIZES = [((40, 30), (100, 75)), ((300, 20), (120, 8)), ((64, 48), (64, 48)), ((1, 1), (8, 8)), ((30, 40), (31, 39))]


def whole(pixels: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resize every channel of values in [0, 1] at once."""
    channels = [
        np.asarray(Image.fromarray(channel).resize(size[::-1], Image.Resampling.LANCZOS))
        for channel in np.moveaxis(pixels.astype(np.float32), -1, 0)
    ]
    return np.clip(np.stack(channels, -1), 0, 1)


@pytest.mark.parametrize(("size", "target"), SIZES, ids=str)
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_bands_are_the_whole_picture(size, target, dtype, monkeypatch):
    values = np.random.default_rng(0).random((*size, 3))
    peak = 1 if dtype == np.float32 else np.iinfo(dtype).max
    pixels = (values * peak).astype(dtype)
    expected = whole(pixels / np.float32(peak), target)
    for band in (7, 128):
        monkeypatch.setattr(lanczos, "_BAND", band)
        out = np.empty((*target, 3), dtype)
        resize_into(pixels, out)
        np.testing.assert_allclose(out / peak, expected, atol=0.51 / peak + 1e-5 if peak > 1 else 1e-5)


def test_a_depth_is_changed_on_the_way():
    pixels = np.full((4, 4), 65535, np.uint16)
    out = np.zeros((10, 6), np.uint8)
    resize_into(pixels, out)
    assert (out == 255).all()


def test_smaller_is_antialiased():
    """Stripes of one pixel become grey, where sampling would keep black or white."""
    pixels = np.tile(np.uint8([[0], [255]]), (64, 16))
    out = np.empty((16, 2), np.uint8)
    resize_into(pixels, out)
    np.testing.assert_allclose(out[2:-2], 127.5, atol=4)


def test_further_axes_are_resized_one_by_one():
    pixels = np.random.default_rng(1).integers(0, 256, (8, 9, 2, 3), np.uint8)
    out, one = np.empty((20, 22, 2, 3), np.uint8), np.empty((20, 22), np.uint8)
    resize_into(pixels, out)
    for index in np.ndindex(2, 3):
        resize_into(pixels[:, :, *index], one)
        np.testing.assert_array_equal(out[:, :, *index], one)

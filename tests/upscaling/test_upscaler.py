"""Test `upscale`: exact sizes and pixels for every type of image, what it refuses, and tiles one after the other."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from jaxsr.upscaling.upscaler import Upscaler
from tests.small_model import enlarged, nearest, small_preset
from tests.upscaling.pictures import IMAGE, SIZES, noise_image


@pytest.mark.parametrize("blend", ["feather", "mean"])
@pytest.mark.parametrize("size", [*SIZES, *((n, 61 - 3 * n) for n in range(1, 21))])
def test_every_size_gives_exactly_its_pixels(exact, size, blend):
    image = noise_image(*size, np.uint8, 3)
    for tile in (16, 32, "off"):
        result = exact.upscale(image, tile=tile, blend=blend, batch=2)
        np.testing.assert_array_equal(result, enlarged(image), strict=True)


@pytest.mark.parametrize("channels", [(3,), ()])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float16, np.float32, np.float64])
def test_every_type_comes_back_as_itself(exact, dtype, channels):
    image = noise_image(20, 35, np.uint16 if dtype == np.uint16 else np.uint8, *channels)
    if np.issubdtype(dtype, np.floating):
        image = (image / 255).astype(dtype)
        np.testing.assert_allclose(exact.upscale(image, tile=16), enlarged(image), atol=1e-7)
    else:
        np.testing.assert_array_equal(exact.upscale(image, tile=16), enlarged(image), strict=True)
    assert exact.upscale(image, tile=16).dtype == dtype


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.zeros((4, 4, 5), np.uint8), "shape"),
        (np.zeros((4, 4, 4), np.uint8), r"without the alpha channel, image\[..., :3\], .* keeps transparency"),
        (np.zeros((4, 4, 2), np.uint8), r"image\[..., 0\]"),
        ("photo.png", r"open photo\.png first .* NumPy array or a Pillow image"),
        (Path("photo.png"), r"open photo\.png first"),
        (np.zeros((0, 4, 3), np.uint8), "shape"),
        (np.zeros((4, 4, 3), np.int32), "int32"),
        (np.full((4, 4, 3), 1.5), r"\[0, 1\]"),
        (np.full((4, 4, 3), -0.1), r"\[0, 1\]"),
        (np.full((4, 4, 3), np.nan), r"\[0, 1\]"),
    ],
)
def test_other_images_are_refused(exact, image, message):
    with pytest.raises(ValueError, match=f"^image: .*{message}"):
        exact.upscale(image)


def test_pillow_images_and_lists_are_arrays_too(exact):
    for image in (IMAGE, IMAGE[..., 0]):
        np.testing.assert_array_equal(exact.upscale(Image.fromarray(image), tile=16), exact.upscale(image, tile=16))
    ramp = [[0.0, 0.25], [0.5, 1.0]]
    np.testing.assert_array_equal(exact.upscale(ramp), enlarged(np.array(ramp)), strict=True)


@pytest.mark.parametrize("mode", ["P", "YCbCr", "HSV", "LAB", "RGBA", "1"])
def test_pillow_images_whose_numbers_are_not_rgb_are_refused(exact, mode):
    with pytest.raises(ValueError, match=rf"^image: .* not {mode}; use image\.convert"):
        exact.upscale(Image.new(mode, (4, 4)))


def test_unknown_options_seeds_and_models_with_masks_are_refused(exact):
    with pytest.raises(TypeError, match=r"no option stepz; it has steps, "):
        exact.upscale(IMAGE, stepz=4)
    with pytest.raises(ValueError, match="seed"):
        exact.upscale(IMAGE, seed=-1)
    with pytest.raises(ValueError, match="mask"):
        replace(exact, preset=small_preset(cond_mask=True)).upscale(IMAGE)


def test_progress_counts_tiles(exact):
    calls = []
    exact.upscale(IMAGE, tile=16, overlap=0, batch=4, progress=lambda *call: calls.append(call))
    assert calls == [(3, 6), (6, 6)]  # two even calls


def test_each_call_is_started_before_the_one_before_it_is_fetched(channel, monkeypatch):
    events = []

    class Lazy:
        def __init__(self, number, value):
            self.number, self.value = number, value
            events.append(f"start {number}")

        def __array__(self, dtype=None, copy=None):
            events.append(f"fetch {self.number}")
            return self.value

    monkeypatch.setattr(Upscaler, "compiled", lambda *_: lambda p, k, tiles, o: Lazy(o[0, 0], nearest(p, k, tiles, o)))
    np.testing.assert_array_equal(channel.upscale(IMAGE[:, :16], tile=16, overlap=0), enlarged(IMAGE[:, :16]))
    assert events == ["start 0", "start 16", "fetch 0", "start 24", "fetch 16", "fetch 24"]


@pytest.mark.parametrize("size", SIZES)
def test_the_network_gives_the_exact_size(channel, size):
    result = channel.upscale(noise_image(*size, np.uint8, 3), tile=32, seed=1)
    assert result.shape == (4 * size[0], 4 * size[1], 3)
    assert result.std() > 1

"""Test that any file gives an upright photograph in RGB uint8, and that sizes are measured without decoding."""

import numpy as np
import pytest
import tifffile
from PIL import Image

from jaxsr.data import sources as data
from jaxsr.data.photographs import image_sizes, read_rgb
from jaxsr.data.sources import load_folder
from jaxsr.imaging.files import ImageFileError, Photo, write_photo
from tests.data.photos import photos, save_folder


def test_folder_gives_rgb_turned_as_exif_says(tmp_path):
    image = photos((20, 24))[0]
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(image).save(tmp_path / "a.png", exif=exif)
    Image.fromarray(image[..., 0]).save(tmp_path / "b.png")
    Image.fromarray(np.dstack([image, image[..., :1]])).save(tmp_path / "c.png")
    Image.fromarray(image[..., 0].astype(np.uint16) * 257).save(tmp_path / "d.png")
    turned, grey, shown, deep = load_folder(tmp_path)
    np.testing.assert_array_equal(turned, np.rot90(image, -1))
    np.testing.assert_array_equal(grey, image[..., :1].repeat(3, axis=-1))
    on_white = 255 - (255.0 - image) * (image[..., :1] / 255.0)  # a transparent image, as it shows
    np.testing.assert_allclose(shown, on_white, atol=0.51)
    np.testing.assert_array_equal(deep, grey)


def test_folder_gives_what_the_readers_of_photographs_give(tmp_path):
    """16-bit colour TIFF, whose header Pillow cannot read, and CMYK are read as everywhere else in the package."""
    image = photos((20, 24))[0]
    deep = (image.astype(np.float32) + np.float32(0.3)).clip(0, 255) / np.float32(255)
    write_photo(tmp_path / "a.tif", Photo(deep, None, 16, False, None, None, "a"))
    Image.new("CMYK", (18, 17), (0, 255, 255, 0)).save(tmp_path / "b.jpg")
    colour, ink = load_folder(tmp_path, min_size=17)
    np.testing.assert_array_equal(colour, image)
    assert (ink.shape, ink.dtype) == ((17, 18, 3), np.uint8)
    assert ink[..., 0].min() > 200
    assert ink[..., 1:].max() < 80


def test_folder_over_the_limit_is_measured_without_decoding(tmp_path, monkeypatch):
    save_folder(tmp_path, photos(*[(40, 52)] * 5))
    read = []
    monkeypatch.setattr(data, "read_rgb", lambda path: (read.append(path), read_rgb(path))[1])
    monkeypatch.setattr(data, "MAX_IN_MEMORY", 0)
    assert len(load_folder(tmp_path)) == 5
    assert len(read) < 5  # the type check of the result reads one
    file = tmp_path / "0.png"
    file.write_bytes(file.read_bytes()[:2000])
    assert image_sizes([file]) == [(52, 40)]
    with pytest.raises(ImageFileError, match=r"0\.png: damaged or cut short"):
        read_rgb(file)


def test_the_size_of_a_tiff_is_that_of_its_photograph_and_not_of_its_preview(tmp_path):
    big = photos((40, 52))[0]
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        file.write(big[::2, ::2], photometric="rgb", subfiletype=1, subifds=1, metadata=None)
        file.write(big, photometric="rgb", metadata=None)
    assert image_sizes([tmp_path / "a.tif"]) == [(52, 40)]
    assert read_rgb(tmp_path / "a.tif").shape == (40, 52, 3)


def test_photographs_over_pillows_limit_are_measured_without_a_warning(tmp_path, monkeypatch):
    save_folder(tmp_path, photos((40, 52)))
    for limit in (1200, 800):  # Pillow warns above its limit and refuses above twice the limit
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
        assert load_folder(tmp_path)[0].shape == (52, 40, 3)

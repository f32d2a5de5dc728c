"""Test which photographs folders and prepared TFDS data give, held in memory or decoded when read."""

import logging
import sys

import numpy as np
import pytest
from PIL import Image

from jaxsr.data import sources as data
from jaxsr.data.photographs import LazyImages
from jaxsr.data.sources import load_folder, load_tfds
from jaxsr.imaging.files import ImageFileError
from jaxsr.training.degradation import bicubic, real_esrgan
from tests.data.photos import make, photos, save_folder


def test_folder_is_read_recursively_in_order_and_small_images_are_counted(tmp_path, caplog):
    (tmp_path / "sub").mkdir()
    large, small = photos((20, 24), (8, 30))
    Image.fromarray(large).save(tmp_path / "sub" / "a.PNG")
    Image.fromarray(large[::-1]).save(tmp_path / "b.webp", lossless=True)
    Image.fromarray(small).save(tmp_path / "c.tif")
    (tmp_path / "notes.txt").write_text("not an image")
    with caplog.at_level(logging.WARNING):
        images = load_folder(tmp_path, min_size=16)
    assert "left out 1 of 3 images, smaller than 16 pixels" in caplog.text
    np.testing.assert_array_equal(images, [large[::-1], large])
    assert len(load_folder(tmp_path)) == 3


def test_folder_over_the_limit_is_decoded_when_read_and_gives_the_same_batches(tmp_path, monkeypatch):
    save_folder(tmp_path, photos((40, 52), (12, 90), (33, 45), (16, 16)))
    in_memory = load_folder(tmp_path, min_size=16)
    assert isinstance(in_memory, list)
    pixels = sum(image.size for image in in_memory)
    monkeypatch.setattr(data, "MAX_IN_MEMORY", pixels)
    assert isinstance(load_folder(tmp_path, min_size=16), list)
    monkeypatch.setattr(data, "MAX_IN_MEMORY", pixels - 1)
    lazy = load_folder(tmp_path, min_size=16)
    assert isinstance(lazy, LazyImages)
    assert len(lazy) == 3
    for image, expected in zip(lazy, in_memory, strict=True):
        np.testing.assert_array_equal(image, expected)
    for degrade in (bicubic, real_esrgan):
        for key, expected in make(in_memory, degrade=degrade).batch(2).items():
            np.testing.assert_array_equal(make(lazy, degrade=degrade).batch(2)[key], expected)


def test_empty_folder_and_broken_file_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no image of at least 1 pixels among 0"):
        load_folder(tmp_path)
    (tmp_path / "broken.jpg").write_bytes(b"\xff\xd8 no picture")
    with pytest.raises(ImageFileError, match=r"broken\.jpg: .*; convert it to one, or copy it again"):
        load_folder(tmp_path)


@pytest.fixture
def prepared(tmp_path):
    """Write a real TFDS data set of two photographs, named imagenet2012, as ArrayRecord and without TensorFlow."""
    tfds = pytest.importorskip("tensorflow_datasets")
    pytest.importorskip("array_record")
    images = photos((20, 24), (30, 18))
    files = [str(tmp_path / f"{i}.png") for i in range(2)]
    for file, image in zip(files, images, strict=True):
        Image.fromarray(image).save(file)

    with tfds.core.registered.skip_registration():

        class Imagenet2012(tfds.core.GeneratorBasedBuilder):
            VERSION = tfds.builder_cls("imagenet2012").VERSION

            def _info(self):
                return tfds.core.DatasetInfo(
                    builder=self, features=tfds.features.FeaturesDict({"image": tfds.features.Image()})
                )

            def _split_generators(self, dl_manager):
                return {"train": self._generate_examples()}

            def _generate_examples(self):
                yield from ((i, {"image": file}) for i, file in enumerate(files))

    Imagenet2012(data_dir=tmp_path, file_format="array_record").download_and_prepare()
    return tmp_path, images


def test_prepared_tfds_data_is_read_without_tensorflow(prepared):
    data_dir, images = prepared
    source = load_tfds("imagenet2012", "train", data_dir)
    assert sorted(x.tobytes() for x in source) == sorted(x.tobytes() for x in images)
    for key, expected in make(list(source)).batch(0).items():
        np.testing.assert_array_equal(make(source).batch(0)[key], expected)
    assert "tensorflow" not in sys.modules


def test_tfds_data_that_is_not_prepared_says_how_to(tmp_path):
    pytest.importorskip("tensorflow_datasets")
    with pytest.raises(
        FileNotFoundError, match=r"div2k/bicubic_x4 is not prepared there .* tfds build div2k/bicubic_x4"
    ):
        load_tfds("div2k/bicubic_x4", "train", tmp_path)


def test_tfds_without_its_package_or_with_another_name_is_refused(monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorflow_datasets", None)
    with pytest.raises(ImportError, match=r"pip install '\.\[data\]'"):
        load_tfds("div2k", "train")
    with pytest.raises(ValueError, match="choose one of div2k, imagenet2012"):
        load_tfds("mnist", "train")

"""Batches of photographs: stateless, aligned, split over hosts; folders, TFDS and prefetching."""

import itertools
import logging
import sys
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np
import pytest
from PIL import Image

from jaxsr.data import sources as data
from jaxsr.data.crops import dihedral, downsample_crop
from jaxsr.data.photographs import LazyImages, image_sizes, read_rgb
from jaxsr.data.prefetch import prefetch
from jaxsr.data.sources import load_folder, load_tfds
from jaxsr.imaging.files import ImageFileError, Photo, write_photo
from jaxsr.imaging.resize import downsample_bicubic_uint8
from jaxsr.training.dataset import pair_dataset
from jaxsr.training.degradation import RealEsrganConfig, bicubic, real_esrgan

make = partial(pair_dataset, hr_size=16, scale=4, batch_size=6, seed=5)


class Source(Sequence):
    """Photographs that are not held in a list or a tuple, as a data set on disk."""

    def __init__(self, images):
        self.images = images

    def __len__(self):
        return len(self.images)

    def __getitem__(self, i):
        return self.images[i]


def photos(*sizes: tuple[int, int]) -> list[np.ndarray]:
    return [np.random.default_rng(i).integers(0, 256, (*size, 3), dtype=np.uint8) for i, size in enumerate(sizes)]


IMAGES = photos((40, 52), (33, 45), (16, 16))


def test_batch_is_a_function_of_seed_and_step():
    batch, again = make(IMAGES).batch(7), make(IMAGES).batch(7)
    assert (batch["hr"].shape, batch["hr"].dtype) == ((6, 16, 16, 3), np.uint8)
    assert (batch["lr"].shape, batch["lr"].dtype) == ((6, 4, 4, 3), np.uint8)
    for key in batch:
        np.testing.assert_array_equal(batch[key], again[key])
    assert (batch["hr"] != make(IMAGES).batch(8)["hr"]).any()
    assert (batch["hr"] != make(IMAGES, seed=6).batch(7)["hr"]).any()


def test_examples_of_a_batch_differ_and_do_not_depend_on_its_size():
    small, large = make(IMAGES).batch(3)["hr"], make(IMAGES, batch_size=12).batch(3)["hr"]
    np.testing.assert_array_equal(small, large[:6])
    assert len({x.tobytes() for x in large}) == 12


def test_hosts_make_together_the_global_batch():
    dataset = make(IMAGES)
    parts = [dataset.for_host(i, 3).batch(2) for i in range(3)]
    for key, whole in dataset.batch(2).items():
        np.testing.assert_array_equal(np.concatenate([part[key] for part in parts]), whole)
    with pytest.raises(ValueError, match="batch of 6 cannot be split over 4 hosts"):
        dataset.for_host(0, 4)


def test_low_resolution_crop_is_that_of_the_whole_photograph():
    """Search the crop in every symmetry of the photograph: HR and LR must lie at the same place."""
    image = IMAGES[0]
    small = downsample_bicubic_uint8(image, 4)
    hr, lr = make([image]).example(0, 0)
    places = [
        (k, y, x)
        for k, y, x in itertools.product(range(8), range(7), range(10))
        if np.array_equal(dihedral(image[4 * y : 4 * y + 16, 4 * x : 4 * x + 16], k), hr)
    ]
    assert len(places) == 1
    k, y, x = places[0]
    np.testing.assert_array_equal(dihedral(small[y : y + 4, x : x + 4], k), lr)


def test_lazy_source_gives_the_pairs_of_the_one_in_memory():
    images = [*IMAGES, *photos((97, 122))]
    lazy, cached = make(Source(images)), make(images)
    assert lazy.cached_lr is None
    for step in range(20):
        for key, in_memory in cached.batch(step).items():
            np.testing.assert_array_equal(lazy.batch(step)[key], in_memory)


@pytest.mark.parametrize("scale", [1, 2, 3, 4])
@pytest.mark.parametrize("size", [1, 5])
def test_downsampled_crop_is_that_of_the_whole_photograph_at_every_place(scale, size):
    # Black and white, the hardest input; 1 pixel more than a multiple of the scale, which must not be seen.
    image = (photos((14 * scale + 1, 17 * scale + 1))[0] >> 7) * np.uint8(255)
    small = downsample_bicubic_uint8(image, scale)
    for y, x in itertools.product(*(range(n - size + 1) for n in small.shape[:2])):
        crop = downsample_crop(image, y, x, size, scale)
        np.testing.assert_array_equal(crop, small[y : y + size, x : x + size])


def test_lazy_source_downsamples_no_more_than_a_crop_and_its_margin(monkeypatch):
    seen = []
    inner = data.downsample_bicubic_uint8
    monkeypatch.setattr(data, "downsample_bicubic_uint8", lambda x, scale: (seen.append(x.shape), inner(x, scale))[1])
    make(Source(photos((400, 300)))).batch(0)
    assert len(seen) == 6
    assert max(side for shape in seen for side in shape[:2]) <= 16 + 2 * 4 * 4


@pytest.mark.parametrize(("images", "degrade"), [(IMAGES, real_esrgan), (Source(IMAGES), bicubic)])
def test_batch_does_not_depend_on_the_number_of_threads(images, degrade, monkeypatch):
    dataset = make(images, degrade=degrade)
    expected = [np.stack(part) for part in zip(*(dataset.example(3, i) for i in range(6)), strict=True)]
    for threads in (1, 2, 5):
        monkeypatch.setattr(data, "ThreadPoolExecutor", partial(ThreadPoolExecutor, threads))
        batch = dataset.batch(3)
        for key, part in zip(("hr", "lr"), expected, strict=True):
            np.testing.assert_array_equal(batch[key], part)


def test_costly_examples_are_made_side_by_side_and_their_error_arrives():
    meeting = threading.Barrier(2, timeout=10)  # breaks, unless two examples are being made at once
    started = threading.Event()

    def degrade(hr, scale, rng):
        meeting.wait()
        return bicubic(hr, scale, rng)

    def decode(i):
        if started.is_set():  # not for the type check of the arguments, which reads a photograph too
            meeting.wait()
        return IMAGES[i]

    def fail(hr, scale, rng):
        raise OSError("disk is gone")

    make(IMAGES, degrade=degrade).batch(0)
    lazy = make(LazyImages(range(2), decode))
    started.set()
    lazy.batch(0)
    with pytest.raises(OSError, match="disk is gone"):
        make(IMAGES, degrade=fail).batch(0)


def test_cached_examples_are_made_without_threads(monkeypatch):
    monkeypatch.setattr(data, "ThreadPoolExecutor", None)
    assert make(IMAGES).batch(0)["lr"].shape == (6, 4, 4, 3)


def test_all_symmetries_and_places_are_drawn():
    image = photos((24, 20))[0]
    dataset = make([image])
    seen = {dataset.example(step, 0)[0].tobytes() for step in range(400)}
    everything = {
        dihedral(image[y : y + 16, x : x + 16], k).tobytes()
        for k, y, x in itertools.product(range(8), (0, 4, 8), (0, 4))
    }
    assert seen == everything
    assert len(everything) == 48


def test_random_degradation_acts_on_the_crop_and_is_repeated_exactly():
    dataset = make(IMAGES, degrade=real_esrgan)
    batch = dataset.batch(1)
    np.testing.assert_array_equal(batch["lr"], make(IMAGES, degrade=real_esrgan).batch(1)["lr"])
    np.testing.assert_array_equal(batch["hr"], make(IMAGES).batch(1)["hr"])
    assert (batch["lr"] != make(IMAGES).batch(1)["lr"]).any()
    other = partial(real_esrgan, config=RealEsrganConfig(final_sinc_probability=0.0))
    assert (batch["lr"] != make(IMAGES, degrade=other).batch(1)["lr"]).any()


def test_too_small_photographs_are_never_drawn():
    small = photos((12, 40))
    only_large = make([IMAGES[0]]).batch(0)["hr"]
    np.testing.assert_array_equal(make([*small, IMAGES[0]]).batch(0)["hr"], only_large)
    assert make(Source([*small, IMAGES[0]])).batch(0)["hr"].shape == only_large.shape
    with pytest.raises(ValueError, match="smaller than the crop of 16 pixels"):
        make(small)
    with pytest.raises(ValueError, match="100 images drawn are all smaller"):
        make(Source(small)).batch(0)


@pytest.mark.parametrize("wrong", [{"hr_size": 18}, {"scale": 0}, {"batch_size": 0}, {"seed": -1}, {"images": []}])
def test_sizes_that_do_not_fit_together_are_refused(wrong):
    with pytest.raises(ValueError, match=r"choose one that is|need a batch_size"):
        make(**{"images": IMAGES, **wrong})


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


def test_folder_gives_rgb_turned_as_exif_says(tmp_path):
    image = photos((20, 24))[0]
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(image).save(tmp_path / "a.png", exif=exif)
    Image.fromarray(image[..., 0]).save(tmp_path / "b.png")
    Image.fromarray(np.dstack([image, image[..., :1]])).save(tmp_path / "c.png")
    Image.fromarray(image[..., 0].astype(np.uint16) * 257).save(tmp_path / "d.png")
    turned, grey, opaque, deep = load_folder(tmp_path)
    np.testing.assert_array_equal(turned, np.rot90(image, -1))
    np.testing.assert_array_equal(grey, image[..., :1].repeat(3, axis=-1))
    np.testing.assert_array_equal(opaque, image)
    np.testing.assert_array_equal(deep, grey)


def test_folder_gives_what_the_readers_of_photographs_give(tmp_path):
    """16-bit colour TIFF, whose header Pillow does not know, and CMYK are read as everywhere else in the package."""
    image = photos((20, 24))[0]
    deep = (image.astype(np.float32) + np.float32(0.3)).clip(0, 255) / np.float32(255)
    write_photo(tmp_path / "a.tif", Photo(deep, None, 16, False, None, None, "a"))
    Image.new("CMYK", (18, 17), (0, 255, 255, 0)).save(tmp_path / "b.jpg")
    colour, ink = load_folder(tmp_path, min_size=17)
    np.testing.assert_array_equal(colour, image)
    assert (ink.shape, ink.dtype) == ((17, 18, 3), np.uint8)
    assert ink[..., 0].min() > 200
    assert ink[..., 1:].max() < 80


def save_folder(folder, images) -> None:
    for i, image in enumerate(images):
        exif = Image.Exif()
        exif[0x0112] = 6  # a quarter turn, which the header's size does not know of
        Image.fromarray(image).save(folder / f"{i}.png", exif=exif)


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


def test_photographs_over_pillows_limit_are_measured_without_a_warning(tmp_path, monkeypatch):
    save_folder(tmp_path, photos((40, 52)))
    for limit in (1200, 800):  # Pillow warns over its limit and refuses over twice of it
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
        assert load_folder(tmp_path)[0].shape == (52, 40, 3)


def test_empty_folder_and_broken_file_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no image of at least 1 pixels among 0"):
        load_folder(tmp_path)
    (tmp_path / "broken.jpg").write_bytes(b"\xff\xd8 no picture")
    with pytest.raises(ImageFileError, match=r"broken\.jpg: .*; convert it to one, or copy it again"):
        load_folder(tmp_path)


@pytest.fixture
def prepared(tmp_path):
    """A real TFDS data set of two photographs under the name imagenet2012, as ArrayRecord, made without TensorFlow."""
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
    with pytest.raises(ImportError, match=r"pip install 'jaxsr\[data\]'"):
        load_tfds("div2k", "train")
    with pytest.raises(ValueError, match="choose one of div2k, imagenet2012"):
        load_tfds("mnist", "train")


def test_prefetch_keeps_order_works_ahead_and_stops():
    made, ready = [], threading.Event()

    def source():
        for i in itertools.count():
            made.append(i)
            if i == 2:
                ready.set()
            yield i

    batches = prefetch(source(), size=2)
    assert next(batches) == 0
    assert ready.wait(5)
    assert [next(batches) for _ in range(3)] == [1, 2, 3]
    batches.close()
    assert len(made) <= 6
    assert not any(t.name.startswith("prefetch") for t in threading.enumerate())
    assert list(prefetch(iter("abc"), size=5)) == ["a", "b", "c"]


def test_prefetch_carries_the_exception_after_the_batches_before_it():
    def source():
        yield 1
        raise OSError("disk is gone")

    batches = prefetch(source())
    assert next(batches) == 1
    with pytest.raises(OSError, match="disk is gone"):
        next(batches)
    with pytest.raises(ValueError, match="prefetch size is 0"):
        next(prefetch([1], size=0))

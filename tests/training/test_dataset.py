"""Test that training batches are functions of seed and step, aligned, split over hosts, and made by threads."""

import itertools
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np
import pytest

from jaxsr.data import crops
from jaxsr.data.crops import dihedral
from jaxsr.data.photographs import LazyImages
from jaxsr.imaging.resize import downsample_bicubic_uint8
from jaxsr.training import dataset as data
from jaxsr.training.degradation import RealEsrganConfig, bicubic, real_esrgan
from tests.data.photos import make, photos


class Source(Sequence):
    """Photographs that are not held in a list or a tuple, like a data set on disk."""

    def __init__(self, images):
        self.images = images

    def __len__(self):
        return len(self.images)

    def __getitem__(self, i):
        return self.images[i]


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
    """The test searches for the crop in every symmetry of the photograph: HR and LR must lie at the same place."""
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


def test_lazy_source_downsamples_no_more_than_a_crop_and_its_margin(monkeypatch):
    seen = []
    inner = crops.downsample_bicubic_uint8
    monkeypatch.setattr(crops, "downsample_bicubic_uint8", lambda x, scale: (seen.append(x.shape), inner(x, scale))[1])
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
    meeting = threading.Barrier(2, timeout=10)  # raises unless two examples are made at once
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

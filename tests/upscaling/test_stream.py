"""Test that pictures enlarged together are those enlarged one by one, whatever shares their calls."""

import os
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

from jaxsr.errors import NotFiniteError
from jaxsr.guidance.guide import make_guide
from jaxsr.options import Options
from jaxsr.upscaling import stream
from jaxsr.upscaling.stream import Enlargement, enlarge_many, upscale_many

ROOT = Path(__file__).parents[2]
TILED = {"steps": 2, "tile": 32, "overlap": 16}


def pixels(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).random((height, width, 3), np.float32)


def picture(upscaler, rgb: np.ndarray, *, seed: int = 0, grey: bool = False, **options) -> Enlargement:
    scale = upscaler.preset.scale
    shape = (rgb.shape[0] * scale, rgb.shape[1] * scale)
    guide = make_guide(rgb, scale, alpha_map=options.pop("alpha_map", None), objective=None)
    out = np.empty(shape if grey else (*shape, 3), np.float32)
    return Enlargement(rgb, out, Options(**TILED | options), guide, seed)


def alone(upscaler, one: Enlargement, batch: int = 1) -> np.ndarray:
    out = np.empty_like(one.out)
    upscaler.enlarge(one.rgb, out, one.options, guide=one.guide, seed=one.seed, batch=batch)
    return out


def many(upscaler) -> list[Enlargement]:
    """Return pictures of several sizes, programs and scales, in mixed order."""
    ramp = np.linspace(0, 1, 900, dtype=np.float32).reshape(30, 30)
    return [
        picture(upscaler, pixels(40, 50)),
        picture(upscaler, pixels(20, 20, 1), alpha=0.2),
        picture(upscaler, pixels(70, 33, 2), seed=7),
        picture(upscaler, pixels(30, 30, 3), alpha=0.2, alpha_map=ramp),
        picture(upscaler, pixels(25, 40, 4), alpha=-0.1),
        picture(upscaler, pixels(33, 31, 5), grey=True),
        picture(upscaler, pixels(32, 64, 6), tile_noise="fresh"),
        picture(upscaler, pixels(32, 32, 7), tile=64),
        picture(upscaler, pixels(20, 21, 8), alpha=0.2),
    ]


@pytest.mark.parametrize("batch", [1, 3])
def test_pictures_together_are_those_alone(small_upscalers, batch):
    upscaler = small_upscalers["channel"]
    pictures = many(upscaler)
    numbers = []
    for number, one, run in enlarge_many(upscaler, iter(pictures), batch=batch):
        assert not isinstance(run, BaseException), run
        assert one is pictures[number]
        numbers.append(number)
        expected = alone(upscaler, one)
        if batch == 1:
            np.testing.assert_array_equal(one.out, expected)
        else:
            np.testing.assert_allclose(one.out, expected, atol=1e-5)
    assert sorted(numbers) == [*range(len(pictures))]


def test_a_picture_is_finished_as_soon_as_its_tiles_are(small_upscalers):
    upscaler, taken = small_upscalers["channel"], []

    def pictures():
        for seed in range(12):
            taken.append(seed)
            yield picture(upscaler, pixels(32, 32, seed))

    found = enlarge_many(upscaler, pictures(), batch=2)
    number, *_ = next(found)
    assert number == 0
    assert len(taken) <= 6  # two calls are on their way
    assert [number for number, *_ in found] == [*range(1, 12)]


def test_a_rare_kind_does_not_wait_for_long(small_upscalers):
    upscaler = small_upscalers["channel"]
    pictures = [picture(upscaler, pixels(32, 32), tile=64), *(picture(upscaler, pixels(32, 32, i)) for i in range(30))]
    order = [number for number, *_ in enlarge_many(upscaler, pictures, batch=4)]
    assert order.index(0) < 25


def test_a_picture_that_cannot_be_enlarged_stops_no_other(small_upscalers):
    upscaler = small_upscalers["channel"]
    bad = picture(upscaler, pixels(32, 32), alpha=(0.1, 0.2, 0.3))
    nan = picture(upscaler, np.full((32, 32, 3), np.nan, np.float32))
    good = [picture(upscaler, pixels(32, 32, seed)) for seed in range(3)]
    pictures = [good[0], bad, nan, *good[1:]]
    found = {number: run for number, _, run in enlarge_many(upscaler, pictures, batch=4)}
    assert isinstance(found[1], ValueError)
    assert isinstance(found[2], NotFiniteError)
    for number, one in ((0, good[0]), (3, good[1]), (4, good[2])):
        assert not isinstance(found[number], BaseException)
        np.testing.assert_allclose(one.out, alone(upscaler, one), atol=1e-5)


def test_a_reference_is_fitted_to_its_picture_alone(small_upscalers):
    upscaler = small_upscalers["channel"]
    rgb, scale = pixels(32, 40), upscaler.preset.scale
    hr = rgb[4:20, 4:20].repeat(scale, 0).repeat(scale, 1)
    guide = make_guide(rgb, scale, reference=hr, box=(4, 4, 16, 16), objective=None)
    one = picture(upscaler, rgb)
    one.guide = guide
    other = picture(upscaler, pixels(32, 40, 1))
    found = {number: run for number, _, run in enlarge_many(upscaler, [other, one])}
    assert found[1].scales.quality
    np.testing.assert_array_equal(one.out, alone(upscaler, one))
    np.testing.assert_array_equal(other.out, alone(upscaler, other))


def test_a_failed_call_is_repeated_picture_by_picture(small_upscalers, monkeypatch):
    """As where the memory suffices for one tile, and not for the batch."""
    upscaler = small_upscalers["channel"]

    def fail(self, entries):
        raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: out of memory")

    monkeypatch.setattr(stream._Stream, "_call", fail)
    pictures = [picture(upscaler, pixels(40, 50, seed)) for seed in range(2)]
    for _, one, run in enlarge_many(upscaler, pictures, batch=2):
        assert not isinstance(run, BaseException)
        np.testing.assert_allclose(one.out, alone(upscaler, one), atol=1e-5)


def test_progress_counts_every_tile(small_upscalers):
    upscaler, calls = small_upscalers["channel"], []
    one = picture(upscaler, pixels(40, 50))
    one.progress = lambda done, total: calls.append((done, total))
    assert len([*enlarge_many(upscaler, [one], batch=3)]) == 1
    assert calls == [(i + 1, 6) for i in range(6)]


@pytest.mark.parametrize(
    ("words", "message"), [({"batch": 0}, "batch: must be"), ({"devices": 99}, "devices: must be")]
)
def test_numbers_that_do_not_fit_are_refused(small_upscalers, words, message):
    with pytest.raises(ValueError, match=message):
        next(enlarge_many(small_upscalers["channel"], [], **words))


@pytest.mark.parametrize("batch", [1, 3])
def test_results_of_many_come_in_order_and_in_the_type_of_their_image(small_upscalers, batch):
    upscaler = small_upscalers["channel"]
    images = [(255 * pixels(20 + 9 * i, 30, i)).astype(np.uint8) for i in range(5)]
    images[2] = images[2][..., 0]
    images[3] = pixels(64, 30)
    found = [*upscale_many(upscaler, iter(images), batch=batch, seed=3, **TILED)]
    for image, result in zip(images, found, strict=True):
        expected = upscaler.upscale(image, seed=3, **TILED)
        assert (result.dtype, result.shape) == (expected.dtype, expected.shape)
        np.testing.assert_allclose(result, expected, atol=1 if image.dtype == np.uint8 else 1e-5)


def test_wrong_options_and_images_of_many_are_refused(small_upscalers):
    upscaler = small_upscalers["channel"]
    with pytest.raises(TypeError, match="upscale_many has no option colour"):
        next(upscale_many(upscaler, [], colour=1))
    with pytest.raises(ValueError, match="calibration: "):
        next(upscale_many(upscaler, [], calibration="c.json"))
    results = upscale_many(upscaler, [pixels(20, 20), np.full((20, 20, 3), np.nan, np.float32)], **TILED)
    next(results)
    with pytest.raises(ValueError, match=r"float pixels must be in \[0, 1\]"):
        next(results)


ON_MANY = """
import sys
import jax, numpy as np
from jaxsr.upscaling.stream import enlarge_many
from jaxsr.upscaling.loading import load
from tests.upscaling.test_stream import many

upscaler = load(sys.argv[1])
results = []
for devices in (1, jax.device_count()):
    pictures = many(upscaler)
    found = [run for _, _, run in enlarge_many(upscaler, pictures, devices=devices)]
    assert not any(isinstance(run, BaseException) for run in found), found
    results.append([one.out for one in pictures])
for one, first, second in zip(pictures, *results):
    if one.options.alpha is None:
        assert np.array_equal(first, second)
    else:  # the program of several devices rounds a gradient otherwise
        assert np.allclose(first, second, rtol=0, atol=1e-6), np.abs(first - second).max()
print(jax.device_count(), "devices")
"""


@pytest.mark.slow
def test_eight_devices_make_the_same_bytes(small_checkpoints):
    environment = os.environ | {"JAX_NUM_CPU_DEVICES": "8", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", ON_MANY, str(small_checkpoints["channel"])]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.stdout == "8 devices\n", done.stderr

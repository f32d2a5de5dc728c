"""Test the fallbacks where memory is short or bfloat16 gives no finite numbers, and which errors remain."""

from dataclasses import replace

import jax
import numpy as np
import pytest

from jaxsr.errors import NotFiniteError
from jaxsr.options import Options
from jaxsr.upscaling.upscaler import Upscaler
from tests.small_model import enlarged, nearest
from tests.upscaling.pictures import IMAGE, noise_image


def _failing(fails, error):
    """Make a compiled function that, where `fails(batch, tile)`, raises `error` or multiplies the tiles by it."""

    def enlarge(params, key, tiles, origins):
        if not fails(len(tiles), tiles.shape[1]):
            return nearest(params, key, tiles, origins)
        if isinstance(error, Exception):
            raise error
        return nearest(params, key, tiles * error, origins)

    return lambda self, options, *_: enlarge


FULL = jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 123456789 bytes.")


@pytest.mark.parametrize(
    ("height", "batch", "limit", "expected"),
    [
        (570, 1, 64, (1, (32, 24))),  # from tiles of (304, 200)
        (570, 3, 128, (1, (72, 48))),
        (570, 8, 400, (1, (304, 200))),
        (500, 1, 64, (1, (64, 48))),  # from tiles of (264, 200)
    ],
)
def test_short_memory_starts_the_image_again_with_less(channel, monkeypatch, height, batch, limit, expected):
    fails = lambda batch, tile: batch * tile > limit  # noqa: E731
    monkeypatch.setattr(Upscaler, "compiled", _failing(fails, FULL))
    image = noise_image(height, 200, np.uint8, 3) / np.float32(255)
    out = np.empty((4 * height, 800, 3), np.float32)
    run = channel.enlarge(image, out, Options(), seed=0, batch=batch)
    assert (run.batch, run.options.tile) == (run.batch, run.plan.tile) == expected
    np.testing.assert_allclose(out, enlarged(image), atol=1e-7)


def test_short_memory_in_the_middle_of_an_image_leaves_nothing_of_the_first_try(channel, monkeypatch):
    calls = []
    fails = lambda batch, tile: calls.append(tile) is None and tile == 304 and calls.count(304) > 1  # noqa: E731
    monkeypatch.setattr(Upscaler, "compiled", _failing(fails, FULL))
    image = noise_image(570, 20, np.uint8, 3)
    np.testing.assert_array_equal(channel.upscale(image), enlarged(image))
    assert calls[:3] == [304, 304, 152]


@pytest.mark.parametrize(("tile", "message"), [(32, "--tile 16"), ("off", "--tile 16"), (16, "more memory")])
def test_short_memory_for_a_chosen_tile_is_one_sentence(channel, monkeypatch, tile, message):
    monkeypatch.setattr(Upscaler, "compiled", _failing(lambda *_: True, FULL))
    with pytest.raises(MemoryError, match=f"^tile: .*{message}"):
        channel.upscale(IMAGE, tile=tile)


def test_other_errors_of_the_device_are_not_hidden(channel, monkeypatch):
    monkeypatch.setattr(Upscaler, "compiled", _failing(lambda *_: True, jax.errors.JaxRuntimeError("INTERNAL: bug")))
    with pytest.raises(jax.errors.JaxRuntimeError, match="bug"):
        channel.upscale(IMAGE)


def test_an_image_that_bf16_cannot_hold_is_made_in_fp32(channel, monkeypatch):
    broken, sound = (_failing(lambda *_, f=fails: f, np.float32(np.nan))(None, None) for fails in (True, False))
    monkeypatch.setattr(Upscaler, "compiled", lambda self, o, *_: broken if o.precision == "bf16" else sound)
    out = np.empty((160, 120, 3), np.uint8)
    run = channel.enlarge(IMAGE / np.float32(255), out, Options(precision="bf16"), seed=0)
    assert run.options.precision == "fp32"
    np.testing.assert_array_equal(out, enlarged(IMAGE))


def test_a_network_without_numbers_is_an_error(channel):
    params = {name: value * np.float32(np.nan) for name, value in channel.params.items()}
    broken = replace(channel, params=params)
    broken.__dict__["_compiled"] = channel._compiled
    with pytest.raises(NotFiniteError, match="not numbers"):
        broken.upscale(IMAGE, tile=32)

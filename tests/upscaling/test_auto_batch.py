"""Test that the batch `auto` follows the memory that is free, in every way to enlarge a picture."""

import numpy as np
import pytest

from jaxsr.options import Options
from jaxsr.runtime import device_memory
from jaxsr.upscaling import stream, upscaler
from jaxsr.upscaling.plan import plan_run
from jaxsr.upscaling.stream import enlarge_many, upscale_many
from tests.upscaling.test_stream import TILED, picture, pixels


@pytest.fixture
def free(monkeypatch):
    """Return the function that sets the free memory."""
    return lambda size: monkeypatch.setattr(device_memory, "free_memory", lambda: size)


@pytest.fixture
def calls(monkeypatch):
    """Collect the number of tiles of every call of the stream."""
    made, call = [], stream._Stream._call
    monkeypatch.setattr(stream._Stream, "_call", lambda self, entries: made.append(len(entries)) or call(self, entries))
    return made


def test_the_batch_grows_with_the_free_memory(small_upscalers, free, monkeypatch):
    channel, run = small_upscalers["channel"], plan_run(small_upscalers["channel"].preset, (40, 50), Options(**TILED))
    free(1)
    assert channel.auto_batch(run) == 1
    (needed,) = channel._tile_bytes.values()
    assert 32 * 32 * 16 * 3 * 4 < needed < 1e9
    free(int(10.5 * needed))
    assert channel.auto_batch(run) == 5
    assert channel.auto_batch(run, devices=2) == 2
    free(10**15)
    assert channel.auto_batch(run) == upscaler.CALL_PIXELS // 32**2
    monkeypatch.setattr(upscaler, "CALL_PIXELS", 3 * 32**2)
    assert channel.auto_batch(run) == 3
    assert channel.plan((40, 50), Options(**TILED), "auto").batch == 3


@pytest.mark.slow
@pytest.mark.parametrize(("tiles", "expected"), [(0, [1] * 12), (3, [3] * 4), (100, [12])])
def test_a_stream_makes_calls_of_that_size(small_upscalers, free, calls, tiles, expected):
    channel = small_upscalers["channel"]
    channel.auto_batch(plan_run(channel.preset, (40, 50), Options(**TILED)))
    free(int(2 * (tiles + 0.5) * max(channel._tile_bytes.values())))
    pictures = [picture(channel, pixels(40, 50, seed)) for seed in range(2)]
    for _, one, run in enlarge_many(channel, pictures, batch="auto"):
        assert not isinstance(run, BaseException)
        reference = np.empty_like(one.out)
        channel.enlarge(one.rgb, reference, one.options, seed=one.seed)
        np.testing.assert_allclose(one.out, reference, atol=1e-5)
    assert calls == expected


def test_functions_take_auto(small_upscalers, free, calls):
    channel = small_upscalers["channel"]
    free(10**15)
    image = pixels(40, 50)
    expected = channel.upscale(image, **TILED)
    np.testing.assert_allclose(channel.upscale(image, batch="auto", **TILED), expected, atol=1e-5)
    (found,) = upscale_many(channel, [image], batch="auto", devices=1, **TILED)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert calls == [6]


@pytest.mark.parametrize(("batch", "expected"), [(5, [3, 3]), (4, [3, 3]), (6, [6]), (1, [1] * 6)])
def test_the_calls_of_a_single_picture_are_even(small_upscalers, calls, batch, expected):
    channel = small_upscalers["channel"]
    ((_, _, run),) = enlarge_many(channel, [picture(channel, pixels(40, 50))], batch=batch)
    assert not isinstance(run, BaseException)
    assert calls == expected

"""Test what may change a result, and what may not."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxsr.imaging import noise, tiling
from jaxsr.imaging.resize import downsample_bicubic
from jaxsr.models.model import DTYPES, Model
from jaxsr.options import Options
from jaxsr.runtime import cpu, onednn
from jaxsr.upscaling.plan import plan_run
from jaxsr.upscaling.upscaler import Upscaler
from tests.small_model import nearest
from tests.upscaling.pictures import IMAGE


def test_the_same_call_gives_the_same_pixels_whatever_the_layout(channel):
    first = channel.upscale(IMAGE, seed=3, tile=32)
    channel.upscale(IMAGE[::-1].copy(), seed=3, tile=32)  # another image in between changes nothing
    np.testing.assert_array_equal(channel.upscale(IMAGE, seed=3, tile=32), first)
    np.testing.assert_array_equal(channel.upscale(np.asfortranarray(IMAGE), seed=3, tile=32), first)


def test_seed_sample_and_content_each_change_the_noise(channel):
    one_pixel = IMAGE.copy()
    one_pixel[0, 0, 0] ^= 1
    changed = [channel.upscale(IMAGE, seed=s, sample=n, tile=32) for s, n in ((0, 0), (1, 0), (0, 1))]
    changed.append(channel.upscale(one_pixel, tile=32))
    for i, first in enumerate(changed):
        for second in changed[:i]:
            assert (first[-40:] != second[-40:]).mean() > 0.5  # far from the pixel, too


def test_the_batch_does_not_change_the_result(channel):
    image = IMAGE / np.float32(255)
    one, three = (channel.upscale(image, tile=32, batch=batch, seed=5) for batch in (1, 3))
    np.testing.assert_allclose(one, three, atol=1e-6)
    one, three = (channel.upscale(IMAGE, tile=32, batch=batch, seed=5).astype(int) for batch in (1, 3))
    assert np.abs(one - three).max() <= 1
    assert (one != three).mean() < 1e-3  # values that lie between two levels, up to the rounding of float32


def test_the_order_of_tiles_does_not_change_them(channel):
    image = IMAGE / np.float32(255)
    run = plan_run(channel.preset, (40, 30), Options(tile=32))
    key = noise.image_key(0, noise.content_hash(image), 0)
    tiles = np.stack([tiling.cut(image, run.plan, i) for i in (0, 1, 0)])
    origins = np.array([run.plan.origin(i) for i in (0, 1, 0)], np.int32)
    enlarge = channel.compiled(run.options)
    forth, back = (enlarge(channel.params, key, tiles[::step], origins[::step]) for step in (1, -1))
    np.testing.assert_allclose(forth, back[::-1], atol=1e-6)
    assert np.abs(forth[0] - forth[1]).max() > 0.1


@pytest.mark.parametrize("batch", [1, 4])
def test_fresh_noise_has_a_key_of_its_own_for_every_tile(exact, monkeypatch, batch):
    calls, key = [], noise.image_key(3, noise.content_hash(IMAGE / np.float32(255)), 1)
    record = lambda params, keys, tiles, origins: calls.append((keys, origins)) or nearest(params, keys, tiles, origins)  # noqa: E731
    monkeypatch.setattr(Upscaler, "compiled", lambda *_: record)
    for tile_noise in ("fresh", "position"):
        exact.upscale(IMAGE, tile=16, overlap=0, batch=batch, seed=3, sample=1, tile_noise=tile_noise)
    fresh, position = calls[: len(calls) // 2], calls[len(calls) // 2 :]
    keys = np.concatenate([jax.random.key_data(keys) for keys, _ in fresh])
    np.testing.assert_array_equal(keys, [jax.random.key_data(jax.random.fold_in(key, number)) for number in range(6)])
    assert not np.concatenate([origins for _, origins in fresh]).any()
    expected = np.asarray(jax.random.key_data(key))
    assert all((np.asarray(jax.random.key_data(keys)) == expected).all() for keys, _ in position)
    assert np.concatenate([origins for _, origins in position])[:6].tolist() == [
        [y, x] for y in (0, 16, 24) for x in (0, 16)
    ]


@pytest.mark.parametrize(
    "options",
    [{"tile": 96}, {"overlap": 0}, {"blend": "mean"}, {"tile_noise": "fresh"}, {"precision": "bf16"}, {"seed": 2}],
    ids=str,
)
def test_every_option_changes_the_result(channel, options):
    default = channel.upscale(IMAGE, tile=32, seed=1)
    assert (channel.upscale(IMAGE, **{"tile": 32, "seed": 1} | options) != default).mean() > 0.01


def test_the_projection_makes_the_result_reduce_to_the_input(channel, monkeypatch):
    monkeypatch.setattr(Model, "denoiser", lambda *_: lambda x, step: jnp.sin(0.8 * x))
    fresh, rng = replace(channel), np.random.default_rng(0)
    for tile in (32, "off"):
        image = rng.uniform(0.3, 0.7, (32, 32, 3)).astype(np.float32)
        errors = []
        for strength in (None, 0.5, 1.0):
            result = fresh.upscale(image, tile=tile, projection=strength)
            inside = (result > 0) & (result < 1)
            assert inside.mean() > 0.9
            reduced = downsample_bicubic(jnp.asarray(result[None]), 4)[0]
            errors.append(float(jnp.median(jnp.abs(reduced - image))))
        assert errors[1] == pytest.approx(errors[0] / 2, rel=0.2)
        assert errors[2] < 0.05 * errors[0]


def test_every_option_of_the_sampler_changes_the_result(channel, monkeypatch):
    """A pointwise map replaces the network, which would take seconds to compile for each option."""
    monkeypatch.setattr(Model, "denoiser", lambda *_: lambda x, step: jnp.sin(2 * x))
    choices = [{}, {"steps": 3}, {"sampler": "deterministic"}, {"sampler": "heun"}, {"thinning": "released"}]
    choices += [{"thinning": "quadratic", "steps": 3}]
    choices += [{"thinning": (1, 3)}]
    choices += [{"temperature": 0.5}, {"temperature": (1.0, 1.5)}, {"temperature": 0.0}]
    fresh = replace(channel)
    results = [fresh.upscale(IMAGE, tile=32, **options) for options in choices]
    for i, first in enumerate(results):
        for second in results[:i]:
            assert (first != second).mean() > 0.3


@pytest.mark.usefixtures("way")
def test_bf16_is_close_to_fp32(channel):
    image = IMAGE / np.float32(255)
    low = replace(channel).upscale(image, tile=32, seed=1, precision="bf16")
    full = channel.upscale(image, tile=32, seed=1)
    assert np.sqrt(np.mean((low - full) ** 2)) < 0.02


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_weights_are_those_of_the_precision(channel, monkeypatch, precision):
    monkeypatch.setattr(onednn, "active", lambda: False)  # this CPU's oneDNN may lack bfloat16
    monkeypatch.setattr(cpu, "fast_bfloat16", lambda: True)
    dtype, given, compiled = DTYPES[precision], [], Upscaler.compiled

    def noting(self, options, *rest):
        program = compiled(self, options, *rest)
        return lambda params, *more: given.append(params) or program(params, *more)

    monkeypatch.setattr(Upscaler, "compiled", noting)
    monkeypatch.setattr(Model, "denoiser", lambda *_: lambda x, step: jnp.sin(2 * x))
    replace(channel).upscale(IMAGE, tile=32, precision=precision)
    kernels = {value.dtype for params in given for name, value in params.items() if name.endswith(".kernel")}
    assert kernels == {jnp.dtype(dtype)}

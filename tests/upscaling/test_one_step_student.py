"""Test that the one-step student runs by default as one call of its network at the last time of its schedule."""

from dataclasses import replace
from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxsr.hub import checkpoint
from jaxsr.imaging import noise
from jaxsr.imaging.resize import upsample_bicubic
from jaxsr.models.model import Model
from jaxsr.models.presets import PRESETS
from jaxsr.upscaling import loading
from tests.cli.sampling import picture, read_pixels, run, sidecar
from tests.models.tiny import random_values, unet_config
from weight_conversion.verify import build

NAME, SEED = "sinsr-v1", 3


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """Install the student with small random networks, in place of its download."""
    student = PRESETS["sinsr_v1"]
    codec = replace(student.codec, ch=32, num_res_blocks=(1, 1, 1), n_embed=16)  # pyright: ignore[reportArgumentType]
    small = replace(student, network=unet_config(), codec=codec)
    monkeypatch.setenv("JAXSR_CACHE_DIR", str(tmp_path / "cache"))
    checkpoint.save(tmp_path / "cache" / NAME, random_values(Model(small).shapes()), {"preset": small.to_dict()})
    monkeypatch.setattr(loading, "load", cache(loading.load))  # the second caller finds its program


def one_call(upscaler, image: np.ndarray, times: list[int]) -> list[np.ndarray]:
    """Enlarge by the equations, x_0 = f((y_0 + kappa sqrt(eta_T) noise) / sqrt(kappa^2 eta_T + 1), time)."""

    @jax.jit
    def call(params, key, image, time):
        parts = {name: {k.removeprefix(name): v for k, v in params.items()} for name in ("network.", "codec.")}
        network = build(upscaler.preset.network, parts["network."])
        codec = build(upscaler.preset.codec, parts["codec."])
        lr = image[None] * 2 - 1
        z_lr = codec.encode(upsample_bicubic(lr, 4))
        drawn = noise.chain_noise(key, jnp.zeros((1, 2), jnp.int32), z_lr.shape)(jnp.int32(0))
        x = (z_lr + 2 * 0.99 * drawn) / np.float32(np.sqrt((2 * 0.99) ** 2 + 1))
        return jnp.clip((codec.decode(network(x, time[None], lr, None)) + 1) / 2, 0, 1)[0]

    key = noise.image_key(SEED, noise.content_hash(image), 0)
    with jax.default_matmul_precision("highest"):
        return [np.asarray(call(upscaler.params, key, image, np.int32(time))) for time in times]


@pytest.mark.slow
def test_the_default_is_one_call_of_the_network_at_the_last_time(installed, tmp_path):
    pixels = picture(tmp_path / "a.png", (16, 16))
    words = ["-n", NAME, "--accept-license", "--seed", str(SEED), "--tile", "16"]
    assert run("-i", tmp_path / "a.png", "-o", tmp_path / "out", *words) == 0
    options = sidecar(tmp_path / "out/a.png")["options"]
    assert (options["steps"], options["sampler"]) == (1, "deterministic")

    upscaler, image = loading.load(NAME, accept_license=True), pixels.astype(np.float32) / 255
    enlarged = upscaler.upscale(image, seed=SEED, tile=16)
    np.testing.assert_array_equal(read_pixels(tmp_path / "out/a.png"), np.rint(enlarged * 255).astype(np.uint8))
    last, before, first = one_call(upscaler, image, [14, 13, 0])
    np.testing.assert_allclose(enlarged, last, atol=1e-5)
    assert min(np.abs(enlarged - other).max() for other in (before, first)) > 0.1

"""Test whole pictures of networks that see the whole image: padding, chain and tiles equal those made by hand.

The oracle has no code of the pipeline. It pads with `numpy.pad`, and computes the schedule and equation (R) in NumPy.
Only the networks and the noise are ours: those have golden arrays and tests of their own.
"""

import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxsr import diffusion
from jaxsr.imaging import noise
from jaxsr.models.model import Model
from jaxsr.options import options_like
from jaxsr.upscaling.upscaler import Upscaler
from weight_conversion.convert import read_source
from weight_conversion.settings import unet_config, vq_config
from weight_conversion.tolerances import TOLERANCES
from weight_conversion.verify_chain import chain_model

GOLDEN = Path(__file__).parents[1] / "parity" / "golden"
SEED = 3


def read(folder: Path, network: str = "unet_sr", codec: str = "vq_f4", scale: int = 4) -> Upscaler:
    """Load a golden Swin-UNet and autoencoder as a model of four steps."""
    parts, configs = {}, {}
    for part, stem, config in (("network", network, unet_config), ("codec", codec, vq_config)):
        configs[part] = config(json.loads((folder / f"{stem}_config.json").read_text()))
        values = read_source(folder / f"{stem}.pth").float32(configs[part])
        parts |= {f"{part}.{name}": jnp.asarray(value) for name, value in values.items()}
    settings = json.loads((folder / "sampler_s4_config.json").read_text())["diffusion"] | {"sf": scale}
    model = chain_model(settings, configs["network"], configs["codec"])
    return Upscaler(model.preset, parts, folder, "0" * 64)


@pytest.fixture(scope="module")
def golden() -> Upscaler:
    return read(GOLDEN)


def picture(height: int, width: int) -> np.ndarray:
    """Make a picture whose brightness and contrast change from place to place, which the norms notice."""
    rng = np.random.default_rng(0)
    ramp = np.linspace(0.05, 0.6, width, dtype=np.float32)[None, :, None]
    return (ramp + 0.4 * ramp * rng.random((height, width, 3), np.float32)).astype(np.float32)


def by_hand(upscaler: Upscaler, lr: np.ndarray, key) -> np.ndarray:
    """Return the result of one LR image (or tile) in [0, 1], from equation (R)."""
    height, width = lr.shape[:2]
    unit, steps, kappa = upscaler.preset.network.lq_size, 4, 2.0
    padded = np.pad(lr, ((0, -height % unit), (0, -width % unit), (0, 0)), mode="reflect")
    model, lq = Model(upscaler.preset), jnp.asarray(2 * padded[None] - 1)
    z_lr, predict = np.asarray(jax.jit(model.encode_lr)(upscaler.params, lq)), jax.jit(model.predict)
    first = upscaler.preset.schedule.min_noise_level / kappa
    b = (0.99 / first) ** (1 / (steps - 1))
    sqrt_eta = first * b ** ((np.arange(steps) / (steps - 1)) ** 0.3 * (steps - 1))
    eta = np.concatenate([[0.0], sqrt_eta**2])

    def eps(k: int) -> np.ndarray:
        return np.asarray(noise.field(jax.random.fold_in(key, k), np.zeros(2, np.int32), z_lr.shape[1:]))[None]

    x = z_lr + kappa * np.sqrt(eta[steps]) * eps(0)
    for k, t in enumerate(range(steps, 0, -1), start=1):
        scale = np.float32(1 / np.sqrt(kappa**2 * eta[t] + 1))
        x_t, at = jnp.asarray(x, jnp.float32), jnp.full(1, t - 1, jnp.int32)
        x0 = np.asarray(predict(upscaler.params, x_t, jnp.asarray(scale), at, z_lr, lq))
        x0 = np.clip(x0, -1, 1) if upscaler.preset.clip_x0 else x0
        alpha = eta[t] - eta[t - 1]
        x = eta[t - 1] / eta[t] * x + alpha / eta[t] * x0
        x = x + kappa * np.sqrt(eta[t - 1] / eta[t] * alpha) * eps(k) if t > 1 else x
    image = np.asarray(jax.jit(model.decode)(upscaler.params, jnp.asarray(x, jnp.float32)))[0]
    return np.clip((image + 1) / 2, 0, 1)[: upscaler.preset.scale * height, : upscaler.preset.scale * width]


def key_of(lr: np.ndarray):
    return noise.image_key(SEED, noise.content_hash(lr), 0)


def check_picture(upscaler: Upscaler, size: tuple[int, int]) -> None:
    lr = picture(*size)
    wanted = by_hand(upscaler, lr, key_of(lr))
    for tile in ("off", "auto"):
        close(upscaler.upscale(lr, seed=SEED, tile=tile, steps=4), wanted)
    problem = upscaler.problem(lr, seed=SEED, steps=4)
    close(problem.decode(diffusion.sample(problem.denoise, problem.schedule, problem.z_lr, problem.noise)), wanted)


def close(ours: np.ndarray, wanted: np.ndarray) -> None:
    assert ours.shape == wanted.shape
    np.testing.assert_allclose(ours, wanted, atol=TOLERANCES["chain"])


@pytest.mark.slow
@pytest.mark.parametrize("size", [(64, 128), (50, 60), (20, 37)])
def test_a_whole_picture_of_the_golden_networks_is_made_as_by_hand(golden, size):
    """The sizes are those of released pictures; the tiles are 64x128, 64x64 and 32x48."""
    check_picture(golden, size)


@pytest.mark.slow
def test_a_whole_picture_of_a_small_network_is_made_as_by_hand(small_upscalers):
    check_picture(small_upscalers["group"], (20, 70))  # a tile of 64x128


@pytest.mark.slow
def test_like_the_released_tool_averages_tiles_of_their_own_noise(golden):
    lr = picture(40, 70)
    left, right = (by_hand(golden, lr[:, x : x + 64], jax.random.fold_in(key_of(lr), k)) for k, x in enumerate((0, 6)))
    wanted = np.concatenate([left[:, :24], (left[:, 24:] + right[:, :-24]) / 2, right[:, -24:]], 1)
    ours = golden.upscale(lr, seed=SEED, **options_like("resshift-64"))
    close(ours, wanted)


@pytest.mark.slow
@pytest.mark.parametrize("size", [(128, 128), (140, 100), (40, 200)])
def test_faces_are_restored_at_the_nominal_and_at_other_sizes(shared, size):
    """The face network has a nominal size of 128 here (512 as released), scale 1 and the f8 autoencoder."""
    upscaler = read(shared / "reference" / "golden", "unet_face", "vq_f8", 1)
    check_picture(upscaler, size)
    lr = picture(*size)
    tiles = upscaler.upscale(lr, seed=SEED, tile=128)  # overlaps of 16 pixels, an eighth of the tile
    assert (tiles.shape, np.isfinite(tiles).all()) == (lr.shape, True)

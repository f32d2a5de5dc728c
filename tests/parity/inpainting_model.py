"""The golden inpainting network with its autoencoder as an upscaler, and the noise of its golden chain."""

import json
from functools import cache
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from jaxsr.hub import checkpoint
from jaxsr.upscaling.loading import load
from jaxsr.upscaling.upscaler import Upscaler
from weight_conversion.convert import read_source
from weight_conversion.settings import unet_config, vq_config
from weight_conversion.verify import load_golden, nhwc
from weight_conversion.verify_chain import chain_model

GOLDEN = Path(__file__).parent / "golden"


def save_golden(folder: Path) -> Path:
    """Write the checkpoint of the golden inpainting model, as the conversion would. Return its folder."""
    network, codec = (json.loads((GOLDEN / f"{name}_config.json").read_text()) for name in ("unet_inpaint", "vq_f4"))
    settings = json.loads((GOLDEN / "sampler_inpaint_s4_config.json").read_text())["diffusion"]
    configs = {"network": unet_config(network), "codec": vq_config(codec)}
    files = {"network": "unet_inpaint.pth", "codec": "vq_f4.pth"}
    params = {
        f"{part}.{name}": value
        for part, config in configs.items()
        for name, value in read_source(GOLDEN / files[part]).float32(config).items()
    }
    preset = chain_model(settings, configs["network"], configs["codec"]).preset
    checkpoint.save(folder, params, {"preset": preset.to_dict()})
    return folder


@cache
def golden_upscaler(folder: Path) -> Upscaler:
    return load(folder)


def golden_chain() -> dict[str, np.ndarray]:
    """Return the golden chain, NHWC: lr, mask, noise (step first) and decoded."""
    golden = load_golden(GOLDEN / "sampler_inpaint_s4.npz")
    return {name: nhwc(golden[name]) for name in ("lr", "mask", "noise", "decoded")}


def golden_noise(key, lattice, shape):
    """Give the golden noise in place of `noise.chain_noise`."""
    noise = jnp.asarray(golden_chain()["noise"])
    assert noise.shape[1:] == tuple(shape)
    return lambda k: jax.lax.dynamic_index_in_dim(noise, k, keepdims=False)

"""TAEF2 in JAX: the small autoencoder of github.com/madebyollin/taesd (MIT), for `benchmarks.bakeoff`.

It has a factor of 8 and 32 channels. Images are NHWC in [0, 1]; a latent is NHWC.
"""

from collections.abc import Mapping
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from jaxsr.hub.checkpoint import part
from jaxsr.models.convolution import convolve
from jaxsr.torch_files.reader import read_state_dict

Weights = Mapping[str, jax.Array]
FACTOR, CHANNELS = 8, 32
POINT = ((0, 0), (0, 0))


def load_taef2(folder: Path) -> dict[str, np.ndarray]:
    """Read `taef2_encoder.pth` and `taef2_decoder.pth`: float32, under `encoder.NAME` and `decoder.NAME`."""
    params = {}
    for half in ("encoder", "decoder"):
        for name, tensor in read_state_dict(folder / f"taef2_{half}.pth").items():
            value = np.asarray(tensor.read(), np.float32)
            # Kernels are OIHW in the file. Other parameters are one number per channel.
            value = value.transpose(2, 3, 1, 0) if value.ndim == 4 else value.reshape(1, 1, 1, -1)
            params[f"{half}.{name}"] = np.ascontiguousarray(value)
    return params


def encode(params: Weights, image: jax.Array) -> jax.Array:
    """Encode images whose sides are multiples of 8."""
    names = part(params, "encoder.")
    return _run(names, image, {index for index in _indices(names) if f"{index}.bias" not in names})


def decode(params: Weights, latent: jax.Array) -> jax.Array:
    """Decode a latent to images, not clipped."""
    names = part(params, "decoder.")
    return _run(names, jnp.tanh(latent / 3) * 3, set())


def _indices(names: Weights) -> list[int]:
    return sorted({int(name.split(".")[0]) for name in names})


def _run(names: Weights, x: jax.Array, halved: set[int]) -> jax.Array:
    """Run the layers in order. A convolution without bias has stride 2 in the encoder, and enlarges in the decoder."""
    indices = _indices(names)
    for index in indices:
        if f"{index}.weight" not in names:
            x = _block(names, str(index), x)
        elif f"{index}.bias" in names:
            x = _conv(names, str(index), x)
            if index == indices[0] and not halved:  # the decoder's first
                x = jax.nn.relu(x)
        elif index in halved:
            x = convolve(x, names[f"{index}.weight"], (2, 2))
        else:
            x = convolve(x.repeat(2, 1).repeat(2, 2), names[f"{index}.weight"])
    return x


def _block(names: Weights, at: str, x: jax.Array) -> jax.Array:
    if f"{at}.pool.0.weight" in names:
        h = convolve(x, names[f"{at}.pool.0.weight"], (1, 1), POINT)
        h = jax.nn.relu(_group_norm(h, names[f"{at}.pool.1.weight"], names[f"{at}.pool.1.bias"]))
        x = x + convolve(h, names[f"{at}.pool.3.weight"], (1, 1), POINT)
    h = jax.nn.relu(_conv(names, f"{at}.conv.0", x))
    h = jax.nn.relu(_conv(names, f"{at}.conv.2", h))
    return jax.nn.relu(_conv(names, f"{at}.conv.4", h) + x)


def _conv(names: Weights, at: str, x: jax.Array) -> jax.Array:
    return convolve(x, names[f"{at}.weight"]) + names[f"{at}.bias"]


def _group_norm(x: jax.Array, weight: jax.Array, bias: jax.Array, groups: int = 4) -> jax.Array:
    b, h, w, c = x.shape
    parts = x.reshape(b, h * w, groups, c // groups)
    mean, variance = parts.mean((1, 3), keepdims=True), parts.var((1, 3), keepdims=True)
    return ((parts - mean) / jnp.sqrt(variance + 1e-5)).reshape(x.shape) * weight + bias

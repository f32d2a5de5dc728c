"""Make random networks for LPIPS and DISTS, and pairs of images, by NumPy from a seed, so that no file holds them."""

from functools import cache

import numpy as np

from jaxsr.hub.checkpoint import load
from jaxsr.metrics.feature_nets import ALEXNET, VGG16, FeatureNet
from jaxsr.metrics.perceptual_cards import BUNDLED_HEADS

NETS = {"alexnet": ALEXNET, "vgg16": VGG16}
SIZES = {"lpips-alex": (35, 47), "lpips-vgg": (37, 51), "dists": (37, 51)}


@cache
def random_backbone(net: str, seed: int = 0) -> dict[str, np.ndarray]:
    """Return torchvision's `features.<i>.weight` (OIHW) and `.bias` with random float32 values.

    The values keep the activations' size from layer to layer.
    """
    rng, state = np.random.default_rng(seed), {}
    backbone: FeatureNet = NETS[net]
    for conv in (conv for stage in backbone.stages for conv in stage.convs):
        shape = (conv.outputs, conv.inputs, conv.side, conv.side)
        spread = np.float32(np.sqrt(2 / np.prod(shape[1:])))
        state[f"features.{conv.index}.weight"] = spread * rng.standard_normal(shape, np.float32)
        state[f"features.{conv.index}.bias"] = np.float32(0.1) * rng.standard_normal(conv.outputs, np.float32)
    return state


def image_pairs(metric: str, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return three pairs for a metric, NHWC in [0,1], float32: waves beside noise, noisy waves and shifted waves."""
    (h, w), rng = SIZES[metric], np.random.default_rng(seed)
    y, x = np.mgrid[:h, :w]
    phases = np.arange(3) * 0.7
    wave = (0.5 + 0.3 * np.sin(0.4 * x[..., None] + 0.25 * y[..., None] + phases))[None]
    a = np.concatenate([wave, wave, wave])
    shifted = np.roll(wave, 3, axis=2)
    b = np.concatenate([rng.uniform(0, 1, wave.shape), wave + rng.uniform(-0.02, 0.02, wave.shape), shifted])
    return a.astype(np.float32), np.clip(b, 0, 1).astype(np.float32)


@cache
def random_params(metric: str) -> dict[str, np.ndarray]:
    """Return a random network under our names, with the published weights of the channels."""
    net = "alexnet" if metric == "lpips-alex" else "vgg16"
    params = {}
    for key, value in random_backbone(net).items():
        stem, _, end = key.rpartition(".")
        params[f"{stem}.{'kernel' if end == 'weight' else end}"] = (
            value.transpose(2, 3, 1, 0) if value.ndim > 1 else value
        )
    heads, _ = load(BUNDLED_HEADS)
    prefix = f"{metric}."
    return params | {key.removeprefix(prefix): value for key, value in heads.items() if key.startswith(prefix)}

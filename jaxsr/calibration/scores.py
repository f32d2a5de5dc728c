"""What the closed loop measures of every enlarged image, inside the compiled sweep, by the names of `METRICS`."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxsr.calibration.sweep import NO_NETWORKS, Networks, Score
from jaxsr.checkpoint import sha256_file
from jaxsr.metrics.consistency import lr_consistency
from jaxsr.metrics.dists import dists
from jaxsr.metrics.lpips import lpips
from jaxsr.metrics.niqe import niqe
from jaxsr.metrics.perceptual_files import CARDS, load_perceptual, perceptual_path
from jaxsr.metrics.psnr import psnr
from jaxsr.metrics.ssim import ms_ssim, ssim
from jaxsr.metrics.texture import texture_distance
from jaxsr.model import Image

MOST_DB = 100.0
"""PSNR of equal images, whose own value is infinite: no mean could be taken of it."""
WEIGHTS = {"lpips": "lpips-alex", "dists": "dists"}
"""The metrics that are measured in a network, and the name of its weights in `jaxsr.metrics.perceptual_files`."""


def make_score(metrics: Sequence[str], scale: int) -> Score:
    """The function (enlarged, HR, LR, networks) -> {name: one number per image} of some of `METRICS`, nothing rounded.

    PSNR and the SSIMs of the luma with `scale` pixels of border left out, as the benchmarks have them; dB up to 100.
    The sliced Wasserstein distance takes the same patches and projections for every image and candidate. LPIPS (of
    AlexNet) and DISTS are of whole RGB images, in the `networks` of `load_networks`.
    """
    measures = {
        "psnr": lambda sr, hr, lr, nets: _decibels(psnr(sr, hr, border=scale, luma=True)),
        "ssim": lambda sr, hr, lr, nets: ssim(sr, hr, border=scale, luma=True),
        "ms_ssim": lambda sr, hr, lr, nets: ms_ssim(sr, hr, border=scale, luma=True),
        "lr_consistency": lambda sr, hr, lr, nets: _decibels(lr_consistency(sr, lr, scale)),
        "swd": lambda sr, hr, lr, nets: texture_distance(sr, hr, jax.random.key(0, impl="threefry2x32")),
        "niqe": lambda sr, hr, lr, nets: niqe(sr, border=scale),
        "lpips": lambda sr, hr, lr, nets: lpips(sr, hr, nets["lpips"], net="alex"),
        "dists": lambda sr, hr, lr, nets: dists(sr, hr, nets["dists"]),
    }

    def score(sr: Image, hr: Image, lr: Float[Array, "b p q 3"], networks: Networks = NO_NETWORKS) -> dict[str, Array]:
        return {name: measures[name](sr, hr, lr, networks) for name in metrics}

    return score


def load_networks(metrics: Sequence[str]) -> dict[str, dict[str, np.ndarray]]:
    """The parameters of every network that some metrics need, by the metric; downloaded where they are not there.

    Raises as `load_perceptual`: OSError where a network cannot be had, ValueError for a damaged file.
    """
    return {name: load_perceptual(WEIGHTS[name]) for name in metrics if name in WEIGHTS}


def network_shapes(metrics: Sequence[str]) -> dict[str, dict[str, jax.ShapeDtypeStruct]]:
    """What `load_networks` gives, in shapes alone: nothing is read."""
    cards = {name: CARDS[WEIGHTS[name]] for name in metrics if name in WEIGHTS}
    return {
        name: {key: jax.ShapeDtypeStruct(shape, np.float32) for key, shape in card.shapes.items()}
        for name, card in cards.items()
    }


def hash_networks(metrics: Sequence[str]) -> dict[str, str]:
    """Name of the weights -> SHA-256 of their file, of every network that some metrics need. Raises: as loading."""
    names = [WEIGHTS[name] for name in metrics if name in WEIGHTS]
    return {name: sha256_file(perceptual_path(name)) for name in names}


def keep_images(sr: Image, hr: Image, lr: Float[Array, "b p q 3"], networks: Networks) -> dict[str, Array]:
    """In place of scores: the enlarged images themselves, for pictures."""
    return {"images": sr}


def _decibels(values: Float[Array, " b"]) -> Float[Array, " b"]:
    return jnp.minimum(values, MOST_DB)

"""What the closed loop measures of every enlarged image, inside the compiled sweep, by the names of `METRICS`."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxsr.calibration.sweep import Score
from jaxsr.metrics.consistency import lr_consistency
from jaxsr.metrics.niqe import niqe
from jaxsr.metrics.psnr import psnr
from jaxsr.metrics.ssim import ssim
from jaxsr.metrics.texture import texture_distance
from jaxsr.model import Image

MOST_DB = 100.0
"""PSNR of equal images, whose own value is infinite: no mean could be taken of it."""


def make_score(metrics: Sequence[str], scale: int) -> Score:
    """The function (enlarged, HR, LR) -> {name: one number per image} of some of `METRICS`, nothing rounded.

    PSNR and SSIM of the luma with `scale` pixels of border left out, as the benchmarks have them; dB up to 100. The
    sliced Wasserstein distance takes the same patches and projections for every image and candidate.
    """
    measures = {
        "psnr": lambda sr, hr, lr: _decibels(psnr(sr, hr, border=scale, luma=True)),
        "ssim": lambda sr, hr, lr: ssim(sr, hr, border=scale, luma=True),
        "lr_consistency": lambda sr, hr, lr: _decibels(lr_consistency(sr, lr, scale)),
        "swd": lambda sr, hr, lr: texture_distance(sr, hr, jax.random.key(0, impl="threefry2x32")),
        "niqe": lambda sr, hr, lr: niqe(sr, border=scale),
    }
    return lambda sr, hr, lr: {name: measures[name](sr, hr, lr) for name in metrics}


def keep_images(sr: Image, hr: Image, lr: Float[Array, "b p q 3"]) -> dict[str, Array]:
    """In place of scores: the enlarged images themselves, for pictures."""
    return {"images": sr}


def _decibels(values: Float[Array, " b"]) -> Float[Array, " b"]:
    return jnp.minimum(values, MOST_DB)

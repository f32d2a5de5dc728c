"""Faithfulness to the input, which needs no original."""

import math

import numpy as np
from jaxtyping import Array, Bool, Float, Num

from jaxsr.imaging.resize import downsample_bicubic, shrink_by_bands
from jaxsr.metrics.psnr import psnr


def lr_consistency(sr: Float[Array, "b h w c"], lr: Float[Array, "n p q d"], scale: int) -> Float[Array, " b"]:
    """PSNR in dB between the result, shrunk again by MATLAB's bicubic, and the LR input: one number per image.

    +inf where they are equal; an LR image rounded to 8 bits allows about 59 dB, since nothing is rounded here.

    Args:
        sr: results, NHWC, float32 in [0,1].
        lr: what they were made from, `scale` times smaller on each side, NHWC, float32 in [0,1].
        scale: an integer factor.
    Raises:
        ValueError: where the sizes do not fit the scale.
    """
    return psnr(downsample_bicubic(sr, scale), lr)


def lr_consistency_by_bands(
    sr: Num[np.ndarray, "H W c"],
    lr: Float[np.ndarray, "h w c"],
    scale: int,
    where: Bool[np.ndarray, "h w"] | None = None,
) -> float:
    """As `lr_consistency`, of one result on the host, whose size does not matter: band by band, in float64.

    Args:
        sr: the result, uint8, uint16, or float in [0,1].
        lr: what it was made from, `scale` times smaller, float in [0,1].
        scale: an integer factor.
        where: the pixels of `lr` that count; all by default.
    """
    peak = np.iinfo(sr.dtype).max if np.issubdtype(sr.dtype, np.integer) else 1
    total, count = 0.0, lr.size if where is None else int(where.sum()) * lr.shape[2]
    for top, rows in shrink_by_bands(sr, scale):
        band = slice(top, top + len(rows))
        error = np.square(rows / peak - lr[band])
        total += float(error.sum() if where is None else error[where[band]].sum())
    return -10 * math.log10(total / count) if total else math.inf

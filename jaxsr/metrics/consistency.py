"""Metrics of consistency with the LR input. They need no original."""

import math

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Num

from jaxsr.imaging.resize import downsample_bicubic, shrink_by_bands
from jaxsr.metrics.psnr import psnr


def lr_consistency(sr: Float[Array, "b h w c"], lr: Float[Array, "n p q d"], scale: int) -> Float[Array, " b"]:
    """Compute the PSNR in dB between the LR input and the result shrunk by MATLAB's bicubic, one number per image.

    The PSNR of equal images is +inf. An LR image rounded to 8 bits allows about 59 dB, because nothing is rounded here.

    Args:
        sr: results, NHWC, float32 in [0,1].
        lr: the inputs of the results, `scale` times smaller on each side, NHWC, float32 in [0,1].
        scale: an integer factor.
    Raises:
        ValueError: if the sizes do not fit the scale.
    """
    return psnr(downsample_bicubic(sr, scale), lr)


def colour_drift(sr: Float[Array, "b h w c"], lr: Float[Array, "b p q c"]) -> Float[Array, " b"]:
    """Compute the largest difference of a channel's mean between the result and its LR image, in grey levels of 0..255.

    Images are NHWC, float32 in [0,1]. 0 is no drift of colour or brightness.
    """
    return 255 * jnp.abs(sr.mean(axis=(1, 2)) - lr.mean(axis=(1, 2))).max(axis=1)


def colour_drift_of(sr: Num[np.ndarray, "H W c"], lr: Float[np.ndarray, "h w c"]) -> float:
    """Compute `colour_drift` of one result of any size on the host, in float64. `sr` is of any type of pixels."""
    peak = np.iinfo(sr.dtype).max if np.issubdtype(sr.dtype, np.integer) else 1
    means = sr.mean(axis=(0, 1), dtype=np.float64) / peak - lr.mean(axis=(0, 1), dtype=np.float64)
    return float(255 * np.abs(means).max())


def lr_consistency_by_bands(
    sr: Num[np.ndarray, "H W c"],
    lr: Float[np.ndarray, "h w c"],
    scale: int,
    where: Bool[np.ndarray, "h w"] | None = None,
) -> float:
    """Compute `lr_consistency` of one result of any size on the host, band by band, in float64.

    Args:
        sr: the result, uint8, uint16, or float in [0,1].
        lr: the input of the result, `scale` times smaller, float in [0,1].
        scale: an integer factor.
        where: mask of the pixels of `lr` that count; all count by default.
    """
    peak = np.iinfo(sr.dtype).max if np.issubdtype(sr.dtype, np.integer) else 1
    total, count = 0.0, lr.size if where is None else int(where.sum()) * lr.shape[2]
    for top, rows in shrink_by_bands(sr, scale):
        band = slice(top, top + len(rows))
        error = np.square(rows / peak - lr[band])
        total += float(error.sum() if where is None else error[where[band]].sum())
    return -10 * math.log10(total / count) if total else math.inf

"""Faithfulness to the input, which needs no original."""

from jaxtyping import Array, Float

from jaxsr.imaging.resize import downsample_bicubic
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

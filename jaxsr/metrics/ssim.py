"""Structural similarity at one scale (Wang et al., 2004) and at five (Wang et al., 2003), as in the authors' MATLAB.

The window is an 11x11 Gaussian of sigma 1.5, placed where it lies inside the image. K1 = 0.01, K2 = 0.03, the
covariances are population covariances, and the data range is 1. Equal images have the value 1. The value of a colour
image is the mean over its channels, or the value of its luma.
"""

import math

import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxsr.metrics.psnr import check_shapes, rgb_to_y
from jaxsr.metrics.windows import gaussian_taps, local_moments

WINDOW = gaussian_taps(11, 1.5)
C1, C2 = 0.01**2, 0.03**2
SCALE_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
_MS_MIN_SIDE = (len(WINDOW) - 1) * 2 ** (len(SCALE_WEIGHTS) - 1) + 1


def ssim(
    a: Float[Array, "b h w c"],
    b: Float[Array, "n p q d"],
    *,
    border: int = 0,
    luma: bool = False,
    clip_contrast: bool = False,
) -> Float[Array, " b"]:
    """Compute the mean structural similarity of every image pair of a batch, in [-1,1].

    Args:
        a, b: images of one shape, NHWC, float32 in [0,1]; 11 pixels a side or more inside the border. Their
            order does not matter.
        border: number of pixels left out on each side before the windows are placed; the x4 benchmarks leave out 4.
        luma: compare `rgb_to_y` of the images instead of their channels, as the benchmarks do.
        clip_contrast: a negative contrast-and-structure term counts as 0 at every pixel. Published numbers that pyiqa
            computed follow this rule; it was found from the numbers.
    Returns:
        One number per image. Nothing is rounded or clipped here, apart from `clip_contrast`.
    Raises:
        ValueError: if the images differ in shape or are too small, if the border is negative, or if `luma` is set and
            the images do not have 3 channels.
    """
    a, b = _inner(a, b, border, luma, len(WINDOW))
    luminance, contrast = _maps(a, b)
    if clip_contrast:
        contrast = jnp.maximum(contrast, 0)
    return (luminance * contrast).mean(axis=(1, 2, 3))


def ms_ssim(
    a: Float[Array, "b h w c"], b: Float[Array, "n p q d"], *, border: int = 0, luma: bool = False
) -> Float[Array, " b"]:
    """Compute the multi-scale structural similarity of every image pair of a batch, in [0,1], over five scales.

    The value is a product over the scales. Each factor is the mean contrast-and-structure term, or the mean SSIM at the
    coarsest scale, to the power of the published weight. A negative mean counts as 0, because its power is undefined.
    Each further scale halves the image by averaging 2x2 pixels; an odd last row or column counts twice. The channels of
    colour images are averaged last.

    Arguments and errors are the same as in `ssim`, but images need 161 pixels a side or more inside the border.
    """
    a, b = _inner(a, b, border, luma, _MS_MIN_SIDE)
    product = jnp.ones((a.shape[0], a.shape[3]), a.dtype)
    for scale, weight in enumerate(SCALE_WEIGHTS, start=1):
        luminance, contrast = _maps(a, b)
        term = contrast if scale < len(SCALE_WEIGHTS) else luminance * contrast
        product *= jnp.maximum(term.mean(axis=(1, 2)), 0) ** weight
        a, b = _halve(a), _halve(b)
    return product.mean(axis=1)


def _maps(a: Float[Array, "b h w c"], b: Float[Array, "b h w c"]) -> tuple[Array, Array]:
    """Compute the luminance term and the contrast-and-structure term around every pixel. Their product is the SSIM."""
    (mean_a, mean_b), ((var_a, both), (_, var_b)) = local_moments([a, b], WINDOW)
    luminance = (2 * mean_a * mean_b + C1) / (mean_a**2 + mean_b**2 + C1)
    return luminance, (2 * both + C2) / (var_a + var_b + C2)


def _inner(a: Array, b: Array, border: int, luma: bool, min_side: int) -> tuple[Array, Array]:
    """Cut the border off both images, and convert them to luma if `luma` is set."""
    check_shapes(a, b)
    _, h, w, _ = a.shape
    if border < 0 or min(h, w) - 2 * border < min_side:
        raise ValueError(
            f"images of {h} x {w} pixels and border {border}: use a border of 0 or more that leaves "
            f"at least {min_side} pixels a side"
        )
    a, b = (x[:, border : h - border, border : w - border] for x in (a, b))
    return (rgb_to_y(a), rgb_to_y(b)) if luma else (a, b)


def _halve(x: Float[Array, "b h w c"]) -> Float[Array, "b p q c"]:
    b, h, w, c = x.shape
    p, q = math.ceil(h / 2), math.ceil(w / 2)
    even = jnp.pad(x, ((0, 0), (0, 2 * p - h), (0, 2 * q - w), (0, 0)), mode="edge")
    return even.reshape(b, p, 2, q, 2, c).mean(axis=(2, 4))

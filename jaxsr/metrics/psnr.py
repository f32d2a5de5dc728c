"""The peak signal-to-noise ratio (PSNR) of RGB images, or of the luma that super-resolution papers use."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

BT601 = (0.299, 0.587, 0.114)


def psnr(
    a: Float[Array, "b h w c"], b: Float[Array, "n p q d"], *, border: int = 0, luma: bool = False
) -> Float[Array, " b"]:
    """Compute the PSNR in dB of every image pair of a batch: -10 log10 of the mean squared difference.

    The PSNR of equal images is +inf.

    Args:
        a, b: images of one shape, NHWC, float32 in [0,1] (the peak is 1). Their order does not matter.
        border: number of pixels left out on each side; the x4 benchmarks leave out 4.
        luma: compare `rgb_to_y` of the images instead of their channels.
    Returns:
        One number per image. Nothing is rounded or clipped here.
    Raises:
        ValueError: if the images differ in shape, if the border leaves no pixel, or if `luma` is set and the images do
            not have 3 channels.
    """
    check_shapes(a, b)
    _, h, w, _ = a.shape
    if not 0 <= 2 * border < min(h, w):
        raise ValueError(
            f"border is {border}: use at least 0, and less than half of the shorter side of {h} x {w} pixels"
        )
    if luma:
        a, b = rgb_to_y(a), rgb_to_y(b)
    inner = jnp.square(a - b)[:, border : h - border, border : w - border]
    return -10 * jnp.log10(inner.mean(axis=(1, 2, 3)))


def rgb_to_y(rgb: Float[Array, "b h w c"]) -> Float[Array, "b h w 1"]:
    """Compute Y of ITU-R BT.601 in its 16..235 range, like MATLAB's `rgb2ycbcr`, divided by 255.

    The images are RGB, NHWC, float32 in [0,1], encoded (not linear). Black gives 16/255 and white 235/255, unrounded.
    Raises ValueError if the images do not have 3 channels.
    """
    return (16 + 219 * luminance(rgb)) / 255


def luminance(rgb: Float[Array, "b h w c"]) -> Float[Array, "b h w 1"]:
    """Compute the luma of ITU-R BT.601 at full range, 0.299 R + 0.587 G + 0.114 B: in [0,1], like the NHWC images.

    Raises ValueError if the images do not have 3 channels.
    """
    if rgb.shape[-1] != 3:
        raise ValueError(f"luma needs RGB, but the images have {rgb.shape[-1]} channels: repeat a grey channel 3 times")
    weights = jnp.asarray(BT601, rgb.dtype)
    return jnp.einsum("bhwc,c->bhw", rgb, weights, precision=jax.lax.Precision.HIGHEST)[..., None]


def check_shapes(a: Array, b: Array) -> None:
    """Raise ValueError unless both batches of images have the same shape."""
    if a.shape != b.shape:
        raise ValueError(f"images of shapes {a.shape} and {b.shape} cannot be compared: crop them to one size")

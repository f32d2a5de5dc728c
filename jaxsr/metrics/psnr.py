"""Peak signal-to-noise ratio, on RGB or on the luma of the super-resolution papers."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

BT601 = (0.299, 0.587, 0.114)


def psnr(
    a: Float[Array, "b h w c"], b: Float[Array, "n p q d"], *, border: int = 0, luma: bool = False
) -> Float[Array, " b"]:
    """PSNR in dB of every image pair of a batch, -10 log10 of the mean squared difference; +inf where both are equal.

    Args:
        a, b: images of one shape, NHWC, float32 in [0,1] (the peak is 1). The order does not matter.
        border: pixels left out on each side; the x4 benchmarks leave out 4.
        luma: compare `rgb_to_y` of the images in place of their channels.
    Returns:
        One number per image. Nothing is rounded or clipped here.
    Raises:
        ValueError: for images of unlike shapes, a border that leaves no pixel, or luma of other than 3 channels.
    """
    check_shapes(a, b)
    _, h, w, _ = a.shape
    if not 0 <= 2 * border < min(h, w):
        raise ValueError(f"border is {border}: use 0 or more, and less than half of the image's {h} x {w} pixels")
    if luma:
        a, b = rgb_to_y(a), rgb_to_y(b)
    inner = jnp.square(a - b)[:, border : h - border, border : w - border]
    return -10 * jnp.log10(inner.mean(axis=(1, 2, 3)))


def rgb_to_y(rgb: Float[Array, "b h w c"]) -> Float[Array, "b h w 1"]:
    """Y of ITU-R BT.601 in its 16..235 range, as MATLAB's `rgb2ycbcr` gives it, divided by 255.

    RGB, NHWC, float32 in [0,1], encoded (not linear); black gives 16/255 and white 235/255, unrounded.
    Raises ValueError for other than 3 channels.
    """
    return (16 + 219 * luminance(rgb)) / 255


def luminance(rgb: Float[Array, "b h w c"]) -> Float[Array, "b h w 1"]:
    """Luma of ITU-R BT.601 at full range, 0.299 R + 0.587 G + 0.114 B: [0,1] as the NHWC images are.

    Raises ValueError for other than 3 channels.
    """
    if rgb.shape[-1] != 3:
        raise ValueError(f"luma needs RGB, and the images have {rgb.shape[-1]} channels: repeat grey ones three times")
    weights = jnp.asarray(BT601, rgb.dtype)
    return jnp.einsum("bhwc,c->bhw", rgb, weights, precision=jax.lax.Precision.HIGHEST)[..., None]


def check_shapes(a: Array, b: Array) -> None:
    """Raise ValueError unless both batches of images have one shape."""
    if a.shape != b.shape:
        raise ValueError(f"images of {a.shape} and {b.shape} cannot be compared: crop them to one size")

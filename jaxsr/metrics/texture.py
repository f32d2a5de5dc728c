"""How much of the fine texture an image has, and how like the original's: sliced Wasserstein distance and HF ratio.

Both look at the finest Laplacian level of the luma, not decimated: the image less its blur by the binomial filter
(1, 4, 6, 4, 1)/16 of the Laplacian pyramid (Burt and Adelson, 1983), where the filter lies inside the image. A blurred
image gets a high PSNR and fails here; noise of the right strength but the wrong kind fails in the distance alone.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from jaxsr.metrics.psnr import check_shapes, luminance

BINOMIAL = (1 / 16, 4 / 16, 6 / 16, 4 / 16, 1 / 16)
PATCH = 7
PATCHES = 4096
PROJECTIONS = 128
_MIN_SIDE = PATCH + len(BINOMIAL) - 1


def texture_distance(
    sr: Float[Array, "b h w 3"], hr: Float[Array, "n p q 3"], key: Key[Array, ""]
) -> Float[Array, " b"]:
    """Sliced Wasserstein distance (W1) between the 7x7 patches of the finest Laplacian level of two images.

    4096 patches at the same random places of both images and 128 random projections, drawn from `key`: compare
    numbers of one key. In grey levels of 0..255 (full-range luma); 0 for equal images, about 5 for bicubic x4.

    Args:
        sr, hr: images of one shape, NHWC RGB, float32 in [0,1]; each side at least 11 pixels. Symmetric.
        key: one typed key; the whole batch shares its places and projections.
    Returns:
        One number per image.
    Raises:
        ValueError: for images of unlike shapes or too small.
    """
    check_shapes(sr, hr)
    place_key, projection_key = jax.random.split(key)
    x, y = (_patches(255 * finest_level(image), place_key) for image in (sr, hr))
    return sliced_wasserstein(x, y, projection_key)


def high_frequency_ratio(sr: Float[Array, "b h w 3"], hr: Float[Array, "n p q 3"]) -> Float[Array, " b"]:
    """Variance of the finest Laplacian level of `sr` divided by that of the original `hr`, one number per image.

    1 for the original's amount of fine detail, less for a blurred image, more for a noisy one; inf or NaN where the
    original is flat. Images of one shape, NHWC RGB, float32 in [0,1], each side at least 11 pixels.
    Raises ValueError for images of unlike shapes or too small.
    """
    check_shapes(sr, hr)
    return finest_level(sr).var(axis=(1, 2)) / finest_level(hr).var(axis=(1, 2))


def sliced_wasserstein(x: Float[Array, "b n d"], y: Float[Array, "b n d"], key: Key[Array, ""]) -> Float[Array, " b"]:
    """Mean of the 1-D distance W1 over 128 random unit directions, between two sets of n vectors each.

    W1 of two sets of one size is the mean difference of their sorted values, so the order of the vectors is of no
    account. In the unit of the values, one number per pair of sets.
    """
    directions = jax.random.normal(key, (x.shape[-1], PROJECTIONS), x.dtype)
    directions /= jnp.linalg.norm(directions, axis=0, keepdims=True)

    def projected(vectors: Array) -> Array:
        return jnp.sort(jnp.einsum("bnd,dp->bpn", vectors, directions, precision=jax.lax.Precision.HIGHEST), axis=-1)

    return jnp.abs(projected(x) - projected(y)).mean(axis=(1, 2))


def finest_level(rgb: Float[Array, "b h w 3"]) -> Float[Array, "b p q"]:
    """Finest Laplacian level of the luma, without the 2 pixels a side where the filter leaves the image.

    Images NHWC RGB, float32 in [0,1]; values in [-1,1]. Raises ValueError for a side of less than 11 pixels, which
    holds no 7x7 patch of it.
    """
    _, h, w, _ = rgb.shape
    if min(h, w) < _MIN_SIDE:
        raise ValueError(f"texture of an image of {h} x {w} pixels: give at least {_MIN_SIDE} pixels a side")
    y = luminance(rgb)[..., 0]
    return y[:, 2:-2, 2:-2] - _blur(_blur(y, axis=1), axis=2)


def _blur(x: Float[Array, "b h w"], axis: int) -> Float[Array, "b p q"]:
    n = x.shape[axis] - len(BINOMIAL) + 1
    return sum(
        (weight * jax.lax.slice_in_dim(x, k, k + n, axis=axis) for k, weight in enumerate(BINOMIAL)), jnp.float32(0)
    )


def _patches(level: Float[Array, "b h w"], key: Key[Array, ""]) -> Float[Array, "b n d"]:
    """PATCHES patches of PATCH x PATCH pixels at random places, each a row of values."""
    row_key, column_key = jax.random.split(key)
    offsets = jnp.arange(PATCH)
    _, h, w = level.shape
    rows = jax.random.randint(row_key, (PATCHES, 1, 1), 0, h - PATCH + 1) + offsets[None, :, None]
    columns = jax.random.randint(column_key, (PATCHES, 1, 1), 0, w - PATCH + 1) + offsets[None, None, :]
    return level[:, rows, columns].reshape(level.shape[0], PATCHES, PATCH * PATCH)

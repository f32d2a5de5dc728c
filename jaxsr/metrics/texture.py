"""Metrics of fine texture: its amount (HF ratio), its distance from the original's, and what lies in flat areas.

All measure the finest Laplacian level of the luma, not decimated: the image minus its blur, where the filter lies
inside the image. The blur is the binomial filter (1, 4, 6, 4, 1)/16 of the Laplacian pyramid (Burt and Adelson, 1983).
A blurred image has a high PSNR and fails the first two. Noise of the right strength but the wrong kind fails only the
distance. A grid or grain that a network paints into a clear sky hardly counts in these, and fails the third.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from jaxsr.metrics.psnr import check_shapes, luminance

BINOMIAL = (1 / 16, 4 / 16, 6 / 16, 4 / 16, 1 / 16)
PATCH = 7
PATCHES = 4096
PROJECTIONS = 128
_BLOCK, _FLAT_SHARE = 16, 10
_MIN_SIDE = PATCH + len(BINOMIAL) - 1


def texture_distance(
    sr: Float[Array, "b h w 3"], hr: Float[Array, "n p q 3"], key: Key[Array, ""]
) -> Float[Array, " b"]:
    """Compute the sliced Wasserstein distance (W1) between the 7x7 patches of the finest Laplacian level of two images.

    The distance uses 4096 patches at the same random places of both images and 128 random projections. All are drawn
    from `key`, so compare only numbers of one key. The unit is grey levels of 0..255 (full-range luma). Equal images
    have 0, bicubic x4 has about 5.

    Args:
        sr, hr: images of one shape, NHWC RGB, float32 in [0,1]; each side at least 11 pixels. Their order does not
            matter.
        key: one typed key; the whole batch shares its places and projections.
    Returns:
        One number per image.
    Raises:
        ValueError: if the images differ in shape or are too small.
    """
    check_shapes(sr, hr)
    place_key, projection_key = jax.random.split(key)
    x, y = (_patches(255 * finest_level(image), place_key) for image in (sr, hr))
    return sliced_wasserstein(x, y, projection_key)


def high_frequency_ratio(sr: Float[Array, "b h w 3"], hr: Float[Array, "n p q 3"]) -> Float[Array, " b"]:
    """Divide the variance of the finest Laplacian level of `sr` by the original's (`hr`), one number per image.

    The ratio is 1 for the original's amount of fine detail, smaller for a blurred image and larger for a noisy one. It
    is inf or NaN if the original is flat. Images have one shape, NHWC RGB, float32 in [0,1], each side at least 11
    pixels. Raises ValueError if the images differ in shape or are too small.
    """
    check_shapes(sr, hr)
    return finest_level(sr).var(axis=(1, 2)) / finest_level(hr).var(axis=(1, 2))


def flat_grain(sr: Float[Array, "b h w 3"], hr: Float[Array, "n p q 3"]) -> Float[Array, " b"]:
    """Measure how much more fine texture the result has where the original is flat, in grey levels of 0..255.

    The finest Laplacian level is cut into blocks of 16x16. The tenth of the blocks where the original deviates least
    counts: the mean of the result's standard deviations minus the original's. 0 is right, above it the result has grain
    or patterns in flat areas, below it less grain than the original. Equal blocks of the original go by their order.

    Images have one shape, NHWC RGB, float32 in [0,1]. Raises ValueError if the images differ in shape, or a side is
    shorter than 20 pixels.
    """
    check_shapes(sr, hr)
    if min(sr.shape[1:3]) < _BLOCK + len(BINOMIAL) - 1:
        raise ValueError(f"images of {sr.shape[1]} x {sr.shape[2]} pixels are too small for blocks: give at least 20")
    mine, original = (_block_deviations(255 * finest_level(image)) for image in (sr, hr))
    flat = jnp.argsort(original, axis=1)[:, : max(original.shape[1] // _FLAT_SHARE, 1)]
    return jnp.take_along_axis(mine - original, flat, axis=1).mean(axis=1)


def _block_deviations(level: Float[Array, "b h w"]) -> Float[Array, "b k"]:
    """Compute the standard deviation of every whole block."""
    b, h, w = level.shape
    rows, columns = h // _BLOCK, w // _BLOCK
    blocks = level[:, : rows * _BLOCK, : columns * _BLOCK].reshape(b, rows, _BLOCK, columns, _BLOCK)
    return blocks.std(axis=(2, 4)).reshape(b, -1)


def sliced_wasserstein(x: Float[Array, "b n d"], y: Float[Array, "b n d"], key: Key[Array, ""]) -> Float[Array, " b"]:
    """Average the 1-D distance W1 between two sets of n vectors each over 128 random unit directions.

    W1 of two sets of one size is the mean absolute difference of their sorted values, so the order of the vectors does
    not matter. The result has the unit of the values, one number per pair of sets.
    """
    directions = jax.random.normal(key, (x.shape[-1], PROJECTIONS), x.dtype)
    directions /= jnp.linalg.norm(directions, axis=0, keepdims=True)

    def projected(vectors: Array) -> Array:
        return jnp.sort(jnp.einsum("bnd,dp->bpn", vectors, directions, precision=jax.lax.Precision.HIGHEST), axis=-1)

    return jnp.abs(projected(x) - projected(y)).mean(axis=(1, 2))


def finest_level(rgb: Float[Array, "b h w 3"]) -> Float[Array, "b p q"]:
    """Compute the finest Laplacian level of the luma, without the 2 pixels a side where the filter leaves the image.

    Images are NHWC RGB, float32 in [0,1]; the values are in [-1,1]. Raises ValueError if a side has fewer than 11
    pixels, because the level then holds no 7x7 patch.
    """
    _, h, w, _ = rgb.shape
    if min(h, w) < _MIN_SIDE:
        raise ValueError(
            f"images of {h} x {w} pixels are too small for texture: give at least {_MIN_SIDE} pixels a side"
        )
    y = luminance(rgb)[..., 0]
    return y[:, 2:-2, 2:-2] - _blur(_blur(y, axis=1), axis=2)


def _blur(x: Float[Array, "b h w"], axis: int) -> Float[Array, "b p q"]:
    n = x.shape[axis] - len(BINOMIAL) + 1
    return sum(
        (weight * jax.lax.slice_in_dim(x, k, k + n, axis=axis) for k, weight in enumerate(BINOMIAL)), jnp.float32(0)
    )


def _patches(level: Float[Array, "b h w"], key: Key[Array, ""]) -> Float[Array, "b n d"]:
    """Cut PATCHES patches of PATCH x PATCH pixels at random places, each as a row of values."""
    row_key, column_key = jax.random.split(key)
    offsets = jnp.arange(PATCH)
    _, h, w = level.shape
    rows = jax.random.randint(row_key, (PATCHES, 1, 1), 0, h - PATCH + 1) + offsets[None, :, None]
    columns = jax.random.randint(column_key, (PATCHES, 1, 1), 0, w - PATCH + 1) + offsets[None, None, :]
    return level[:, rows, columns].reshape(level.shape[0], PATCHES, PATCH * PATCH)

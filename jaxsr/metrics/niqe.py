"""The metric NIQE: the distance of an image's local statistics from natural photographs. It needs no original.

Source: Mittal, Soundararajan and Bovik, "Making a Completely Blind Image Quality Analyzer", IEEE SPL 20(3), 2013. Each
block of 96 x 96 pixels gives 36 numbers, 18 at each of two scales. They are parameters of asymmetric generalised
Gaussians (AGGD), fitted to the block's normalised luma and to the products of neighbours. NIQE compares their mean and
covariance with the model: the mean and covariance over sharp blocks of good photographs (`jaxsr.metrics.niqe_model`).
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from scipy.special import gamma

from jaxsr.imaging.resize import downsample_bicubic
from jaxsr.metrics.niqe_model import NiqeModel, bundled_niqe_model
from jaxsr.metrics.psnr import luminance, rgb_to_y
from jaxsr.metrics.windows import gaussian_taps, local_moments

LUMAS = ("ycbcr", "grey")
BLOCK = 96
_WINDOW = gaussian_taps(7, 7 / 6)
_NEIGHBOURS = ((0, 1), (1, 0), (1, 1), (1, -1))

# Candidate shapes of the AGGD, as in the reference, and the ratio (E|x|)^2 / E x^2 of each. It grows with the shape.
_SHAPES = np.arange(200, 10001) / 1000
_RATIOS = gamma(2 / _SHAPES) ** 2 / (gamma(1 / _SHAPES) * gamma(3 / _SHAPES))


def niqe(
    images: Float[Array, "b h w c"], model: NiqeModel | None = None, *, border: int = 0, luma: str = "ycbcr"
) -> Float[Array, " b"]:
    """Compute NIQE of every image of a batch: 0 or more; a smaller value is more natural.

    With the bundled model, Kodak's photographs of 768 x 512 pixels have 1.7 to 3.5. Made by bicubic x4, they have 5.6
    to 7.5.

    NIQE is sqrt((m1 - m2)^T ((S1 + S2) / 2)^-1 (m1 - m2)), with the mean m and covariance S of the model and of the
    image. It works under jit and vmap. Because of its table and its rounding it is piecewise constant, so its gradient
    is useless.

    Args:
        images: NHWC RGB, float32 in [0,1]; at least two blocks of 96 x 96 pixels inside the border. Rows and columns
            at the bottom and the right that do not fill a block are left out.
        model: the result of `load_niqe_model`; the bundled model by default. Compare only numbers of one model and one
            luma.
        border: number of pixels left out on each side.
        luma: see `niqe_luma`.
    Returns:
        One number per image. It is NaN for an image with fewer than two blocks that are not flat; flat blocks do not
        count.
    Raises:
        ValueError: if the images are too small or do not have 3 channels, if the border is negative, or if the luma is
            unknown.
    """
    model = bundled_niqe_model() if model is None else model
    _, h, w, _ = images.shape
    if border < 0 or ((h - 2 * border) // BLOCK) * ((w - 2 * border) // BLOCK) < 2:
        raise ValueError(
            f"images of {h} x {w} pixels and border {border}: NIQE needs a border of 0 or more, and inside it at least "
            f"two blocks of {BLOCK} x {BLOCK} pixels"
        )
    features = niqe_features(niqe_luma(images[:, border : h - border, border : w - border], luma))
    return _distance(features, model)


def niqe_luma(rgb: Float[Array, "b h w c"], luma: str) -> Float[Array, "b h w 1"]:
    """Compute the luma that NIQE measures, in whole grey levels of 0..255, like the 8-bit images of the reference.

    `ycbcr` is Y of MATLAB's `rgb2ycbcr` (16..235), which super-resolution papers report. `grey` is MATLAB's `rgb2gray`
    (0..255), which the authors of NIQE used, also for the published model. Images are NHWC RGB, float32 in [0,1].
    Raises ValueError if the images do not have 3 channels, or if the luma is unknown.
    """
    if luma not in LUMAS:
        raise ValueError(f"luma {luma!r} is not known: use one of {', '.join(LUMAS)}")
    return jnp.round(255 * (rgb_to_y(rgb) if luma == "ycbcr" else luminance(rgb)))


def niqe_features(luma: Float[Array, "b h w 1"]) -> Float[Array, "b n 36"]:
    """Compute the 36 features of every whole block of 96 x 96 pixels of luma in 0..255. A flat block has NaN features.

    The features come from two scales, full then half. For each scale they are the shape and mean scale of the AGGD of
    the coefficients, then the shape, mean, left scale and right scale of the AGGD of four products: with the neighbour
    to the right, with the one below, and with the two diagonal ones.
    """
    luma = _whole_blocks(luma)
    scales = ((luma, BLOCK), (downsample_bicubic(luma, 2), BLOCK // 2))
    return jnp.concatenate([_block_features(_blocks(_mscn(x), side)) for x, side in scales], axis=-1)


def block_sharpness(luma: Float[Array, "b h w 1"]) -> Float[Array, "b n"]:
    """Compute the mean local standard deviation of every whole 96 x 96 block, in the order of `niqe_features`."""
    _, deviation = _local_moments(_whole_blocks(luma))
    return _blocks(deviation, BLOCK).mean(axis=(2, 3))


def _distance(features: Float[Array, "b n 36"], model: NiqeModel) -> Float[Array, " b"]:
    """Compute the Mahalanobis-like distance between the blocks' Gaussian and the model's.

    The coordinates make the model's covariance the identity. The result equals the formula with pinv((S1 + S2) / 2) of
    the raw features, but float32 cannot distinguish the small eigenvalues of that matrix from 0.
    """
    used = jnp.isfinite(features).all(axis=-1, keepdims=True)
    shifted = jnp.where(used, features - jnp.asarray(model.mean)[None, None], 0)
    white = jnp.einsum("fg,bng->bnf", model.whitening, shifted, precision=jax.lax.Precision.HIGHEST)
    count = used.sum(axis=1).astype(features.dtype)
    mean = white.sum(axis=1) / count
    centred = jnp.where(used, white - mean[:, None], 0)
    scatter = jnp.einsum("bnf,bng->bfg", centred, centred, precision=jax.lax.Precision.HIGHEST)
    covariance = scatter / (count - 1)[..., None]  # NaN for one block
    factor = jnp.linalg.cholesky((jnp.eye(mean.shape[-1])[None] + covariance) / 2)
    solved = jax.lax.linalg.triangular_solve(factor, mean[..., None], left_side=True, lower=True)
    return jnp.linalg.norm(solved[..., 0], axis=-1)


def _whole_blocks(luma: Float[Array, "b h w 1"]) -> Float[Array, "b p q 1"]:
    _, h, w, _ = luma.shape
    return luma[:, : h - h % BLOCK, : w - w % BLOCK]


def _blocks(x: Float[Array, "b h w 1"], side: int) -> Float[Array, "b n s s"]:
    b, h, w, _ = x.shape
    blocks = x.reshape(b, h // side, side, w // side, side).swapaxes(2, 3)
    return blocks.reshape(b, -1, side, side)


def _mscn(luma: Float[Array, "b h w 1"]) -> Float[Array, "b h w 1"]:
    """Compute the mean-subtracted contrast-normalised coefficients (eq. 1), exactly 0 where the luma is flat."""
    mean, deviation = _local_moments(luma)
    return (luma - mean) / (deviation + 1)


def _local_moments(luma: Float[Array, "b h w 1"]) -> tuple[Array, Array]:
    """Compute mean and standard deviation in the 7x7 Gaussian window around every pixel. The edge is replicated."""
    pad = len(_WINDOW) // 2
    padded = jnp.pad(luma, ((0, 0), (pad, pad), (pad, pad), (0, 0)), mode="edge")
    (mean,), ((variance,),) = local_moments([padded], _WINDOW)
    return mean, jnp.sqrt(variance)


def _block_features(blocks: Float[Array, "b n s s"]) -> Float[Array, "b n 18"]:
    """Compute the 18 features of one scale. Neighbours wrap around inside a block: the last pixel meets the first."""
    products = [blocks * jnp.roll(blocks, shift, axis=(-2, -1)) for shift in _NEIGHBOURS]
    values = jnp.stack([blocks, *products], axis=2)
    fits = _fit_aggd(values.reshape(*values.shape[:3], -1))
    shape, _, left, right = jnp.moveaxis(fits[:, :, 0], -1, 0)
    own = jnp.stack([shape, (left + right) / 2], axis=-1)
    return jnp.concatenate([own, fits[:, :, 1:].reshape(*own.shape[:2], -1)], axis=-1)


def _fit_aggd(x: Float[Array, "b n k d"]) -> Float[Array, "b n k 4"]:
    """Fit the AGGD to the moments of the last axis (eqs. 5 to 8 and Lasmar 2009): shape, mean, left and right scale.

    The result is NaN if no value is below 0, or if no value is above 0.
    """
    square = jnp.square(x)
    sides = ((x < 0).astype(x.dtype), (x > 0).astype(x.dtype))
    left, right = (jnp.sqrt((side * square).sum(axis=-1) / side.sum(axis=-1)) for side in sides)
    skew = left / right
    ratio = jnp.square(jnp.abs(x).mean(axis=-1)) / square.mean(axis=-1)
    ratio *= (skew**3 + 1) * (skew + 1) / jnp.square(skew**2 + 1)
    nearest = jnp.searchsorted(_table((_RATIOS[1:] + _RATIOS[:-1]) / 2), ratio)
    to_scale = _table(np.sqrt(gamma(1 / _SHAPES) / gamma(3 / _SHAPES)))[nearest]
    to_mean = _table(gamma(2 / _SHAPES) / gamma(1 / _SHAPES))[nearest]
    left, right = left * to_scale, right * to_scale
    return jnp.stack([_table(_SHAPES)[nearest], (right - left) * to_mean, left, right], axis=-1)


def _table(values: np.ndarray) -> Array:
    return jnp.asarray(values, jnp.float32)

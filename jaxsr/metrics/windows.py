"""Weighted mean and covariance in a window around every pixel, exact enough in float32 for SSIM and NIQE.

E[xy] - E[x]E[y] loses its digits where the image is nearly flat. Here the separable window is taken one axis at a time
with every value less its mean, and the axes are joined by the law of total covariance: sums of small terms alone.
"""

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


def gaussian_taps(size: int, sigma: float) -> tuple[float, ...]:
    """Gaussian of standard deviation `sigma` pixels at `size` (odd) places around its centre; sums to 1.

    The outer product with itself is MATLAB's `fspecial('gaussian', size, sigma)`.
    """
    taps = [math.exp(-0.5 * ((k - size // 2) / sigma) ** 2) for k in range(size)]
    return tuple(tap / math.fsum(taps) for tap in taps)


def local_moments(x: Float[Array, "k b h w c"], taps: tuple[float, ...]) -> tuple[Array, Array]:
    """Means and population covariances of k NHWC images in the window `taps` x `taps`, where it lies inside them.

    Returns the means (k, b, p, q, c), just the value where an image is flat, and the covariances of every image with
    every other (k, k, b, p, q, c), 0 where one of the two is flat.
    """
    mean_rows = _mean(x, taps, axis=-2)
    within = _mean(_covariance(x, mean_rows, taps, axis=-2), taps, axis=-3)
    mean = _mean(mean_rows, taps, axis=-3)
    return mean, within + _covariance(mean_rows, mean, taps, axis=-3)


def _mean(x: Array, taps: tuple[float, ...], axis: int) -> Array:
    """From the middle tap on, since a flat stretch then has just its value as mean, whatever the taps sum to."""
    length = x.shape[axis] - len(taps) + 1
    middle = jax.lax.slice_in_dim(x, len(taps) // 2, len(taps) // 2 + length, axis=axis)
    return middle + _sum_over_taps(lambda shifted: shifted - middle, x, taps, axis, length)


def _covariance(x: Array, mean: Array, taps: tuple[float, ...], axis: int) -> Array:
    """Of the first axis with itself, about `mean`."""

    def products(shifted: Array) -> Array:
        centred = shifted - mean
        return centred[:, None] * centred[None]

    return _sum_over_taps(products, x, taps, axis, mean.shape[axis])


def _sum_over_taps(f: Callable[[Array], Array], x: Array, taps: tuple[float, ...], axis: int, length: int) -> Array:
    """Sum of tap times f of x shifted to it. A loop: written out for five scales it would take long to compile."""
    weights = jnp.asarray(taps, x.dtype)

    def add(k: Array, total: Array) -> Array:
        return total + weights[k] * f(jax.lax.dynamic_slice_in_dim(x, k, length, axis=axis))

    first = f(jax.lax.slice_in_dim(x, 0, length, axis=axis))
    return jax.lax.fori_loop(1, len(taps), add, weights[0] * first)

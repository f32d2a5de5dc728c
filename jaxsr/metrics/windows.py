"""Weighted mean and covariance in a window around every pixel, exact enough in float32 for SSIM and NIQE.

E[xy] - E[x]E[y] loses its digits where the image is nearly flat. This module applies the separable window one axis at
a time, after subtracting the window's central value. The law of total covariance joins the axes, so that all sums have
only small terms.
"""

import itertools
import math
from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

Image = Float[Array, "b _h _w c"]
Flat = Float[Array, "b _h _wc"]
Covariances = list[list[Image]]


def gaussian_taps(size: int, sigma: float) -> tuple[float, ...]:
    """Sample a Gaussian of standard deviation `sigma` pixels at `size` (odd) places around its centre. The sum is 1.

    The outer product of the taps with themselves is MATLAB's `fspecial('gaussian', size, sigma)`.
    """
    taps = [math.exp(-0.5 * ((k - size // 2) / sigma) ** 2) for k in range(size)]
    return tuple(tap / math.fsum(taps) for tap in taps)


def local_moments(x: Sequence[Image], taps: tuple[float, ...]) -> tuple[list[Image], Covariances]:
    """Compute means and population covariances of k NHWC images in the window `taps` x `taps`, where it lies inside.

    Returns the means (b, p, q, c) and the covariances of every pair of images, [k][k]. Where an image is flat, its mean
    is exactly its value. Where one image of a pair is flat, the covariance is 0.
    """
    b, h, w, c = x[0].shape
    # Columns and channels form one axis, because a loop over three channels alone does not fill a vector register.
    means, within = _moments([image.reshape(b, h, w * c) for image in x], None, taps, axis=2, stride=c)
    means, total = _moments(means, within, taps, axis=1, stride=1)
    shape = (b, h - len(taps) + 1, -1, c)
    pairs = dict(zip(_pairs(len(x)), (each.reshape(shape) for each in total), strict=True))
    covariances = [[pairs[min(i, j), max(i, j)] for j in range(len(x))] for i in range(len(x))]
    return [mean.reshape(shape) for mean in means], covariances


def _moments(
    x: Sequence[Flat], within: Sequence[Flat] | None, taps: tuple[float, ...], axis: int, stride: int
) -> tuple[list[Flat], list[Flat]]:
    """Compute the means along one axis, and the covariances of all pairs: along the axis, plus the mean of `within`.

    Values are taken relative to the middle tap. The mean of a flat stretch is then exactly its value, whatever the taps
    sum to. A variance is then at least the middle tap's weight times the mean square, not a difference of nearly equal
    numbers. The sums run in a loop, because XLA would fuse unrolled sums and compute much of them several times.
    """
    weights = jnp.asarray(taps, x[0].dtype)
    length = x[0].shape[axis] - (len(taps) - 1) * stride

    def shifted(values: Flat, k: Array | int) -> Flat:
        return jax.lax.dynamic_slice_in_dim(values, k * stride, length, axis=axis)

    middle = [shifted(image, len(taps) // 2) for image in x]

    def add(k: Array, sums: list[Flat]) -> list[Flat]:
        offsets = [shifted(image, k) - origin for image, origin in zip(x, middle, strict=True)]
        products = [offsets[i] * offsets[j] for i, j in _pairs(len(x))]
        if within is not None:
            products = [each + shifted(inner, k) for each, inner in zip(products, within, strict=True)]
        return [total + weights[k] * term for total, term in zip(sums, offsets + products, strict=True)]

    zeros = [jnp.zeros_like(middle[0])] * (len(x) + len(_pairs(len(x))))
    sums = jax.lax.fori_loop(0, len(taps), add, zeros)
    firsts, seconds = sums[: len(x)], sums[len(x) :]  # mean offsets from the middle, mean products of offsets
    means = [origin + offset for origin, offset in zip(middle, firsts, strict=True)]
    return means, [total - firsts[i] * firsts[j] for total, (i, j) in zip(seconds, _pairs(len(x)), strict=True)]


def _pairs(count: int) -> list[tuple[int, int]]:
    return list(itertools.combinations_with_replacement(range(count), 2))

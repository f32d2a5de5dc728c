"""Weighted mean and covariance in a window around every pixel, exact enough in float32 for SSIM and NIQE.

E[xy] - E[x]E[y] loses its digits where the image is nearly flat. Here the separable window is taken one axis at a time
with every value less that in its middle, and the axes are joined by the law of total covariance: sums of small terms
alone.
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
    """Gaussian of standard deviation `sigma` pixels at `size` (odd) places around its centre; sums to 1.

    The outer product with itself is MATLAB's `fspecial('gaussian', size, sigma)`.
    """
    taps = [math.exp(-0.5 * ((k - size // 2) / sigma) ** 2) for k in range(size)]
    return tuple(tap / math.fsum(taps) for tap in taps)


def local_moments(x: Sequence[Image], taps: tuple[float, ...]) -> tuple[list[Image], Covariances]:
    """Means and population covariances of k NHWC images in the window `taps` x `taps`, where it lies inside them.

    Returns the means (b, p, q, c), just the value where an image is flat, and the covariances of every image with every
    other, [k][k], 0 where one of the two is flat.
    """
    b, h, w, c = x[0].shape
    # Columns and channels as one axis: a loop over three channels alone does not fill a vector register.
    means, within = _moments([image.reshape(b, h, w * c) for image in x], None, taps, axis=2, stride=c)
    means, total = _moments(means, within, taps, axis=1, stride=1)
    shape = (b, h - len(taps) + 1, -1, c)
    pairs = dict(zip(_pairs(len(x)), (each.reshape(shape) for each in total), strict=True))
    covariances = [[pairs[min(i, j), max(i, j)] for j in range(len(x))] for i in range(len(x))]
    return [mean.reshape(shape) for mean in means], covariances


def _moments(
    x: Sequence[Flat], within: Sequence[Flat] | None, taps: tuple[float, ...], axis: int, stride: int
) -> tuple[list[Flat], list[Flat]]:
    """Means along one axis, and the covariances of all pairs: those along it plus the mean of those `within`.

    From the middle tap on: a flat stretch then has just its value as mean, whatever the taps sum to, and a variance is
    no difference of nearly equal numbers, but at least the middle's weight of the mean square. A loop, since XLA fuses
    the sums written out so that it works out much of them several times.
    """
    weights = jnp.asarray(taps, x[0].dtype)
    length = x[0].shape[axis] - (len(taps) - 1) * stride

    def shifted(values: Flat, k: Array | int) -> Flat:
        return jax.lax.dynamic_slice_in_dim(values, k * stride, length, axis=axis)

    middle = [shifted(image, len(taps) // 2) for image in x]

    def add(k: Array, sums: list[Flat]) -> list[Flat]:
        off = [shifted(image, k) - origin for image, origin in zip(x, middle, strict=True)]
        products = [off[i] * off[j] for i, j in _pairs(len(x))]
        if within is not None:
            products = [each + shifted(inner, k) for each, inner in zip(products, within, strict=True)]
        return [total + weights[k] * term for total, term in zip(sums, off + products, strict=True)]

    zeros = [jnp.zeros_like(middle[0])] * (len(x) + len(_pairs(len(x))))
    sums = jax.lax.fori_loop(0, len(taps), add, zeros)
    moved, seconds = sums[: len(x)], sums[len(x) :]
    means = [origin + by for origin, by in zip(middle, moved, strict=True)]
    return means, [total - moved[i] * moved[j] for total, (i, j) in zip(seconds, _pairs(len(x)), strict=True)]


def _pairs(count: int) -> list[tuple[int, int]]:
    return list(itertools.combinations_with_replacement(range(count), 2))

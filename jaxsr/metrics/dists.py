"""The metric DISTS: the dissimilarity of two images in structure and texture. A texture may be displaced.

Equal images have the value 0.

Ding, Ma, Wang and Simoncelli, "Image Quality Assessment: Unifying Structure and Texture Similarity", 2020 (TPAMI 2022).
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxsr.metrics.feature_nets import VGG16, Params, check_images, check_shapes_of, stage_outputs

_MEAN, _DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # ImageNet's RGB in [0,1]
_CHANNELS = (3, *(stage.channels for stage in VGG16.stages))
_C1, _C2 = 1e-6, 1e-6
_POOL_EPSILON = 1e-12


def dists(a: Float[Array, "b h w c"], b: Float[Array, "n p q d"], params: Params) -> Float[Array, " b"]:
    """Compute DISTS of every image pair of a batch: 0 or more, seldom above 1. Differentiable; works under jit.

    DISTS is 1 - sum of alpha l(x,y) + beta s(x,y). The sum covers the channels of the image and of five stages of
    VGG-16 with L2 pooling. As in SSIM, l compares the means, and s compares the variances with the covariance. All
    weights together sum to 1.

    Args:
        a, b: images of one shape, NHWC RGB, float32 in [0,1]. Their order does not matter. The authors' programs can
            first reduce images to 256 pixels on the shorter side; this function resizes nothing.
        params: the result of `load_perceptual("dists")`.
    Returns:
        One number per image.
    Raises:
        ValueError: if the images differ in shape or are not RGB, or if the parameters belong to another metric.
    """
    check_images(a, b, 1, "DISTS")
    # The images go through the network apart, so that many candidates share the features of their original.
    return dists_of(dists_features(a, params), dists_features(b, params), params)


def dists_features(x: Float[Array, "b h w c"], params: Params) -> list[Array]:
    """Return what DISTS compares of a batch of images: the images, and the features of the five stages, NHWC."""
    check_shapes_of(params, dists_shapes(), "dists")
    mean, deviation = (jnp.asarray(values, jnp.float32)[None, None, None] for values in (_MEAN, _DEVIATION))
    return [x, *stage_outputs(params, (x - mean) / deviation, VGG16, _l2_pool)]


def dists_of(first: Sequence[Array], second: Sequence[Array], params: Params) -> Float[Array, " b"]:
    """Compute DISTS from the features of both batches, see `dists`."""
    terms = [_dissimilarities(*stages) for stages in zip(first, second, strict=True)]
    luminance, structure = (jnp.concatenate(parts, axis=-1) for parts in zip(*terms, strict=True))
    alpha, beta = (jnp.asarray(params[name]) for name in ("alpha", "beta"))
    total = (luminance * alpha[None] + structure * beta[None]).sum(axis=-1)
    return total / (alpha.sum() + beta.sum())


def dists_shapes() -> dict[str, tuple[int, ...]]:
    """Return name and shape of every parameter: VGG-16's, and the weights `alpha` and `beta` of all channels."""
    return VGG16.shapes() | {"alpha": (sum(_CHANNELS),), "beta": (sum(_CHANNELS),)}


def _dissimilarities(x: Float[Array, "b h w c"], y: Float[Array, "b h w c"]) -> tuple[Array, Array]:
    """Compute 1 - l and 1 - s between two batches of features, (batch, c).

    Both are sums of squares, so they are exact where the images are alike.
    """
    mean_a, mean_b = (features.mean(axis=(1, 2)) for features in (x, y))
    a, b = (features - mean[:, None, None] for features, mean in ((x, mean_a), (y, mean_b)))
    variances = jnp.square(a).mean(axis=(1, 2)) + jnp.square(b).mean(axis=(1, 2))
    luminance = jnp.square(mean_a - mean_b) / (jnp.square(mean_a) + jnp.square(mean_b) + _C1)
    return luminance, jnp.square(a - b).mean(axis=(1, 2)) / (variances + _C2)


def _l2_pool(x: Float[Array, "k h w c"]) -> Float[Array, "k p q c"]:
    """Take the root mean square in the 3x3 Hann window (1/4, 1/2, 1/4 per axis) around every second pixel.

    Pixels outside the image count as 0.
    """
    square = jnp.pad(jnp.square(x), ((0, 0), (1, 1), (1, 1), (0, 0)))
    for axis in (1, 2):
        last = square.shape[axis] - 2
        parts = (jax.lax.slice_in_dim(square, k, k + last, stride=2, axis=axis) for k in range(3))
        before, at, after = parts
        square = (before + 2 * at + after) / 4
    return jnp.sqrt(square + _POOL_EPSILON)

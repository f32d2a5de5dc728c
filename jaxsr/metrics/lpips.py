"""The metric LPIPS: the visual difference of two images, measured in the features of an image network.

Equal images have the value 0; a smaller value means more similar images. Source: Zhang, Isola, Efros, Shechtman and
Wang, "The Unreasonable Effectiveness of Deep Features as a Perceptual Metric", CVPR 2018, with version 0.1 of the
authors' weights. The numbers of `alex` and of `vgg` are on different scales: never compare them.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxsr.metrics.feature_nets import ALEXNET, VGG16, Params, check_images, check_shapes_of, stage_outputs

NETS = {"alex": ALEXNET, "vgg": VGG16}
_SHIFT, _SCALE = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)  # for RGB in [-1,1]
_EPSILON, _TINY = 1e-10, 1e-30


def lpips(
    a: Float[Array, "b h w c"], b: Float[Array, "n p q d"], params: Params, *, net: str = "alex"
) -> Float[Array, " b"]:
    """Compute LPIPS of every image pair of a batch: 0 or more, in practice below 1. Differentiable; works under jit.

    LPIPS sums over five stages of the network. Each stage contributes the mean over pixels of
    sum_c w_c (u_c - v_c)^2 (eq. 1). Here u and v are the features of the two images, scaled to unit length over the
    channels, and w_c >= 0 are the learned weights.

    Args:
        a, b: images of one shape, NHWC RGB, float32 in [0,1]; 31 pixels a side or more (vgg: 16). Their order does
            not matter.
        params: the result of `load_perceptual("lpips-alex")` or `load_perceptual("lpips-vgg")`.
        net: the network that `params` belongs to; papers report `alex` unless they say otherwise.
    Returns:
        One number per image.
    Raises:
        ValueError: if the images differ in shape, are too small or are not RGB; if the network is unknown; if the
            parameters belong to another network or metric.
    """
    if net not in NETS:
        raise ValueError(f"net {net!r} is not known: use one of {', '.join(NETS)}")
    check_images(a, b, NETS[net].min_side, f"LPIPS with {net}")
    check_shapes_of(params, lpips_shapes(net), f"lpips-{net}")
    # The images go through the network apart, so that a gradient with respect to one needs no pass back for the other,
    # and many candidates share the features of their original.
    first, second = (stage_outputs(params, (2 * x - 1 - _row(_SHIFT)) / _row(_SCALE), NETS[net]) for x in (a, b))
    terms = [
        _stage_distance(u, v, jnp.asarray(params[f"head.{k}"]))
        for k, (u, v) in enumerate(zip(first, second, strict=True))
    ]
    return jnp.stack(terms).sum(axis=0)


def lpips_shapes(net: str) -> dict[str, tuple[int, ...]]:
    """Return name and shape of every parameter: the network's, and `head.<stage>`, the weights of its channels."""
    heads = {f"head.{k}": (stage.channels,) for k, stage in enumerate(NETS[net].stages)}
    return NETS[net].shapes() | heads


def _stage_distance(u: Float[Array, "b h w c"], v: Float[Array, "b h w c"], head: Float[Array, " c"]) -> Array:
    """Compute the distance between the features of two batches in one stage.

    The mean over pixels comes before the weights, which takes a tenth less of the whole metric's time on a CPU.
    """
    means = jnp.square(_unit(u) - _unit(v)).mean(axis=(1, 2))
    return jnp.einsum("bc,c->b", means, head, precision=jax.lax.Precision.HIGHEST)


def _unit(x: Float[Array, "k h w c"]) -> Float[Array, "k h w c"]:
    """Scale to unit length over the channels. _TINY gives the root a derivative at a length of 0."""
    return x / (jnp.sqrt(jnp.square(x).sum(axis=-1, keepdims=True) + _TINY) + _EPSILON)


def _row(values: tuple[float, ...]) -> Float[Array, "1 1 1 3"]:
    return jnp.asarray(values, jnp.float32)[None, None, None]

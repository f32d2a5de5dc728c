"""Layers that the networks share. NHWC, flax NNX; `dtype` is the compute dtype, parameters stay in float32.

Module attributes carry the names of the released checkpoints; a torch `Sequential` with gaps (activations) becomes a
`slots({index: layer})`, so that a parameter's path here is its key there.
"""

import math
from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
from flax import nnx
from jax.typing import DTypeLike
from jaxtyping import Array, Float, Int, Key

from jaxsr.cpu import result_dtype
from jaxsr.models.convolution import Image, convolve, enlarge_and_convolve


class OneKey(nnx.Rngs):
    """The same key for every parameter, for shapes only: to count keys under a trace takes seconds in deep networks."""

    def params(self) -> Key[Array, ""]:
        return jax.random.key(0)


def slots(layers: Mapping[int, nnx.Module]) -> nnx.Dict:
    """A `Sequential`'s parameterised layers under their indices."""
    return nnx.Dict({str(index): layer for index, layer in layers.items()})


def conv3x3(
    inputs: int,
    outputs: int,
    *,
    rngs: nnx.Rngs,
    dtype: DTypeLike,
    stride: int = 1,
    zero: bool = False,
    enlarge: bool = False,
):
    """3x3 convolution padded by one on all sides; `zero` starts it at zero, so that a residual branch starts silent,
    `enlarge` makes the input twice as large first (see `enlarge_and_convolve`)."""
    init = nnx.initializers.zeros_init() if zero else nnx.initializers.lecun_normal()
    operation = enlarge_and_convolve if enlarge else convolve
    return nnx.Conv(
        inputs,
        outputs,
        (3, 3),
        strides=stride,
        padding=1,
        kernel_init=init,
        conv_general_dilated=_as_called(operation) if stride == 1 else jax.lax.conv_general_dilated,
        rngs=rngs,
        dtype=dtype,
    )


def _as_called(operation: Callable[[Image, Array], Image]) -> Callable[..., Image]:
    """What `nnx.Conv` calls: all its settings are the defaults here."""
    return lambda x, kernel, *_, **__: operation(x, kernel)


class Linear(nnx.Linear):
    """Matrix product of values in `dtype`, plus the bias, in `dtype`; see `jaxsr.cpu` for what is between these."""

    def __call__(self, inputs: Float[Array, "*_s i"], out_sharding: None = None) -> Float[Array, "*_s o"]:
        del out_sharding
        assert self.bias is not None
        assert self.dtype is not None
        kernel, wide = self.kernel.get_value().astype(self.dtype), result_dtype(self.dtype)
        product = jnp.matmul(inputs.astype(self.dtype), kernel, preferred_element_type=wide)
        bias = jnp.expand_dims(self.bias.get_value().astype(wide), range(product.ndim - 1))
        return (product + bias).astype(self.dtype)


def conv1x1(inputs: int, outputs: int, *, rngs: nnx.Rngs, dtype: DTypeLike) -> Linear:
    """1x1 convolution, as the matrix product that it is."""
    return Linear(inputs, outputs, rngs=rngs, dtype=dtype)


SIDE_BY_SIDE = 16


class GroupNorm(nnx.Module):
    """GroupNorm over the image (32 groups), in float32, returned in the input's dtype.

    Sums are taken over every 16th position first: XLA's CPU backend uses vectors and threads for such sums, and is 5
    times slower when it sums a group, or a channel, at once.
    """

    def __init__(self, channels: int, *, epsilon: float, rngs: nnx.Rngs, groups: int = 32):
        self.scale = nnx.Param(jnp.ones(channels))
        self.bias = nnx.Param(jnp.zeros(channels))
        self.epsilon, self.groups = epsilon, groups
        del rngs

    def __call__(self, x: Image) -> Image:
        b, h, w, c = x.shape
        x32, side_by_side = x.astype(jnp.float32), math.gcd(h * w, SIDE_BY_SIDE)

        def group_means(values: Image) -> Float[Array, "b 1 1 _c"]:
            sums = values.reshape(b, -1, side_by_side, c).sum(1)
            means = sums.reshape(b, side_by_side, self.groups, -1).mean((1, 3)) / (h * w // side_by_side)
            return jnp.repeat(means, c // self.groups, axis=-1)[:, None, None]

        centred = x32 - group_means(x32)
        rstd = jax.lax.rsqrt(group_means(jnp.square(centred)) + self.epsilon)
        normed = centred * (rstd * self.scale[None, None, None]) + self.bias[None, None, None]
        return normed.astype(x.dtype)


class ChannelNorm(nnx.Module):
    """LayerNorm over the channels of each position, in float32: unlike GroupNorm it does not look at the rest of
    the image, so that a network of it gives the same pixels for a tile as for the whole image."""

    def __init__(self, channels: int, *, epsilon: float, rngs: nnx.Rngs):
        self.scale = nnx.Param(jnp.ones(channels))
        self.bias = nnx.Param(jnp.zeros(channels))
        self.epsilon = epsilon
        del rngs

    def __call__(self, x: Image) -> Image:
        x32 = x.astype(jnp.float32)
        centred = x32 - x32.mean(-1, keepdims=True)
        rstd = jax.lax.rsqrt(jnp.square(centred).mean(-1, keepdims=True) + self.epsilon)
        normed = centred * rstd
        return (normed * self.scale[None, None, None] + self.bias[None, None, None]).astype(x.dtype)


NORMS = {"group": GroupNorm, "channel": ChannelNorm}


def timestep_embedding(timesteps: Int[Array, " b"], channels: int) -> Float[Array, "b channels"]:
    """Sinusoid of the integer step: frequencies exp(-ln(10000) i / half), the cosine half first."""
    half = channels // 2
    frequencies = jnp.exp(-math.log(10000) / half * jnp.arange(half, dtype=jnp.float32))
    angles = timesteps.astype(jnp.float32)[:, None] * frequencies[None]
    return jnp.concatenate([jnp.cos(angles), jnp.sin(angles)], axis=-1)

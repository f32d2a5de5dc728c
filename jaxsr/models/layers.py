"""Layers that the networks share, as Flax NNX modules in the layout NHWC.

`dtype` is the compute dtype; parameters stay in float32. Module attributes carry the names of the released checkpoints.
A torch `Sequential` whose indices have gaps (for activations) becomes `slots({index: layer})`. The path of a parameter
here is therefore its key in the checkpoint.
"""

import math
from collections.abc import Mapping, Sequence

import jax
import jax.numpy as jnp
from flax import nnx
from jax.typing import DTypeLike
from jaxtyping import Array, Float, Int, Key

from jaxsr.models.convolution import ONE, Image, Padding, convolve, enlarge_and_convolve
from jaxsr.models.products import matmul
from jaxsr.runtime.cpu import fold


class OneKey(nnx.Rngs):
    """Random keys that are all equal, for shapes only: counting keys under a trace takes seconds in deep networks."""

    def params(self) -> Key[Array, ""]:
        return jax.random.key(0)


def slots(layers: Mapping[int, nnx.Module]) -> nnx.Dict:
    """Store the layers of a `Sequential` that have parameters under their indices."""
    return nnx.Dict({str(index): layer for index, layer in layers.items()})


def conv3x3(
    inputs: int,
    outputs: int,
    *,
    rngs: nnx.Rngs,
    dtype: DTypeLike,
    stride: int = 1,
    padding: Padding = ONE,
    zero: bool = False,
    enlarge: bool = False,
):
    """Make a 3x3 convolution. By default it pads by one on all sides.

    `zero` initialises the kernel with zeros, so that a residual branch starts without effect. `enlarge` makes the input
    twice as large first (see `enlarge_and_convolve`).
    """
    init = nnx.initializers.zeros_init() if zero else nnx.initializers.lecun_normal()
    return nnx.Conv(
        inputs,
        outputs,
        (3, 3),
        strides=stride,
        padding=padding,
        kernel_init=init,
        conv_general_dilated=_enlarged if enlarge else _convolved,
        rngs=rngs,
        dtype=dtype,
    )


def _convolved(x: Image, kernel: Array, strides: Sequence[int], padding: Sequence[Sequence[int]], **_) -> Image:
    """Call `convolve` with the arguments of `nnx.Conv`. All other arguments have their default values here."""
    (top, bottom), (left, right) = padding
    return convolve(x, kernel, (strides[0], strides[1]), ((top, bottom), (left, right)))


def _enlarged(x: Image, kernel: Array, *_, **__) -> Image:
    return enlarge_and_convolve(x, kernel)


class Linear(nnx.Linear):
    """A matrix product plus a bias, in `dtype`."""

    def __call__(self, inputs: Float[Array, "*_s i"], out_sharding: None = None) -> Float[Array, "*_s o"]:
        del out_sharding
        assert self.bias is not None
        assert self.dtype is not None
        kernel, bias = (param.get_value().astype(self.dtype) for param in (self.kernel, self.bias))
        product = matmul(inputs.astype(self.dtype), kernel, dtype=self.dtype)
        return product + jnp.expand_dims(bias, range(product.ndim - 1))


def conv1x1(inputs: int, outputs: int, *, rngs: nnx.Rngs, dtype: DTypeLike) -> Linear:
    """Make a 1x1 convolution, as a matrix product over the channels."""
    return Linear(inputs, outputs, rngs=rngs, dtype=dtype)


def silu(x: Float[Array, "*_s"]) -> Float[Array, "*_s"]:
    """Compute x sigmoid(x) in float32, and return it in the input's dtype."""
    return jax.nn.silu(x.astype(jnp.float32)).astype(x.dtype)


def gelu(x: Float[Array, "*_s"]) -> Float[Array, "*_s"]:
    """Compute the exact GELU in float32, and return it in the input's dtype.

    It uses erf: `jax.nn.gelu` uses erfc, which is twice as slow on a CPU.
    """
    x32 = x.astype(jnp.float32)
    return (0.5 * x32 * (1 + jax.lax.erf(x32 * 0.5**0.5))).astype(x.dtype)


SIDE_BY_SIDE = 16


class GroupNorm(nnx.Module):
    """GroupNorm over the whole image (32 groups by default), in float32. It returns the input's dtype.

    It first sums over every 16th position, because XLA's CPU backend uses vectors and threads for such sums. Summing a
    group or a channel at once is 5 times slower.
    """

    def __init__(self, channels: int, *, epsilon: float, rngs: nnx.Rngs, groups: int = 32):
        self.scale = nnx.Param(jnp.ones(channels))
        self.bias = nnx.Param(jnp.zeros(channels))
        self.epsilon, self.groups = epsilon, groups
        del rngs

    def __call__(self, x: Image) -> Image:
        b, h, w, c = x.shape
        positions = x.astype(jnp.float32).reshape(b, h * w, c)

        def group_means(values: Float[Array, "b _n _c"]) -> Float[Array, "b 1 _c"]:
            folded = fold(jnp.add, values, 1)
            side_by_side = math.gcd(folded.shape[1], SIDE_BY_SIDE)
            sums = folded.reshape(b, -1, side_by_side, c).sum(1).reshape(b, side_by_side, self.groups, -1)
            return jnp.repeat(sums.sum((1, 3)) / (h * w * c // self.groups), c // self.groups, axis=-1)[:, None]

        centred = positions - group_means(positions)
        rstd = jax.lax.rsqrt(group_means(jnp.square(centred)) + self.epsilon)
        normed = centred * (rstd * self.scale[None, None]) + self.bias[None, None]
        return normed.reshape(x.shape).astype(x.dtype)


class ChannelNorm(nnx.Module):
    """LayerNorm over the channels of each position, in float32.

    Unlike GroupNorm, it does not depend on the rest of the image. A network that uses it therefore gives the same
    pixels for a tile as for the whole image.
    """

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
    """Compute the sinusoidal embedding of integer times: frequencies exp(-ln(10000) i / half), cosines first."""
    half = channels // 2
    frequencies = jnp.exp(-math.log(10000) / half * jnp.arange(half, dtype=jnp.float32))
    angles = timesteps.astype(jnp.float32)[:, None] * frequencies[None]
    return jnp.concatenate([jnp.cos(angles), jnp.sin(angles)], axis=-1)


def check_sizes(network: str, x: Array, lq: Array, align: int, factor: int) -> None:
    """Raise ValueError unless the sides of x are multiples of `align`, and those of lq are `factor` times as long."""
    if x.shape[1] % align or x.shape[2] % align:
        raise ValueError(f"{network}: height and width must be multiples of {align}, got {x.shape[1:3]}; pad first.")
    if (lq.shape[1], lq.shape[2]) != (factor * x.shape[1], factor * x.shape[2]):
        raise ValueError(f"{network}: lq must be {factor} times the size of x, got {lq.shape} for {x.shape}.")

"""Layers that the networks share. NHWC, flax NNX; `dtype` is the compute dtype, parameters stay in float32.

Module attributes carry the names of the released checkpoints; a torch `Sequential` with gaps (activations) becomes a
`slots({index: layer})`, so that a parameter's path here is its key there.
"""

import math
from collections.abc import Mapping

import jax
import jax.numpy as jnp
from flax import nnx
from jax.typing import DTypeLike
from jaxtyping import Array, Float, Int, Key

Image = Float[Array, "b _h _w _c"]  # layers change sizes and widths, so only the batch is bound


class OneKey(nnx.Rngs):
    """The same key for every parameter, for shapes only: to count keys under a trace takes seconds in deep networks."""

    def params(self) -> Key[Array, ""]:
        return jax.random.key(0)


def slots(layers: Mapping[int, nnx.Module]) -> nnx.Dict:
    """A `Sequential`'s parameterised layers under their indices."""
    return nnx.Dict({str(index): layer for index, layer in layers.items()})


def conv3x3(inputs: int, outputs: int, *, rngs: nnx.Rngs, dtype: DTypeLike, stride: int = 1, zero: bool = False):
    """3x3 convolution padded by one on all sides; `zero` starts it at zero, so that a residual branch starts silent."""
    init = nnx.initializers.zeros_init() if zero else nnx.initializers.lecun_normal()
    operation = _convolve if stride == 1 else jax.lax.conv_general_dilated
    return nnx.Conv(
        inputs,
        outputs,
        (3, 3),
        strides=stride,
        padding=1,
        kernel_init=init,
        conv_general_dilated=operation,
        rngs=rngs,
        dtype=dtype,
    )


def _convolve(x: Image, kernel: Array, strides: object, padding: object, **settings: object) -> Image:
    """What `nnx.Conv` calls: all its settings are the defaults here."""
    del strides, padding, settings
    return convolve(x, kernel)


@jax.custom_vjp
def convolve(x: Image, kernel: Float[Array, "3 3 i o"]) -> Image:
    """3x3 convolution of stride 1, padded by one; reverse-mode derivatives only.

    Its gradient with respect to `x` is written as the convolution that it is: JAX's own reverses the kernel in the
    operation, and inside of a `scan` XLA's CPU backend is 10 to 30 times slower with that.
    """
    return _plain_convolve(x, kernel)


def _plain_convolve(x: Image, kernel: Array) -> Image:
    numbers = ("NHWC", "HWIO", "NHWC")
    return jax.lax.conv_general_dilated(x, kernel, (1, 1), ((1, 1), (1, 1)), dimension_numbers=numbers)


def _convolve_forward(x: Image, kernel: Array) -> tuple[Image, tuple[Image, Array]]:
    return convolve(x, kernel), (x, kernel)


def _convolve_backward(saved: tuple[Image, Array], gradient: Image) -> tuple[Image, Array]:
    x, kernel = saved
    # Without the barrier XLA folds the flip into the convolution again.
    transposed = jax.lax.optimization_barrier(jnp.flip(kernel, (0, 1)).swapaxes(2, 3))
    _, pull_back = jax.vjp(lambda k: _plain_convolve(x, k), kernel)
    return convolve(gradient, transposed), pull_back(gradient)[0]


convolve.defvjp(_convolve_forward, _convolve_backward)


def conv1x1(inputs: int, outputs: int, *, rngs: nnx.Rngs, dtype: DTypeLike) -> nnx.Linear:
    """1x1 convolution, as the matrix product that it is."""
    return nnx.Linear(inputs, outputs, rngs=rngs, dtype=dtype)


class GroupNorm(nnx.Module):
    """GroupNorm over the image (32 groups) in float32, returned in the input's dtype."""

    def __init__(self, channels: int, *, epsilon: float, rngs: nnx.Rngs, groups: int = 32):
        self.scale = nnx.Param(jnp.ones(channels))
        self.bias = nnx.Param(jnp.zeros(channels))
        self.epsilon, self.groups = epsilon, groups
        del rngs

    def __call__(self, x: Image) -> Image:
        b, h, w, c = x.shape
        grouped = x.astype(jnp.float32).reshape(b, h * w, self.groups, c // self.groups)
        centred = grouped - grouped.mean((1, 3), keepdims=True)
        rstd = jax.lax.rsqrt(jnp.square(centred).mean((1, 3), keepdims=True) + self.epsilon)
        normed = (centred * rstd).reshape(b, h, w, c)
        return (normed * self.scale[None, None, None] + self.bias[None, None, None]).astype(x.dtype)


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


def nearest_x2(x: Image) -> Image:
    """Nearest-neighbour enlargement by two."""
    b, h, w, c = x.shape
    return jnp.broadcast_to(x[:, :, None, :, None], (b, h, 2, w, 2, c)).reshape(b, 2 * h, 2 * w, c)


def timestep_embedding(timesteps: Int[Array, " b"], channels: int) -> Float[Array, "b channels"]:
    """Sinusoid of the integer step: frequencies exp(-ln(10000) i / half), the cosine half first."""
    half = channels // 2
    frequencies = jnp.exp(-math.log(10000) / half * jnp.arange(half, dtype=jnp.float32))
    angles = timesteps.astype(jnp.float32)[:, None] * frequencies[None]
    return jnp.concatenate([jnp.cos(angles), jnp.sin(angles)], axis=-1)

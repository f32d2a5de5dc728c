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

Image = Float[Array, "b _h _w _c"]  # layers change sizes and widths, so only the batch is bound


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
    operation = _as_operation(enlarge_and_convolve if enlarge else convolve)
    return nnx.Conv(
        inputs,
        outputs,
        (3, 3),
        strides=stride,
        padding=1,
        kernel_init=init,
        conv_general_dilated=operation if stride == 1 else jax.lax.conv_general_dilated,
        rngs=rngs,
        dtype=dtype,
    )


def _as_operation(function: Callable[[Image, Array], Image]) -> Callable[..., Image]:
    """What `nnx.Conv` calls: all its settings are the defaults here."""
    return lambda x, kernel, *_, **__: function(x, kernel)


Padding = tuple[tuple[int, int], tuple[int, int]]
ONE: Padding = ((1, 1), (1, 1))


def convolve(x: Image, kernel: Float[Array, "_kh _kw i o"], padding: Padding = ONE) -> Image:
    """Convolution of stride 1 with zeros around; reverse-mode derivatives only.

    Its gradient with respect to `x` is written as the convolution that it is: JAX's own reverses the kernel in the
    operation, and inside of a `scan` XLA's CPU backend is 10 to 30 times slower with that.
    """
    return _convolve(x, kernel, padding)


def _plain_convolve(x: Image, kernel: Array, padding: Padding) -> Image:
    return jax.lax.conv_general_dilated(x, kernel, (1, 1), padding, dimension_numbers=("NHWC", "HWIO", "NHWC"))


def _convolve_forward(x: Image, kernel: Array, padding: Padding) -> tuple[Image, tuple[Image, Array]]:
    return convolve(x, kernel, padding), (x, kernel)


def _convolve_backward(padding: Padding, saved: tuple[Image, Array], gradient: Image) -> tuple[Image, Array]:
    x, kernel = saved
    # Without the barrier XLA folds the flip into the convolution again.
    transposed = jax.lax.optimization_barrier(jnp.flip(kernel, (0, 1)).swapaxes(2, 3))
    (top, bottom), (left, right) = padding
    height, width = (size - 1 for size in kernel.shape[:2])
    back = ((height - top, height - bottom), (width - left, width - right))
    _, pull_back = jax.vjp(lambda k: _plain_convolve(x, k, padding), kernel)
    return convolve(gradient, transposed, back), pull_back(gradient)[0]


_convolve = jax.custom_vjp(_plain_convolve, nondiff_argnums=(2,))
_convolve.defvjp(_convolve_forward, _convolve_backward)


FEW_PIXELS = 256


def enlarge_and_convolve(x: Image, kernel: Float[Array, "3 3 i o"]) -> Image:
    """Nearest-neighbour enlargement by two, then `convolve`, without the enlarged image and with 4/9 of the products.

    Each of the four pixels made of one sees 2x2 pixels of `x`, those that are seen twice with the sum of their taps.
    The four kernels are one of 2x2 and four times the channels; sums of taps round differently, by 1e-7. To sum them
    takes as long as it saves at some 256 pixels: smaller images are enlarged.
    """
    b, h, w, _ = x.shape
    if h * w < FEW_PIXELS:
        return convolve(x.repeat(2, 1).repeat(2, 2), kernel)
    outputs = kernel.shape[3]
    kernels = _merge_taps(_merge_taps(kernel, 0), 2).transpose(3, 1, 4, 2, 0, 5)  # tap y, x, input, parity y, x, output
    seen = convolve(x, kernels.reshape(2, 2, -1, 4 * outputs)).reshape(b, h + 1, w + 1, 2, 2, outputs)
    rows = [jnp.stack([seen[:, i : i + h, j : j + w, i, j] for j in (0, 1)], 3) for i in (0, 1)]
    return jnp.stack(rows, 2).reshape(b, 2 * h, 2 * w, outputs)


def _merge_taps(kernel: Array, axis: int) -> Float[Array, "parity=2 tap=2 ..."]:
    """Three taps along an axis as the two that the even and the odd pixel of an enlarged one have for what they see."""
    first, middle, last = (jax.lax.index_in_dim(kernel, tap, axis, keepdims=False) for tap in range(3))
    return jnp.stack([jnp.stack([first, middle + last]), jnp.stack([first + middle, last])])


def conv1x1(inputs: int, outputs: int, *, rngs: nnx.Rngs, dtype: DTypeLike) -> nnx.Linear:
    """1x1 convolution, as the matrix product that it is."""
    return nnx.Linear(inputs, outputs, rngs=rngs, dtype=dtype)


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

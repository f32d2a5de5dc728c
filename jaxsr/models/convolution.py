"""3x3 convolutions of stride 1, NHWC and HWIO: one whose gradient is fast, of enlarged images, and of bfloat16 on CPUs.

Where matrix products of bfloat16 are the fast way (see `jaxsr.cpu`), convolutions are made of them, and what only moves
bfloat16 values moves integers: XLA's CPU backend turns it into float32 and back otherwise.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Num

from jaxsr.cpu import by_products

Image = Float[Array, "b _h _w _c"]  # layers change sizes and widths, so only the batch is bound
Padding = tuple[tuple[int, int], tuple[int, int]]
ONE: Padding = ((1, 1), (1, 1))
F32 = jnp.float32


def convolve(x: Image, kernel: Float[Array, "_kh _kw i o"], padding: Padding = ONE) -> Image:
    """Convolution of stride 1 with zeros around; reverse-mode derivatives only.

    Its gradient with respect to `x` is written as the convolution that it is: JAX's own reverses the kernel in the
    operation, and inside of a `scan` XLA's CPU backend is 10 to 30 times slower with that.
    """
    return _convolve(x, kernel, padding)


def _value(x: Image, kernel: Array, padding: Padding) -> Image:
    if by_products(x.dtype) and min(kernel.shape[2:]) >= FEW_CHANNELS:
        return _convolve_by_products(x, kernel, padding)
    return _plain_convolve(x, kernel, padding)


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


_convolve = jax.custom_vjp(_value, nondiff_argnums=(2,))
_convolve.defvjp(_convolve_forward, _convolve_backward)


FEW_CHANNELS = 32  # of the image that comes in or goes out: products of so few gain nothing
POSITIONS_AT_ONCE = 1024


def _convolve_by_products(x: Image, kernel: Array, padding: Padding) -> Image:
    """The convolution as matrix products of bfloat16 with a float32 result, rounded once.

    Some rows at once have all that their positions see side by side: what that and the result take fits the cache.
    The loop is over rows alone, so that a batch can be spread over devices.
    """
    (b, _, _, c), (kh, kw, _, outputs) = x.shape, kernel.shape
    bits = jnp.pad(_bits(x), ((0, 0), *padding, (0, 0)))
    height, width = bits.shape[1] - kh + 1, bits.shape[2] - kw + 1
    rows = min(height, max(1, POSITIONS_AT_ONCE // (b * width)))
    flat = kernel.reshape(-1, outputs)

    def convolve_rows(block: Array, result: Array) -> Array:
        start = (0, jnp.minimum(block * rows, height - rows), 0, 0)  # the last block may meet the one before it
        seen = jax.lax.dynamic_slice(bits, start, (b, rows + kh - 1, *bits.shape[2:]))
        taps = [seen[:, y : y + rows, x : x + width] for y in range(kh) for x in range(kw)]
        products = jax.lax.dot(_values(jnp.stack(taps, 3)).reshape(-1, kh * kw * c), flat, preferred_element_type=F32)
        return jax.lax.dynamic_update_slice(result, _bits(products).reshape(b, rows, width, outputs), start)

    result = jnp.zeros_like(bits, shape=(b, height, width, outputs))
    return _values(jax.lax.fori_loop(0, -(-height // rows), convolve_rows, result))


def _bits(x: Array) -> Array:
    """The 16 bits of values, rounded to bfloat16."""
    return jax.lax.bitcast_convert_type(x.astype(jnp.bfloat16), jnp.uint16)


def _values(bits: Array) -> Array:
    """The inverse of `_bits`."""
    return jax.lax.bitcast_convert_type(bits, jnp.bfloat16)


def move(function: Callable[..., Array], *arrays: Array) -> Array:
    """`function(*arrays)` of a function that only puts values elsewhere; reverse-mode derivatives only."""
    return _move(function, *arrays)


def _moved(function: Callable[..., Array], *arrays: Array) -> Array:
    if by_products(arrays[0].dtype):
        return _values(function(*map(_bits, arrays)))
    return function(*arrays)


def _move_forward(function: Callable[..., Array], *arrays: Array) -> tuple[Array, Callable[[Array], tuple]]:
    return move(function, *arrays), jax.vjp(function, *arrays)[1]


def _move_backward(function: Callable[..., Array], pull_back: Callable[[Array], tuple], gradient: Array) -> tuple:
    del function
    return pull_back(gradient)


_move = jax.custom_vjp(_moved, nondiff_argnums=(0,))
_move.defvjp(_move_forward, _move_backward)


FEW_PIXELS = 256


# What of three taps along an axis the even and the odd pixel of an enlarged one has for the two that they see.
_PARITY = np.array([[[1, 0, 0], [0, 1, 1]], [[1, 1, 0], [0, 0, 1]]])
_TAPS = np.einsum("pta,quc->tupqac", _PARITY, _PARITY).reshape(16, 9)  # (tap y, x, parity y, x), (tap y, x of three)


def enlarge_and_convolve(x: Image, kernel: Float[Array, "3 3 i o"]) -> Image:
    """Nearest-neighbour enlargement by two, then `convolve`, without the enlarged image and with 4/9 of the products.

    Each of the four pixels made of one sees 2x2 pixels of `x`, those that are seen twice with the sum of their taps.
    The four kernels are one of 2x2 and four times the channels; sums of taps round once more, by 1e-7 in float32. To
    sum them takes as long as it saves at some 256 pixels: smaller images are enlarged.
    """
    b, h, w, _ = x.shape
    if h * w < FEW_PIXELS:
        return convolve(move(lambda x: x.repeat(2, 1).repeat(2, 2), x), kernel)
    outputs = kernel.shape[3]
    merged = jnp.matmul(jnp.asarray(_TAPS, kernel.dtype), kernel.reshape(9, -1), preferred_element_type=F32)
    kernels = move(lambda k: k.swapaxes(1, 2), merged.astype(kernel.dtype).reshape(4, 4, -1, outputs))
    seen = convolve(x, kernels.reshape(2, 2, -1, 4 * outputs)).reshape(b, h + 1, w + 1, 2, 2, outputs)
    return move(_interleave, seen)


def _interleave(seen: Num[Array, "b h1 w1 2 2 o"]) -> Num[Array, "b h w o"]:
    """The four pixels that were made of each, side by side."""
    b, h1, w1, _, _, outputs = seen.shape
    h, w = h1 - 1, w1 - 1
    rows = [jnp.stack([seen[:, i : i + h, j : j + w, i, j] for j in (0, 1)], 3) for i in (0, 1)]
    return jnp.stack(rows, 2).reshape(b, 2 * h, 2 * w, outputs)

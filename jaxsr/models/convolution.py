"""Convolutions in the layouts NHWC and HWIO, also of enlarged images. They call oneDNN where it is available."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxsr.models.products import matmul, precision
from jaxsr.runtime import onednn
from jaxsr.runtime.cpu import product_dtype
from jaxsr.runtime.onednn import Padding
from jaxsr.runtime.varying import vary_alike

Image = Float[Array, "b _h _w _c"]  # layers change sizes and widths, so only the batch is bound
Strides = tuple[int, int]
ONE: Padding = ((1, 1), (1, 1))


def convolve(x: Image, kernel: Float[Array, "_kh _kw i o"], strides: Strides = (1, 1), padding: Padding = ONE) -> Image:
    """Convolve with zero padding. Only reverse-mode derivatives are defined.

    With stride 1, the gradient with respect to `x` is an ordinary convolution with a flipped kernel. JAX's own gradient
    reverses the kernel inside the operation, which is 10 to 30 times slower on XLA's CPU backend inside of a `scan`.
    """
    return _convolve(strides, padding, *vary_alike(x, kernel))


def _value(strides: Strides, padding: Padding, x: Image, kernel: Array) -> Image:
    if x.dtype in onednn.DTYPES and min(*padding[0], *padding[1]) >= 0 and onednn.active():
        if strides == (1, 1) and x.size // x.shape[3] <= FEW_POSITIONS:
            return _as_product(padding, x, kernel)
        inner = product_dtype(x.dtype)
        return onednn.convolve(x.astype(inner), kernel.astype(inner), strides, padding).astype(x.dtype)
    return _plain(strides, padding, x, kernel)


# Up to this many positions in all images together, a product is faster: oneDNN's convolution first reorders the kernel.
FEW_POSITIONS = 128


def _as_product(padding: Padding, x: Image, kernel: Array) -> Image:
    """Convolve by one matrix product: each row holds the pixels that the kernel sees at one position."""
    height, width, _, outputs = kernel.shape
    padded = jnp.pad(x, ((0, 0), *padding, (0, 0)))
    h, w = padded.shape[1] - height + 1, padded.shape[2] - width + 1
    shifted = [padded[:, i : i + h, j : j + w] for i in range(height) for j in range(width)]
    return matmul(jnp.concatenate(shifted, -1), kernel.reshape(-1, outputs), dtype=x.dtype)


def _plain(strides: Strides, padding: Padding, x: Image, kernel: Array) -> Image:
    numbers, exact = ("NHWC", "HWIO", "NHWC"), precision(x.dtype)
    return jax.lax.conv_general_dilated(x, kernel, strides, padding, dimension_numbers=numbers, precision=exact)


def _forward(strides: Strides, padding: Padding, x: Image, kernel: Array) -> tuple[Image, tuple[Image, Array]]:
    return convolve(x, kernel, strides, padding), (x, kernel)


def _backward(strides: Strides, padding: Padding, saved: tuple[Image, Array], gradient: Image) -> tuple[Image, Array]:
    x, kernel = saved
    if strides != (1, 1):
        return jax.vjp(partial(_plain, strides, padding), x, kernel)[1](gradient)
    _, pull_back = jax.vjp(lambda k: _plain(strides, padding, x, k), kernel)
    # Without the barrier, XLA folds the flip into the convolution again.
    transposed = jax.lax.optimization_barrier(jnp.flip(kernel, (0, 1)).swapaxes(2, 3))
    (top, bottom), (left, right) = padding
    height, width = (size - 1 for size in kernel.shape[:2])
    back = ((height - top, height - bottom), (width - left, width - right))
    return convolve(gradient, transposed, padding=back), pull_back(gradient)[0]


_convolve = jax.custom_vjp(_value, nondiff_argnums=(0, 1))
_convolve.defvjp(_forward, _backward)


# An input image of fewer pixels is enlarged: summing the taps would take longer than it saves.
FEW_PIXELS = 256


# Splits a 3-tap kernel into the two 2-tap kernels that the even and odd output pixels of a nearest-neighbour x2
# upsampling see: (parity, tap of two, tap of three).
_PARITY = np.array([[[1, 0, 0], [0, 1, 1]], [[1, 1, 0], [0, 0, 1]]])
# The same for 3x3 kernels: (tap y, tap x, parity y, parity x) by (tap y of three, tap x of three).
_TAPS = np.einsum("pta,quc->tupqac", _PARITY, _PARITY).reshape(16, 9)


def enlarge_and_convolve(x: Image, kernel: Float[Array, "3 3 i o"]) -> Image:
    """Enlarge by two with nearest neighbours, then `convolve`, without the enlarged image and with 4/9 of the products.

    Each input pixel becomes four output pixels, and each of these sees only 2x2 pixels of `x`. Taps that fall on the
    same pixel are summed. The four 2x2 kernels form one 2x2 kernel with four times the output channels. The sums round
    once more, by 1e-7 in float32. Summing costs as much time as it saves at about 256 pixels, so smaller images are
    really enlarged.
    """
    b, h, w, _ = x.shape
    if h * w < FEW_PIXELS:
        return convolve(x.repeat(2, 1).repeat(2, 2), kernel)
    outputs = kernel.shape[3]
    merged = jnp.matmul(jnp.asarray(_TAPS, kernel.dtype), kernel.reshape(9, -1), preferred_element_type=jnp.float32)
    kernels = merged.astype(kernel.dtype).reshape(4, 4, -1, outputs).swapaxes(1, 2)
    parities = convolve(x, kernels.reshape(2, 2, -1, 4 * outputs)).reshape(b, h + 1, w + 1, 2, 2, outputs)
    rows = [jnp.stack([parities[:, i : i + h, j : j + w, i, j] for j in (0, 1)], 3) for i in (0, 1)]
    return jnp.stack(rows, 2).reshape(b, 2 * h, 2 * w, outputs)

"""Matrix products and attention, by oneDNN where that is at hand (see `jaxsr.runtime.onednn`)."""

from functools import partial

import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from jaxsr.runtime import onednn
from jaxsr.runtime.cpu import fold, product_dtype
from jaxsr.runtime.varying import vary_alike

F32 = jnp.float32
FEW_ROWS = 8  # of which XLA's product is as fast


def precision(dtype: DTypeLike) -> str | None:
    """float32 means float32 on GPUs too, in gradients as well, which are traced outside of a context that says so."""
    return "highest" if dtype == F32 else None


def matmul(
    a: Float[Array, "*n m k"], b: Float[Array, "*_n _k _o"], *, transpose_b: bool = False, dtype: DTypeLike = F32
) -> Float[Array, "*n m _o"]:
    """Products of the last two axes with one `b` or as many as there are `a`, in `dtype`; reverse-mode derivatives."""
    return _matmul(transpose_b, dtype, *vary_alike(a, b))


@partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def _matmul(transpose_b: bool, dtype: DTypeLike, a: Array, b: Array) -> Array:
    if a.shape[-2] >= FEW_ROWS and a.dtype in onednn.DTYPES and onednn.active():
        inside = product_dtype(a.dtype)
        wide = dtype if dtype == inside else F32
        return onednn.matmul(a.astype(inside), b.astype(inside), transpose_b=transpose_b, dtype=wide).astype(dtype)
    b = b.mT if transpose_b else b
    return jnp.matmul(a, b, precision=precision(a.dtype), preferred_element_type=dtype)


def _forward(transpose_b: bool, dtype: DTypeLike, a: Array, b: Array) -> tuple[Array, tuple[Array, Array]]:
    return _matmul(transpose_b, dtype, a, b), (a, b)


def _backward(transpose_b: bool, _: DTypeLike, saved: tuple[Array, Array], gradient: Array) -> tuple[Array, Array]:
    (a, b), gradient = saved, gradient.astype(saved[0].dtype)
    to_a = matmul(gradient, b, transpose_b=not transpose_b, dtype=a.dtype)
    if b.ndim == 2:  # one for all: their gradients add up
        a, gradient = (x.reshape(-1, x.shape[-1]) for x in (a, gradient))
    first, second = (gradient, a) if transpose_b else (a, gradient)
    return to_a, matmul(first.mT, second, dtype=b.dtype)


_matmul.defvjp(_forward, _backward)


def attend(
    q: Float[Array, "*n t c"],
    k: Float[Array, "*n s c"],
    v: Float[Array, "*n s c"],
    bias: Float[Array, "*#n t s"] | None = None,
) -> Float[Array, "*n t c"]:
    """softmax(q k^T / sqrt(c) + bias) v, the softmax in float32, in the dtype of `v`."""
    logits, scale = matmul(q, k, transpose_b=True), q.shape[-1] ** -0.5
    if bias is not None:
        logits, scale = logits * scale + bias, 1.0
    highest = jax.lax.stop_gradient(fold(jnp.maximum, logits, -1).max(-1, keepdims=True))
    weights = jnp.exp((logits - highest) * scale).astype(v.dtype)
    # Divided after the product, which has fewer numbers.
    sums = fold(jnp.add, weights.astype(F32), -1).sum(-1, keepdims=True)
    return (matmul(weights, v) / sums).astype(v.dtype)

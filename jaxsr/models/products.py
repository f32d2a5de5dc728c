"""Matrix products and attention. They call oneDNN where it is available (see `jaxsr.runtime.onednn`)."""

from functools import partial

import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from jaxsr.runtime import onednn
from jaxsr.runtime.cpu import fold, product_dtype
from jaxsr.runtime.varying import vary_alike

F32 = jnp.float32
FEW_ROWS = 8  # for products of fewer rows XLA is as fast as oneDNN


def precision(dtype: DTypeLike) -> str | None:
    """Return the precision of products: `highest` for float32, so that GPUs do not round them to TF32.

    Each operation gets it explicitly, because gradients are traced outside of a context that sets the precision.
    """
    return "highest" if dtype == F32 else None


def matmul(
    a: Float[Array, "*n m k"], b: Float[Array, "*_n _k _o"], *, transpose_b: bool = False, dtype: DTypeLike = F32
) -> Float[Array, "*n m _o"]:
    """Multiply matrices over the last two axes, with the result in `dtype`. Only reverse-mode derivatives are defined.

    `b` is either one matrix for all of `a`, or has one matrix for each matrix of `a`.
    """
    return _matmul(transpose_b, dtype, *vary_alike(a, b))


@partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def _matmul(transpose_b: bool, dtype: DTypeLike, a: Array, b: Array) -> Array:
    if onednn.active() and a.shape[-2] >= FEW_ROWS and a.dtype in onednn.DTYPES:
        inner = product_dtype(a.dtype)
        out = dtype if dtype == inner else F32
        return onednn.matmul(a.astype(inner), b.astype(inner), transpose_b=transpose_b, dtype=out).astype(dtype)
    b = b.mT if transpose_b else b
    return jnp.matmul(a, b, precision=precision(a.dtype), preferred_element_type=dtype)


def _forward(transpose_b: bool, dtype: DTypeLike, a: Array, b: Array) -> tuple[Array, tuple[Array, Array]]:
    return _matmul(transpose_b, dtype, a, b), (a, b)


def _backward(transpose_b: bool, _: DTypeLike, saved: tuple[Array, Array], gradient: Array) -> tuple[Array, Array]:
    (a, b), gradient = saved, gradient.astype(saved[0].dtype)
    to_a = matmul(gradient, b, transpose_b=not transpose_b, dtype=a.dtype)
    if b.ndim == 2:  # one matrix for all of `a`: its gradient is a sum over all rows
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
    """Compute the attention softmax(q k^T / sqrt(c) + bias) v: the softmax in float32, the result in v's dtype."""
    logits, scale = matmul(q, k, transpose_b=True), q.shape[-1] ** -0.5
    if bias is not None:
        logits, scale = logits * scale + bias, 1.0
    highest = jax.lax.stop_gradient(fold(jnp.maximum, logits, -1).max(-1, keepdims=True))
    weights = jnp.exp((logits - highest) * scale).astype(v.dtype)
    # Division after the product is cheaper, because the product has fewer numbers.
    sums = fold(jnp.add, weights.astype(F32), -1).sum(-1, keepdims=True)
    return (matmul(weights, v) / sums).astype(v.dtype)

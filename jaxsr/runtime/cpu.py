"""What XLA's CPU backend is told, and what it is slow at by itself."""

from collections.abc import Callable
from functools import cache
from pathlib import Path

import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Num

CPUINFO = Path("/proc/cpuinfo")

# XLA's own convolutions, products and loops, not the library that jax 0.10 hands them to: `tiny-x4` takes 0.83 of the
# time, the released UNet 0.85, its autoencoder 1.07 (0.8 to 0.9 on an Intel CPU).
OPTIONS = {"xla_cpu_experimental_ynn_fusion_type": ""}


@cache
def fast_bfloat16() -> bool:
    """Whether this CPU multiplies bfloat16 faster than float32; False where /proc/cpuinfo does not say.

    So do those with AMX (Intel, from Sapphire Rapids) and AMD's with AVX-512 BF16, but not Intel's with that alone.
    """
    lines = CPUINFO.read_text().splitlines() if CPUINFO.is_file() else []
    words = {word for line in lines if line.startswith(("flags", "vendor_id")) for word in line.split()}
    return "amx_bf16" in words or {"avx512_bf16", "AuthenticAMD"} <= words


def product_dtype(dtype: DTypeLike) -> DTypeLike:
    """In what values of this dtype are multiplied on this CPU."""
    return jnp.float32 if dtype == jnp.bfloat16 and not fast_bfloat16() else dtype


def fold(combine: Callable[[Array, Array], Array], x: Num[Array, "..."], axis: int) -> Num[Array, "..."]:
    """The quarters of `x` along an axis combined, as the first part of a reduction.

    XLA's CPU backend uses vectors for a reduction of what lies in memory, and for elementwise operations, but not for
    the reduction of values that it computes first: a sum of squares takes 2 to 10 times as long as in this way.
    """
    if jax.default_backend() != "cpu" or x.shape[axis] % 4:
        return x
    first, second, third, fourth = jnp.split(x, 4, axis)
    return jax.lax.optimization_barrier(combine(combine(first, second), combine(third, fourth)))

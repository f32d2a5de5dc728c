"""Settings for XLA's CPU backend, and replacements for operations at which it is slow."""

import platform
from collections.abc import Callable
from functools import cache
from pathlib import Path

import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Num

CPUINFO = Path("/proc/cpuinfo")

# Use XLA's own convolutions, products and loops instead of the library to which jax 0.10 passes them. `tiny-x4` then
# takes 0.83 of the time, the released UNet 0.85, and its autoencoder 1.07 (0.8 to 0.9 on an Intel CPU).
OPTIONS = {"xla_cpu_experimental_ynn_fusion_type": ""}


@cache
def fast_bfloat16() -> bool:
    """Return whether this CPU multiplies bfloat16 faster than float32. False if /proc/cpuinfo does not say.

    CPUs with AMX (Intel, from Sapphire Rapids) do, and AMD CPUs with AVX-512 BF16. Intel CPUs with AVX-512 BF16 alone
    do not.
    """
    lines = CPUINFO.read_text().splitlines() if CPUINFO.is_file() else []
    words = {word for line in lines if line.startswith(("flags", "vendor_id")) for word in line.split()}
    return "amx_bf16" in words or {"avx512_bf16", "AuthenticAMD"} <= words


@cache
def processor() -> str:
    """Return the name of this machine's processor, as /proc/cpuinfo or Python says it; a result may depend on it."""
    lines = CPUINFO.read_text(errors="replace").splitlines() if CPUINFO.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def product_dtype(dtype: DTypeLike) -> DTypeLike:
    """Return the dtype in which this CPU multiplies values of `dtype`: float32 for bfloat16 that is not fast."""
    return jnp.float32 if dtype == jnp.bfloat16 and not fast_bfloat16() else dtype


def fold(combine: Callable[[Array, Array], Array], x: Num[Array, "..."], axis: int) -> Num[Array, "..."]:
    """Combine the four quarters of `x` along an axis, as the first part of a reduction.

    XLA's CPU backend uses vectors for elementwise operations and for reductions of stored values. It does not use them
    for reductions of values that it computes on the way: a sum of squares then takes 2 to 10 times as long as with this
    function. Returns `x` itself on other backends, and if the axis is not divisible by four.
    """
    if jax.default_backend() != "cpu" or x.shape[axis] % 4:
        return x
    first, second, third, fourth = jnp.split(x, 4, axis)
    return jax.lax.optimization_barrier(combine(combine(first, second), combine(third, fourth)))

"""What XLA's CPU backend is told, and how bfloat16 is multiplied there.

XLA's CPU backend has no bfloat16 convolution: it computes in float32 and rounds. Its matrix products of bfloat16 with a
float32 result do use the CPU's own instructions, with which it is, against its products of float32,

    with AMX (Intel, Sapphire Rapids)           about 3 times as fast
    with AVX-512 BF16 on AMD's CPUs             2 times as fast
    with AVX-512 BF16 on Intel's, without AMX   0.7 times as fast

(where these numbers come from: docs/performance.md), so networks are made of such products on the two first, and left
to XLA on all other CPUs.
"""

from functools import cache
from pathlib import Path

import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

CPUINFO = Path("/proc/cpuinfo")
_LIBRARY = "xla_cpu_experimental_ynn_fusion_type"

# XLA's own convolutions, products and loops, not the library that jax 0.10 hands them to: `tiny-x4` takes 0.83 of the
# time, the released UNet 0.85, its autoencoder 1.07 (0.8 to 0.9 on an Intel CPU).
OPTIONS = {_LIBRARY: ""}
# The library has the bfloat16 products.
PRODUCTS_OPTIONS = {_LIBRARY: "LIBRARY_FUSION_TYPE_INDIVIDUAL_DOT"}


@cache
def fast_bfloat16() -> bool:
    """Whether this CPU multiplies bfloat16 much faster than float32; False where /proc/cpuinfo does not say."""
    lines = CPUINFO.read_text().splitlines() if CPUINFO.is_file() else []
    words = {word for line in lines if line.startswith(("flags", "vendor_id")) for word in line.split()}
    return "amx_bf16" in words or {"avx512_bf16", "AuthenticAMD"} <= words


def by_products(dtype: DTypeLike) -> bool:
    """Whether a network of this compute dtype is made of matrix products: of bfloat16, on CPUs that gain by it."""
    return dtype == jnp.bfloat16 and jax.default_backend() == "cpu" and fast_bfloat16()


def result_dtype(dtype: DTypeLike) -> DTypeLike:
    """In what a product of values of this dtype is to be asked for: only with float32 results is bfloat16 fast here."""
    return jnp.float32 if by_products(dtype) else dtype

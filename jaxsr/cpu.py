"""What XLA's CPU backend is told, and whether bfloat16 is multiplied by the CPU's own instructions there.

XLA's CPU backend has no bfloat16 convolution: it computes in float32 and rounds. Its matrix products of bfloat16 with a
float32 result do use the CPU's instructions. What these are worth differs: with AMX, or on AMD's CPUs, they are two to
four times as fast as float32, on an Intel CPU with AVX-512 alone they are slower. So that is measured.
"""

import time
from collections.abc import Mapping
from functools import cache

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
from jax.typing import DTypeLike

_LIBRARY = "xla_cpu_experimental_ynn_fusion_type"

# XLA's own convolutions, products and loops, not the library that jax 0.10 hands them to: `tiny-x4` takes 0.83 of the
# time, the released UNet 0.85, its autoencoder 1.07.
OPTIONS = {_LIBRARY: ""}
# The library has the bfloat16 products.
PRODUCTS_OPTIONS = {_LIBRARY: "LIBRARY_FUSION_TYPE_INDIVIDUAL_DOT"}

WORTH_IT = 1.4  # convolutions by products copy more than XLA's own
_SHAPES = ((1024, 1152), (1152, 256))  # of a 3x3 convolution of 1024 positions and 128 channels
_RUNS = 12


def by_products(dtype: DTypeLike) -> bool:
    """Whether a network of this compute dtype is made of matrix products: of bfloat16, on CPUs that gain by it."""
    return dtype == jnp.bfloat16 and jax.default_backend() == "cpu" and bfloat16_gain() >= WORTH_IT


def result_dtype(dtype: DTypeLike) -> DTypeLike:
    """In what a product of values of this dtype is to be asked for: only with float32 results is bfloat16 fast here."""
    return jnp.float32 if by_products(dtype) else dtype


@cache
def bfloat16_gain() -> float:
    """How much faster this CPU multiplies bfloat16 than float32: the fastest of some turns, measured once (0.2 s).

    May be called while something else is traced.
    """
    calls = [_product(np.float32, OPTIONS), _product(ml_dtypes.bfloat16, PRODUCTS_OPTIONS)]
    float32, bfloat16 = np.min([[_seconds(*call) for call in calls] for _ in range(_RUNS)], axis=0)
    return float(float32 / bfloat16)


def _product(dtype: DTypeLike, options: Mapping[str, str]) -> tuple[jax.stages.Compiled, list[np.ndarray]]:
    """A compiled matrix product with a float32 result, and its arguments."""
    arguments = [np.ones(shape, dtype) for shape in _SHAPES]
    product = jax.jit(lambda a, b: jax.lax.dot(a, b, preferred_element_type=jnp.float32))
    lowered = product.lower(*(jax.ShapeDtypeStruct(x.shape, x.dtype) for x in arguments))
    try:
        return lowered.compile(compiler_options=dict(options)), arguments
    except jax.errors.JaxRuntimeError:  # a jaxlib that does not know the option
        return lowered.compile(), arguments


def _seconds(product: jax.stages.Compiled, arguments: list[np.ndarray]) -> float:
    began = time.perf_counter()
    jax.block_until_ready(product(*arguments))
    return time.perf_counter() - began

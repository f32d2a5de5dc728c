"""Convolutions and matrix products by oneDNN, which jaxlib for x86-64 Linux contains as part of XLA's CPU backend.

By default XLA uses its own kernels. This module calls oneDNN's kernels through the custom calls that XLA itself would
emit for these operations (`xla/service/cpu/onednn_config.proto` describes them). Compared with XLA's kernels,
convolutions take 0.7 to 0.85 of the time in float32, and on CPUs with AMX a sixth to an eighth in bfloat16
(docs/performance.md).

Programs with such calls must never be serialised, for example into JAX's persistent compilation cache, because jaxlib
reads them back as calls of another kind. Operations therefore do not call oneDNN while that cache is on, nor with
`JAXSR_ONEDNN=off` in the environment. The first call turns the cache off for the rest of the process.
"""

import json
import os
import platform
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache, partial
from importlib.metadata import version

import jax
import jax.numpy as jnp
import numpy as np
from jax.custom_batching import custom_vmap
from jax.experimental.compilation_cache import compilation_cache
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from jaxsr.runtime.varying import vary_alike

# The first and the last tested version of jaxlib. In an untested one, a wrong description of a call kills the process.
TESTED = ((0, 10), (0, 12))

DTYPES = (jnp.float32, jnp.bfloat16)  # other dtypes, or shapes that do not fit, would kill the process

Padding = tuple[tuple[int, int], tuple[int, int]]


_off: ContextVar[bool] = ContextVar("off", default=False)


@contextmanager
def off() -> Iterator[None]:
    """Trace programs without oneDNN's calls, for other machines than this one."""
    token = _off.set(True)
    try:
        yield
    finally:
        _off.reset(token)


def active() -> bool:
    """Return whether operations that are traced now should call oneDNN. Changes nothing.

    True on a single CPU device if oneDNN is usable and the persistent compilation cache is off. XLA cannot partition a
    custom call over several devices.
    """
    if _off.get() or os.environ.get("JAXSR_ONEDNN") == "off" or cache_is_on():
        return False
    return jax.default_backend() == "cpu" and jax.device_count() == 1 and usable()


def cache_is_on() -> bool:
    """Return whether JAX caches compiled programs between processes."""
    return all(jax.config.values[name] for name in ("jax_enable_compilation_cache", "jax_compilation_cache_dir"))


def _set_cache(on: bool) -> None:
    """Turn the persistent compilation cache on or off, and close a cache that is open."""
    if jax.config.values["jax_enable_compilation_cache"] != on:
        jax.config.update("jax_enable_compilation_cache", on)
    compilation_cache.reset_cache()


@cache
def usable() -> bool:
    """Return whether this jaxlib contains oneDNN in a version whose calls were tested, and computes correctly with it.

    A trial call decides. It turns the persistent cache off, and this function restores the cache's setting afterwards.
    """
    release = tuple(map(int, re.findall(r"\d+", version("jaxlib"))[:2]))
    machine = (platform.system(), platform.machine())
    if machine != ("Linux", "x86_64") or not TESTED[0] <= release <= TESTED[1]:
        return False
    before = jax.config.values["jax_enable_compilation_cache"]
    try:
        return _works()
    finally:
        _set_cache(before)


def _works() -> bool:
    """Return whether oneDNN computes a small convolution and a small product of whole numbers exactly."""
    x, ones = np.arange(48, dtype=np.float32).reshape(1, 4, 4, 3), np.ones((1, 1, 3, 2), np.float32)
    try:
        with jax.ensure_compile_time_eval(), jax.default_device(jax.local_devices(backend="cpu")[0]):
            convolved = jax.jit(lambda x, k: convolve(x, k, (1, 1), ((0, 0), (0, 0))))(x, ones)
            product = jax.jit(matmul)(x, ones[0, 0])
    except jax.errors.JaxRuntimeError:  # a jaxlib built without oneDNN
        return False
    return bool(np.array_equal(convolved, x @ ones[0, 0]) and np.array_equal(product, x @ ones[0, 0]))


def convolve(
    x: Float[Array, "b h w i"], kernel: Float[Array, "_kh _kw i o"], strides: tuple[int, int], padding: Padding
) -> Float[Array, "b _h _w o"]:
    """Convolve with zero padding, NHWC and HWIO, in the common dtype of both arguments. Not differentiable."""
    return _mapped(partial(_convolve, strides=strides, padding=padding))(x, kernel)


def _convolve(x: Array, kernel: Array, *, strides: tuple[int, int], padding: Padding) -> Array:
    if (x.shape[-1], x.dtype) != (kernel.shape[2], kernel.dtype) or x.dtype not in DTYPES or min(*sum(padding, ())) < 0:
        raise ValueError(f"onednn.convolve: {x.dtype}{x.shape}, {kernel.dtype}{kernel.shape} and {padding} do not fit.")
    sides = zip(x.shape[1:3], kernel.shape[:2], strides, padding, strict=True)
    out = [(size + sum(pads) - taps) // stride + 1 for size, taps, stride, pads in sides]
    image = {"dims": 4, "data": {"batch_dim": 0, "feature_dim": 3, "spatial_dims": [1, 2]}}
    window = {
        "pad_left": [low for low, _ in padding],
        "pad_right": [high for _, high in padding],
        "strides": strides,
        "window_dilations": [1, 1],
    }
    config = {
        "dims": 4,
        "input": image,
        "kernel": {"dims": 4, "filter": {"input_feature_dim": 2, "output_feature_dim": 3, "spatial_dims": [0, 1]}},
        "output": image,
        "window": window,
        "feature_groups": 1,
    }
    return _call("convolution", {"onednn_conv_config": config}, (x.shape[0], *out, kernel.shape[3]), x.dtype)(x, kernel)


def matmul(
    a: Float[Array, "*n m k"], b: Float[Array, "*_n _k _o"], transpose_b: bool = False, dtype: DTypeLike = jnp.float32
) -> Float[Array, "*n m _o"]:
    """Multiply matrices over the last two axes, with the result in `dtype`. Not differentiable.

    `b` has either the leading axes of `a`, with one matrix for each matrix of `a`, or no leading axes: then it
    multiplies all matrices of `a`.
    """
    product = partial(_matmul, transpose_b=transpose_b, dtype=dtype)
    if b.ndim > 2:
        return _mapped(product, pairs=True)(a, b)
    return _mapped(product)(a.reshape(-1, a.shape[-1]), b).reshape(*a.shape[:-1], -1)


def _matmul(a: Array, b: Array, *, transpose_b: bool, dtype: DTypeLike) -> Array:
    inner, outputs = b.shape[-2:] if not transpose_b else b.shape[:-3:-1]
    fits = a.shape[:-2] == b.shape[:-2] and (a.shape[-1], a.dtype) == (inner, b.dtype)
    if not fits or a.dtype not in DTYPES or dtype not in (a.dtype, jnp.float32):
        raise ValueError(f"onednn.matmul: {a.dtype}{a.shape} and {b.dtype}{b.shape} to {dtype} do not fit.")
    config = {"onednn_matmul_config": {"transpose_a": False, "transpose_b": transpose_b}}
    return _call("matmul", config, (*a.shape[:-1], outputs), dtype)(a, b)


def _call(name: str, config: dict, shape: tuple[int, ...], dtype: DTypeLike) -> Callable[[Array, Array], Array]:
    """Make the custom call. This turns the persistent cache off, because the program must not be serialised."""
    _set_cache(False)
    call = jax.ffi.ffi_call(
        f"__onednn${name}",
        jax.ShapeDtypeStruct(shape, jnp.dtype(dtype)),
        custom_call_api_version=2,
        legacy_backend_config=json.dumps(config),
    )
    # Without `vary_alike`, JAX would assume inside of `shard_map` that the result is equal on all devices.
    return lambda first, second: vary_alike(call(first, second), first, second)[0]


def _mapped(operation: Callable[[Array, Array], Array], *, pairs: bool = False) -> Callable[[Array, Array], Array]:
    """Give an operation a rule for `vmap`: merge the mapped axis into images, rows or `pairs`, otherwise loop over it.

    With `pairs`, both arguments have the same leading axes.
    """
    mapped = custom_vmap(operation)

    @mapped.def_vmap
    def _(size: int, axes: list[bool], first: Array, second: Array) -> tuple[Array, bool]:
        if pairs and axes[0] and not axes[1]:  # the mapped axis gives each matrix `b` more rows
            rows = mapped(_merge(jnp.moveaxis(first, 0, -3), -3), second)
            return jnp.moveaxis(rows.reshape(*rows.shape[:-2], size, -1, rows.shape[-1]), -3, 0), True
        if not axes[0]:
            first = jnp.broadcast_to(first, (size, *first.shape))
        if axes[1] and not pairs:
            return jax.lax.map(lambda both: mapped(*both), (first, second)), True
        merged = mapped(_merge(first, 0), _merge(second, 0) if pairs else second)
        return merged.reshape(size, -1, *merged.shape[1:]), True

    return mapped


def _merge(x: Array, axis: int) -> Array:
    """Merge an axis with the next one."""
    axis %= x.ndim
    return x.reshape(*x.shape[:axis], -1, *x.shape[axis + 2 :])

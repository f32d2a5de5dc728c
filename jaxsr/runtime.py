"""Process-wide settings of JAX for the commands: compilation cache and compiler options."""

import os
import sys
import tempfile
from functools import cache
from pathlib import Path

import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from jaxsr import cpu
from jaxsr.registry import cache_dir


def enable_compilation_cache() -> Path | None:
    """Keep compiled programs between runs, in `JAXSR_CACHE_DIR` (see `cache_dir`); `JAXSR_CACHE=off` does not.

    Returns the folder, or None where the cache is off, was already set by the user through JAX's own settings, or
    cannot be kept in the folder, which one line on stderr says.
    """
    if os.environ.get("JAXSR_CACHE") == "off" or jax.config.values["jax_compilation_cache_dir"]:
        return None
    folder = cache_dir() / "xla"
    try:
        _try_folder(folder)
    except OSError as error:
        reason = f"{folder}: {error.strerror}"
        print(
            f"note: compiled programs are not kept ({reason}); set JAXSR_CACHE_DIR, or JAXSR_CACHE=off", file=sys.stderr
        )
        return None
    jax.config.update("jax_compilation_cache_dir", str(folder))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    return folder


def _try_folder(folder: Path) -> None:
    """Make the folder, list it, and write a file that is gone at once; OSError where that cannot be done."""
    folder.mkdir(parents=True, exist_ok=True)
    os.listdir(folder)
    with tempfile.TemporaryFile(dir=folder) as file:
        file.write(b"0")


@cache
def compiler_options(dtype: DTypeLike = jnp.float32) -> dict[str, str] | None:
    """Options for `jax.jit(..., compiler_options=)` of a network with this compute dtype, on the default backend; None
    where there is nothing to set."""
    if jax.default_backend() != "cpu":
        return None
    options = cpu.PRODUCTS_OPTIONS if cpu.by_products(dtype) else cpu.OPTIONS
    try:
        jax.jit(lambda x: x + 1, compiler_options=options)(0)
    except jax.errors.JaxRuntimeError:
        return None  # a jaxlib that does not know the option: any other error would come again without it
    return options

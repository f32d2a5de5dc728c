"""Process-wide settings of JAX: the persistent compilation cache and the compiler options."""

import os
import sys
import tempfile
from functools import cache
from pathlib import Path

import jax

from jaxsr.runtime import cpu, onednn
from jaxsr.storage import cache_dir

WIDE = 128
"""Width in channels from which oneDNN saves a network more time than compilation in every process costs."""


def enable_compilation_cache(width: int | None = None, precision: str = "fp32") -> Path | None:
    """Keep compiled programs between runs, in `xla` below `jaxsr.storage.cache_dir()`. `JAXSR_CACHE=off` disables it.

    Programs that call oneDNN are never cached, because jaxlib cannot serialise these calls (see
    `jaxsr.runtime.onednn`). Wide networks and fast bfloat16 gain more from oneDNN than from the cache, and therefore
    run uncached. A process that has called oneDNN caches no programs, and a process that caches programs does not call
    oneDNN.

    Args:
        width: channels of the first level of the network that will run, or None if no network will run.
        precision: compute precision of that network, `fp32` or `bf16`.
    Returns:
        the folder of the cache. None if the cache stays off, if the user has set a folder through JAX's own settings,
        or if the folder cannot be written; one line on stderr reports the last case.
    """
    if not may_keep_programs() or jax.config.values["jax_compilation_cache_dir"]:
        return None
    wide = width is not None and width >= WIDE
    if (wide or (precision == "bf16" and cpu.fast_bfloat16())) and onednn.active():
        return None
    folder = None
    try:
        folder = cache_dir() / "xla"
        try_folder(folder)
    except OSError as error:
        reason = f"{folder}: {error.strerror}" if folder else error.strerror
        print(
            f"note: compiled programs are not kept ({reason}); set JAXSR_CACHE_DIR, or JAXSR_CACHE=off", file=sys.stderr
        )
        return None
    jax.config.update("jax_compilation_cache_dir", str(folder))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    return folder


def may_keep_programs() -> bool:
    """Return whether neither `JAXSR_CACHE=off` nor JAX's own setting forbids to keep programs between processes."""
    return os.environ.get("JAXSR_CACHE") != "off" and jax.config.values["jax_enable_compilation_cache"]


def try_folder(folder: Path) -> None:
    """Create the folder, list it, and write a temporary file into it. Raises OSError if one of these fails."""
    folder.mkdir(parents=True, exist_ok=True)
    os.listdir(folder)
    with tempfile.TemporaryFile(dir=folder) as file:
        file.write(b"0")


@cache
def compiler_options() -> dict[str, str] | None:
    """Return the options for `jax.jit(..., compiler_options=)` on the default backend, or None if it needs none."""
    if jax.default_backend() != "cpu":
        return None
    try:
        jax.jit(lambda x: x + 1, compiler_options=dict(cpu.OPTIONS))(0)
    except jax.errors.JaxRuntimeError:
        return None  # this jaxlib does not know the option; any other error would occur again without the option
    return dict(cpu.OPTIONS)

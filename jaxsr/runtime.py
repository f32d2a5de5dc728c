"""Process-wide settings of JAX for the commands: compilation cache and compiler options."""

import os
import sys
import tempfile
from functools import cache
from pathlib import Path

import jax

from jaxsr import cpu, onednn
from jaxsr.models.presets import Preset
from jaxsr.registry import cache_dir

WIDE = 128  # channels of a network from which oneDNN is worth compiling anew in each process


def enable_compilation_cache(preset: Preset | None = None, precision: str = "fp32") -> Path | None:
    """Keep compiled programs between runs, in `JAXSR_CACHE_DIR` (see `cache_dir`); `JAXSR_CACHE=off` does not.

    Nor are the programs of a preset and precision kept that gain more by oneDNN, whose calls cannot be (see
    `jaxsr.onednn`): wide networks, and bfloat16 on CPUs that multiply it fast. A process that has called oneDNN keeps
    no programs at all, and one that keeps programs does not call it.

    Returns the folder, or None where the cache stays off, was already set by the user through JAX's own settings, or
    cannot be kept in the folder, which one line on stderr says.
    """
    values = jax.config.values
    if os.environ.get("JAXSR_CACHE") == "off" or not values["jax_enable_compilation_cache"]:
        return None
    if values["jax_compilation_cache_dir"]:
        return None
    wide = preset is not None and preset.network.model_channels >= WIDE
    if (wide or (precision == "bf16" and cpu.fast_bfloat16())) and onednn.active():
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
def compiler_options() -> dict[str, str] | None:
    """Options for `jax.jit(..., compiler_options=)` on the default backend; None where there is nothing to set."""
    if jax.default_backend() != "cpu":
        return None
    try:
        jax.jit(lambda x: x + 1, compiler_options=dict(cpu.OPTIONS))(0)
    except jax.errors.JaxRuntimeError:
        return None  # a jaxlib that does not know the option: any other error would come again without it
    return dict(cpu.OPTIONS)

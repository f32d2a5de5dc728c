"""Lowered programs and shapes of networks that a command keeps between processes.

JAX's own cache spares a process the compilation of a program, but not the tracing before it, which takes as long as
the import of JAX for a Swin U-Net. This module keeps what the tracing makes (see `jax.export`), in `lowered` below
`jaxsr.storage.cache_dir()`. The name of a file is the hash of all that made it: the package's source, the versions of
what it calls, JAX's settings, the CPU, the model, its options, and the shapes of the arguments. The source on disk
stands for the code in memory, so a program that replaces parts of the package while it runs must not call
`keep_lowered`.
"""

import hashlib
import json
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

import jax
import jax.export

import jaxsr
from jaxsr.runtime import cpu
from jaxsr.storage import cache_dir, write_whole

_DIGEST = 32
"""Bytes of a SHA-256, with which a file begins."""
_CACHE_SETTINGS = "jax_compilation_cache", "jax_persistent_cache", "jax_enable_compilation_cache"
"""How the names of those settings begin that change no program."""
_folder: Path | None = None


def keep_lowered() -> None:
    """Keep lowered programs and shapes from now on. `JAXSR_CACHE=off` and a user without a home prevent it."""
    global _folder
    if os.environ.get("JAXSR_CACHE") == "off" or not jax.config.values["jax_enable_compilation_cache"]:
        return
    try:
        _folder = cache_dir() / "lowered"
    except OSError:
        _folder = None


def kept(function: Callable[..., Any], made_of: str) -> Callable[..., Any]:
    """Make a function for `jax.jit`, which reads the lowered form of `function` instead of tracing it.

    The first process traces the function and writes the file. A function runs as it is where nothing is kept, where
    compiled programs are not cached, or where JAX cannot export it.

    Args:
        function: a pure function of arrays, or of trees of arrays, for one device. Its result is one array.
        made_of: text that differs for functions that differ.
    """

    def read(*arguments: Any) -> Any:
        if _folder is None or not jax.config.values["jax_compilation_cache_dir"]:
            return function(*arguments)
        leaves, tree = jax.tree.flatten(arguments)
        shapes = [jax.ShapeDtypeStruct(leaf.shape, leaf.dtype) for leaf in leaves]

        def lower() -> bytes:
            flat = jax.jit(lambda *leaves: function(*jax.tree.unflatten(tree, leaves)))
            return bytes(jax.export.export(flat)(*shapes).serialize())

        try:
            content = kept_bytes(f"{made_of} {tree} {shapes}", lower)
            exported = jax.export.deserialize(bytearray(content))
        except (ValueError, NotImplementedError):  # such as a call that may not leave the process
            return function(*arguments)
        return exported.call(*leaves)

    return read


def kept_json(made_of: str, make: Callable[[], Any]) -> Any:
    """Return what `make` returns as JSON has it, from an earlier process if it is kept."""
    return json.loads(kept_bytes(made_of, lambda: json.dumps(make()).encode()))


def kept_bytes(made_of: str, make: Callable[[], bytes]) -> bytes:
    """Return what `make` returns, from an earlier process if it is kept. A damaged file is made again."""
    if _folder is None:
        return make()
    path = _folder / hashlib.sha256(f"{_surroundings()} {made_of}".encode()).hexdigest()
    with suppress(OSError):  # it may be missing
        content = path.read_bytes()
        if hashlib.sha256(content[_DIGEST:]).digest() == content[:_DIGEST]:
            return content[_DIGEST:]
    content = make()
    with suppress(OSError):  # then the next process makes it again
        write_whole(path, hashlib.sha256(content).digest() + content)
    return content


@cache
def _surroundings() -> str:
    """Describe what a lowered program depends on beside the model, its options and the shapes."""
    versions = [metadata.version(name) for name in ("jax", "jaxlib", "flax", "numpy")]
    settings = [item for item in sorted(jax.config.values.items()) if not item[0].startswith(_CACHE_SETTINGS)]
    machine = jax.default_backend(), jax.devices()[0].device_kind, cpu.fast_bfloat16()
    return f"{_source()} {sys.version} {versions} {settings} {machine} {os.environ.get('JAXSR_ONEDNN')}"


def _source() -> str:
    digest = hashlib.sha256()
    for path in sorted(Path(jaxsr.__file__).parent.rglob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()

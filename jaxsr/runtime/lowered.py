"""Lowered programs and shapes of networks that a command keeps between processes.

JAX's own cache spares a process the compilation of a program, but not the tracing before it, which takes as long as
the import of JAX for a Swin U-Net. This module keeps what the tracing makes (see `jax.export`), in `lowered` below
`jaxsr.storage.cache_dir()`. Every version of the package and of what it calls has a folder of its own there. The name
of a file is the hash of all else that made it: JAX's settings, the processor, the model, its options, and the shapes of
the arguments. The source on disk stands for the code in memory, so a program that replaces parts of the package while
it runs must not call `keep_lowered`.
"""

import hashlib
import json
import os
import shutil
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import jax
import jax.export

from jaxsr.runtime import cpu, onednn
from jaxsr.runtime.compilation import may_keep_programs
from jaxsr.storage import cache_dir, write_whole

VERSIONS = 4
"""Folders that stay. The one used least recently goes when another is made."""
_DIGEST = 32
"""Bytes of a SHA-256, with which a file begins."""
_CACHE_SETTINGS = "jax_compilation_cache", "jax_persistent_cache", "jax_enable_compilation_cache"
"""How the names of the cache's settings begin. Where they turn it off, no program is kept or read."""
_PACKAGE = Path(__file__).parents[1]
_folder: Path | None = None


def keep_lowered() -> None:
    """Keep lowered programs and shapes from now on. Call it before the modules of networks are imported.

    Nothing is kept if `JAXSR_CACHE` is `off`, or where the package's source or the folder of the cache is missing or
    cannot be read.
    """
    global _folder
    _folder = None
    if not may_keep_programs():
        return
    try:
        version = _version()
        folder = cache_dir() / "lowered" / version
        if version:
            _make_folder(folder)
            _folder = folder
    except OSError:
        pass  # a note about the folder of compiled programs tells the user


def kept(function: Callable[..., Any], made_of: str) -> Callable[..., Any]:
    """Make a function for `jax.jit`, which reads the lowered form of `function` instead of tracing it.

    The first process traces the function and writes the file. A function runs as it is where nothing is kept, where
    compiled programs are not cached, or where JAX cannot export it.

    Args:
        function: a pure function of arrays, or of trees of arrays, for one device. Its result is one array.
        made_of: text that differs for functions that differ.
    """

    def read(*arguments: Any) -> Any:
        if _folder is None or not onednn.cache_is_on():
            return function(*arguments)
        leaves, tree = jax.tree.flatten(arguments)
        shapes = [jax.ShapeDtypeStruct(leaf.shape, leaf.dtype) for leaf in leaves]

        def lower() -> bytes:
            flat = jax.jit(lambda *leaves: function(*jax.tree.unflatten(tree, leaves)))
            return bytes(jax.export.export(flat)(*shapes).serialize())

        name = f"{made_of} {tree} {shapes}"
        try:
            content = kept_bytes(name, lower)
        except (ValueError, NotImplementedError, ImportError):  # such as a call that may not leave the process
            return function(*arguments)
        try:
            exported = jax.export.deserialize(bytearray(content))
        except Exception:  # whatever the parser of another build says, the function itself is there
            with suppress(OSError):
                _path(name).unlink()
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
    path = _path(made_of)
    with suppress(OSError):  # it may be missing
        content = path.read_bytes()
        if hashlib.sha256(content[_DIGEST:]).digest() == content[:_DIGEST]:
            return content[_DIGEST:]
    content = make()
    with suppress(OSError):  # then the next process makes it again
        if _version() == path.parent.name:  # else the source has changed since this process read it
            write_whole(path, hashlib.sha256(content).digest() + content)
    return content


def _path(made_of: str) -> Path:
    assert _folder is not None
    settings = [item for item in sorted(jax.config.values.items()) if not item[0].startswith(_CACHE_SETTINGS)]
    machine = jax.default_backend(), jax.devices()[0].device_kind, cpu.processor(), cpu.fast_bfloat16()
    return _folder / hashlib.sha256(f"{settings} {machine} {made_of}".encode()).hexdigest()


def _version() -> str:
    """Hash the source of the package and the versions of what it calls; empty where the source is not in files."""
    digest, files = hashlib.sha256(), sorted(_PACKAGE.rglob("*.py"))
    for path in files:
        content = path.read_bytes()
        digest.update(f"{path.relative_to(_PACKAGE)} {len(content)}\n".encode() + content)
    import flax
    import jaxlib.version
    import numpy as np

    digest.update(
        f"{sys.version} {jax.__version__} {jaxlib.version.__version__} {flax.__version__} {np.__version__}".encode()
    )
    return digest.hexdigest()[:16] if files else ""


def _make_folder(folder: Path) -> None:
    """Make the folder of a version, note that it is used, and remove those that were used least recently."""
    if not folder.is_dir():
        folder.mkdir(parents=True)
        others = sorted(folder.parent.iterdir(), key=lambda path: path.stat().st_mtime, reverse=True)
        for path in others[VERSIONS:]:
            shutil.rmtree(path, ignore_errors=True)
    os.utime(folder)

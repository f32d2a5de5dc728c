"""The format of `torch.save` before PyTorch 1.6. Older torchvision files and the heads of LPIPS and DISTS have it.

A file begins with five pickles: a magic number, the version, the machine, the object, and the keys of its storages. The
storages follow in the order of the keys, each as the number of its elements (int64) and the elements. There are no
checksums.
"""

import struct
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO

from jaxsr.torch_files.unpickle import BrokenPickleError, Constructor, UnsafePickleError, loads, shown

MAGIC = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19"  # the magic number, pickled
VERSION = 1001

MakeStorage = Callable[[str, int, int], tuple[Any, int]]
"""Takes the kind of a storage, its first byte and its number of elements; returns it and its length in bytes."""


def read_legacy(path: Path, constructors: Mapping[str, Constructor], make_storage: MakeStorage) -> Any:
    """Read the object in a file. `make_storage` makes its storages, and `constructors` make everything else.

    The object is read twice. The first pass collects its storages, whose kinds and sizes give their positions behind
    the object. The second pass builds the object with these storages.

    Raises UnsafePickleError and BrokenPickleError as `loads` does; EOFError or struct.error for a truncated file.
    """
    with open(path, "rb") as file:
        loads(file, {}, _refuse)
        version, machine = loads(file, {}, _refuse), loads(file, {}, _refuse)
        if version != VERSION or not isinstance(machine, dict) or machine.get("little_endian") is not True:
            raise BrokenPickleError("it has an unknown version or comes from a big-endian machine")
        begin = file.tell()
        storages = _find_storages(file, constructors, make_storage)
        file.seek(begin)
        return loads(file, constructors, lambda persistent_id: storages[persistent_id[2]])


def _find_storages(file: BinaryIO, constructors: Mapping[str, Constructor], make_storage: MakeStorage) -> dict:
    """Find every storage by its key, from the object and the keys behind it."""
    kinds: dict[str, tuple[str, int]] = {}

    def record_kind(persistent_id: Any) -> None:
        kind, constructor, key, _, numel, view = (*persistent_id, None)[:6]
        if kind != "storage" or not isinstance(constructor, Constructor):
            raise UnsafePickleError(f"it asks for an object of kind {shown(kind)}, which is not a tensor storage")
        if view is not None or not isinstance(key, str) or type(numel) is not int:
            raise BrokenPickleError("it names a storage in an unknown way")
        kinds[key] = constructor.name, numel

    loads(file, {name: _inert(constructor) for name, constructor in constructors.items()}, record_kind)
    keys = loads(file, {}, _refuse)
    if not isinstance(keys, list) or len(keys) != len(kinds) or not all(key in kinds for key in map(str, keys)):
        raise BrokenPickleError("the storages that it names are not the ones that it holds")
    storages, at = {}, file.tell()
    for key in map(str, keys):
        name, numel = kinds[key]
        file.seek(at)
        if struct.unpack("<q", file.read(8)) != (numel,):
            raise BrokenPickleError("it names a storage with a size that differs from the one that it holds")
        storages[key], size = make_storage(name, at + 8, numel)
        at += 8 + size
    return storages


def _inert(constructor: Constructor) -> Constructor:
    """Return a constructor with the same name and opcode that builds nothing."""
    return replace(constructor, build=constructor.build and (lambda *_: {}))


def _refuse(persistent_id: Any) -> Any:
    raise BrokenPickleError(f"it has a storage where none is allowed ({shown(persistent_id)})")

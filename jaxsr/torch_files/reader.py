"""The reader of state dicts in `.pth` (both formats of `torch.save`) and `.safetensors` files, without PyTorch.

It returns descriptions of tensors. Their values are memory-mapped one by one on request, so that reading costs no
memory.
"""

import math
import struct
import zipfile
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np

from jaxsr.hub.checkpoint import SAFETENSORS_TYPES
from jaxsr.plain_data import brief, listed
from jaxsr.torch_files.legacy import MAGIC, read_legacy
from jaxsr.torch_files.unpickle import (
    MOST_DIMENSIONS,
    BrokenPickleError,
    Constructor,
    Shell,
    UnsafePickleError,
    loads,
    shown,
)

# Wrappers around a state dict, in order of preference: sampling uses averaged weights.
WRAPPERS = ("ema_state_dict", "params_ema", "state_dict", "params")
PREFIXES = ("module.", "_orig_mod.")
_STORAGES = {
    "FloatStorage": np.float32,
    "DoubleStorage": np.float64,
    "HalfStorage": np.float16,
    "BFloat16Storage": ml_dtypes.bfloat16,
    "LongStorage": np.int64,
    "IntStorage": np.int32,
    "ShortStorage": np.int16,
    "CharStorage": np.int8,
    "ByteStorage": np.uint8,
    "BoolStorage": np.bool_,
}
_SAVE_AGAIN = (
    "save it again with a current PyTorch: torch.save(torch.load(OLD, map_location='cpu', weights_only=True), NEW)"
)


class ReadError(ValueError):
    """A file that holds no state dict, or whose state dict cannot be read or may not be read."""


@dataclass(frozen=True)
class Tensor:
    """A tensor in a file: its shape, its dtype, and `read`, which maps its values as a read-only array.

    An entry of a state dict that is no tensor, such as a count of steps, has the shape () and the dtype object. Its
    value is dropped.
    """

    shape: tuple[int, ...]
    dtype: np.dtype
    read: Callable[[], np.ndarray] = field(repr=False, compare=False)


_NO_TENSOR = Tensor((), np.dtype(object), lambda: np.empty((), object))


@dataclass(frozen=True)
class _Storage:
    """A storage of `numel` elements in a file: `size` raw bytes from byte `start` on."""

    path: Path
    start: int
    size: int
    checksum: int | None
    dtype: np.dtype
    numel: int

    def check(self) -> None:
        """Compare the bytes with the checksum in the zip file. The old format has no checksum."""
        if self.checksum is None:
            return
        if self.size and zlib.crc32(np.memmap(self.path, "u1", "r", self.start, (self.size,)).data) != self.checksum:
            raise ReadError(f"{self.path}: is damaged (a checksum does not match its bytes); download it again.")


def read_state_dict(path: Path) -> dict[str, Tensor]:
    """Read the state dict in a checkpoint file, without its wrappers and prefixes (`module.`, `_orig_mod.`).

    Entries that are no tensors stay in it, without their values, so that the caller decides about them by their keys.

    Raises:
        ReadError: for a file of another kind, a truncated or damaged file, a file in PyTorch's first format (tar), and
            a file that asks for anything but tensors and containers. The message is one sentence. Nothing in the file
            is executed.
        OSError: if the file cannot be opened.
    """
    with open(path, "rb") as file:
        head = file.read(512)
    if head.startswith(b"PK\x03\x04"):
        entries = _read_pickled(path, _read_zip)
    elif head.startswith(MAGIC):
        entries = _read_pickled(path, _read_legacy)
    elif head.startswith(b"storages") or head[257:262] == b"ustar":
        raise ReadError(f"{path}: is in PyTorch's first format, which jaxsr does not read; {_SAVE_AGAIN}.")
    elif head[8:9] == b"{":
        entries = _read_safetensors(path)
    else:
        raise ReadError(f"{path}: is neither a PyTorch checkpoint nor a safetensors file{_hint(head)}.")
    return _plain_names(path, _unwrap(path, entries))


def _hint(head: bytes) -> str:
    kinds = {
        b"\x89PNG": "an image",
        b"\xff\xd8\xff": "an image",
        b"<": "a web page",
        b"version https://git-lfs": "a pointer",
    }
    kind = next((kind for start, kind in kinds.items() if head.lstrip().startswith(start)), None)
    if not head:
        return " (it is empty); download it again"
    return f" but {kind}; check the name, or download it again" if kind else "; check the name, or download it again"


def _read_pickled(path: Path, read: Callable[[Path], Any]) -> Any:
    broken = (zipfile.BadZipFile, EOFError, struct.error, NotImplementedError, UnicodeDecodeError)
    try:
        return read(path)
    except (*broken, OSError) as error:  # OSError: wild offsets
        raise ReadError(f"{path}: is truncated or damaged ({brief(error, 200)}); download it again.") from error
    except UnsafePickleError as error:
        raise ReadError(
            f"{path}: refused, {error}; nothing was executed. If you trust its source, save only its tensors: "
            "torch.save(model.state_dict(), NEW)."
        ) from error
    except BrokenPickleError as error:
        raise ReadError(f"{path}: is damaged, {error}; download it again.") from error


def _read_zip(path: Path) -> Any:
    with zipfile.ZipFile(path) as archive:
        return _read_archive(path, archive)


def _read_legacy(path: Path) -> Any:
    length = path.stat().st_size

    def storage(kind: str, start: int, numel: int) -> tuple[_Storage, int]:
        dtype = np.dtype(_STORAGES.get(kind, np.void))
        if dtype == np.void or not 0 <= numel * dtype.itemsize <= length - start:
            raise BrokenPickleError("it names a storage that the file does not hold")
        size = numel * dtype.itemsize
        return _Storage(path, start, size, None, dtype, numel), size

    return read_legacy(path, _constructors(), storage)


def _read_archive(path: Path, archive: zipfile.ZipFile) -> Any:
    members = {info.filename: info for info in archive.infolist()}
    index = [name for name in members if name == "data.pkl" or name.endswith("/data.pkl")]
    if len(index) != 1 or any(name.endswith("constants.pkl") for name in members):
        raise ReadError(
            f"{path}: is a zip file but not a checkpoint of torch.save (no data.pkl, or a TorchScript program); "
            "check the name."
        )
    for info in members.values():
        if info.compress_type != zipfile.ZIP_STORED or info.compress_size != info.file_size or info.flag_bits & 1:
            name = repr(info.filename[:60])
            raise ReadError(
                f"{path}: its member {name} is compressed, which torch.save never does; the file is refused."
            )
    root = index[0].removesuffix("data.pkl")
    if root + "byteorder" in members and archive.read(root + "byteorder") != b"little":
        raise ReadError(f"{path}: was saved on a big-endian machine; {_SAVE_AGAIN}.")

    def storage(persistent_id: Any) -> _Storage:
        kind, constructor, key, _, numel = persistent_id
        if kind != "storage" or not isinstance(constructor, Constructor):
            raise UnsafePickleError(f"it asks for an object of kind {shown(kind)}, which is not a tensor storage")
        return _storage(path, members.get(f"{root}data/{key}"), constructor.name, numel)

    return loads(archive.read(index[0]), _constructors(), storage)


def _constructors() -> dict[str, Constructor]:
    """Make the table of everything that a checkpoint may name."""
    builders = {
        "collections.OrderedDict": dict,  # separate opcodes set its items
        "torch.Size": lambda items=(): tuple(items),
        "torch._utils._rebuild_tensor": _rebuild_tensor,
        "torch._utils._rebuild_tensor_v2": _rebuild_tensor,
        "torch._utils._rebuild_parameter": lambda tensor, requires_grad, hooks: tensor,
    }
    names = {f"torch.{name}": Constructor(name) for name in _STORAGES}
    names["torch.nn.parameter.Parameter"] = Constructor("Parameter", lambda *_: Shell(), "NEWOBJ")  # before 0.2
    return names | {name: Constructor(name, build) for name, build in builders.items()}


def _storage(path: Path, member: zipfile.ZipInfo | None, kind: str, numel: Any) -> _Storage:
    dtype = np.dtype(_STORAGES.get(kind, np.void))
    if (
        member is None
        or dtype == np.void
        or not isinstance(numel, int)
        or not 0 <= numel * dtype.itemsize <= member.file_size
    ):
        raise BrokenPickleError("it names a storage that the file does not hold")
    with open(path, "rb") as file:
        file.seek(member.header_offset + 26)  # the lengths in the local header differ from those in the directory
        name_length, extra_length = struct.unpack("<HH", file.read(4))
    start = member.header_offset + 30 + name_length + extra_length
    if start + member.file_size > path.stat().st_size:
        raise BrokenPickleError("it names a storage that reaches beyond the end of the file")
    return _Storage(path, start, member.file_size, member.CRC, dtype, numel)


def _rebuild_tensor(storage: Any, offset: Any, size: Any, stride: Any, *_: Any) -> Tensor:
    """Describe a tensor by offset, shape and strides into a storage, in elements; it must lie within the storage."""
    if not isinstance(storage, _Storage) or len(size) != len(stride):
        raise BrokenPickleError("it builds a tensor from an object that is not a storage")
    if len(size) > MOST_DIMENSIONS:
        raise BrokenPickleError("it has a tensor of impossible size")
    numbers = (offset, *size, *stride)
    if not all(type(n) is int and n >= 0 for n in numbers) or math.prod(size) > np.iinfo(np.intp).max // 8:
        raise BrokenPickleError("it has a tensor of impossible size")
    span = 1 + sum((n - 1) * step for n, step in zip(size, stride, strict=True)) if math.prod(size) else 0
    if offset + span > storage.numel:
        raise BrokenPickleError("it has a tensor that reaches beyond its storage")
    return Tensor(tuple(size), storage.dtype, partial(_map, storage, offset, span, tuple(size), tuple(stride)))


def _map(storage: _Storage, offset: int, span: int, size: tuple[int, ...], stride: tuple[int, ...]) -> np.ndarray:
    if span == 0:
        return np.empty(size, storage.dtype)
    storage.check()
    start, itemsize = storage.start + offset * storage.dtype.itemsize, storage.dtype.itemsize
    flat = np.memmap(storage.path, storage.dtype, "r", start, (span,))
    strides = tuple(step * itemsize for step in stride)
    return np.lib.stride_tricks.as_strided(flat, size, strides, writeable=False)


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="np") as file:
            arrays = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118  (safe_open is not a dict)
            return {name: _safetensor(path, name, piece) for name, piece in arrays.items()}
    except SafetensorError as error:
        raise ReadError(
            f"{path}: is truncated or damaged, or is not a safetensors file ({brief(error, 200)}); download it again."
        ) from error


def _safetensor(path: Path, name: str, piece: Any) -> Tensor:
    from safetensors import safe_open

    def read() -> np.ndarray:
        with safe_open(path, framework="np") as file:
            return file.get_tensor(name)

    if piece.get_dtype() not in SAFETENSORS_TYPES:
        raise ReadError(
            f"{path}: {name} has the type {piece.get_dtype()}, which no released network has; check the name."
        )
    return Tensor(tuple(piece.get_shape()), SAFETENSORS_TYPES[piece.get_dtype()], read)


def _unwrap(path: Path, entries: Any) -> Mapping[str, Any]:
    """Take the mapping of names to tensors out of the wrappers that training programs put around it."""
    for _ in range(3):  # a limit, because a pickle can contain itself
        if isinstance(entries, dict):
            entries = next((entries[name] for name in WRAPPERS if name in entries), entries)
    if isinstance(entries, dict):
        entries = {name: _content(value) for name, value in entries.items()}
    if not isinstance(entries, dict) or not any(isinstance(value, Tensor) for value in entries.values()):
        raise ReadError(
            f"{path}: holds no state dict, neither bare nor under {', '.join(WRAPPERS)}; "
            "check that it is the right file."
        )
    if others := [str(name) for name in entries if not isinstance(name, str)]:
        raise ReadError(f"{path}: its state dict has keys that are not texts: {listed(others)}; remove them.")
    return {name: value if isinstance(value, Tensor) else _NO_TENSOR for name, value in entries.items()}


def _content(value: Any) -> Any:
    """Return the tensor of a parameter of PyTorch before 0.2, the first of its five attributes; else the value."""
    state = value.state if isinstance(value, Shell) else None
    return state[0] if isinstance(state, tuple) and len(state) == 5 else value


def _plain_names(path: Path, entries: Mapping[str, Tensor]) -> dict[str, Tensor]:
    plain: dict[str, Tensor] = {}
    for key, tensor in entries.items():
        name = key
        while prefix := next((p for p in PREFIXES if name.startswith(p)), None):
            name = name.removeprefix(prefix)
        if name in plain:
            raise ReadError(f"{path}: holds {brief(name, 100)} twice, with and without a prefix.")
        plain[name] = tensor
    return plain

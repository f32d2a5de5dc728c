"""Checkpoints, one safetensors file each: flat dotted parameter names, and metadata as a JSON string in the header."""

import json
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol, TypeVar, runtime_checkable

import ml_dtypes
import numpy as np
from numpy.typing import DTypeLike
from safetensors import SafetensorError, safe_open

from jaxsr.plain_data import brief, listed, parse_json
from jaxsr.storage import whole_file

T = TypeVar("T")
FILE_NAME = "model.safetensors"
FORMAT_VERSION = 1
_HEADER_KEY = "jaxsr"
_VERSION_KEY = "format_version"

_STORAGE_DTYPES = ("bfloat16", "float16")
# In the order of safetensors itself. It sorts the entries of a file by this order, last type first.
_TYPES = "BOOL:? U8:u1 I8:i1 I16:i2 U16:u2 F16:f2 BF16:bfloat16 I32:i4 U32:u4 F32:f4 F64:f8 I64:i8 U64:u8"
SAFETENSORS_TYPES = {name: np.dtype(kind) for name, _, kind in (entry.partition(":") for entry in _TYPES.split())}
_NAMES = {kind: name for name, kind in SAFETENSORS_TYPES.items()}
_RANKS = {kind: -rank for rank, kind in enumerate(SAFETENSORS_TYPES.values())}


@runtime_checkable
class Stored(Protocol):
    """An array, or an object that becomes an array when it is written, so that not all arrays are in memory at once."""

    @property
    def shape(self) -> tuple[int, ...]: ...
    @property
    def dtype(self) -> np.dtype: ...
    def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray: ...


class CheckpointError(ValueError):
    """A checkpoint that is unreadable, or that does not fit the network."""


def save(
    folder: Path, params: Mapping[str, np.ndarray | Stored], metadata: Mapping[str, Any], *, dtype: str | None = None
) -> Path:
    """Write `params` and `metadata` to `folder/model.safetensors`, completely or not at all, and return that path.

    `params` maps flat dotted names to arrays of any memory layout. The arrays are made and written one by one. With
    `dtype`, float32 arrays are rounded to it and all others are stored unchanged. `metadata` is any JSON object
    (preset, licence, provenance) without the reserved key "format_version". Equal input gives equal bytes.

    Raises ValueError for an unknown `dtype`, for metadata that JSON cannot represent, for array types that safetensors
    does not know, and for values that become infinite in `dtype`.
    """
    if dtype is not None and dtype not in _STORAGE_DTYPES:
        raise ValueError(f"dtype {dtype!r} is not a storage type: use {', '.join(_STORAGE_DTYPES)} or None")
    types = {name: _stored_type(value.dtype, dtype) for name, value in params.items()}
    if unknown := [f"{name!r} is of type {kind}" for name, kind in types.items() if kind not in _NAMES]:
        raise ValueError(f"parameter {unknown[0]}, which safetensors cannot store: convert it to another type")
    names = sorted(params, key=lambda name: (_RANKS[types[name]], name))
    header = _header({name: (types[name], params[name].shape) for name in names}, _encode_metadata(metadata))
    target = folder / FILE_NAME
    with whole_file(target) as part, part.open("xb") as file:
        file.write(header)
        for name in names:
            file.write(_stored(name, np.asarray(params[name]), types[name]).tobytes())
    return target


def load(folder_or_file: Path, *, dtype: DTypeLike | None = None) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Read a checkpoint written by `save`, from its folder or its file, as (params, metadata).

    Arrays keep their stored type. With `dtype` (say np.float32), floating-point arrays are cast to it; integers are
    not.

    Raises FileNotFoundError if there is no such file. Raises CheckpointError for a truncated or damaged file, for a
    safetensors file that `save` did not write, and for a format version that this version of jaxsr does not read.
    """
    with _opened(folder_or_file) as (file, metadata):
        params = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  (safe_open is not a dict)
    if dtype is not None:
        params = {
            name: value.astype(dtype, copy=False) if _is_float(value) else value for name, value in params.items()
        }
    return params, metadata


def load_metadata(folder_or_file: Path) -> dict[str, Any]:
    """Read the metadata of a checkpoint without its parameters. Raises what `load` raises."""
    with _opened(folder_or_file) as (_, metadata):
        return metadata


@contextmanager
def _opened(folder_or_file: Path) -> Iterator[tuple[Any, dict[str, Any]]]:
    """Open a context with a checkpoint's file and its metadata."""
    path = _checkpoint_file(folder_or_file)
    with path.open("rb") as file:
        head = file.read(512)
    pickled = head[:1] == b"\x80" and head[4:8] != bytes(4)  # safetensors begin with a length, far below 2**32
    if head.startswith(b"PK\x03\x04") or pickled or head[257:262] == b"ustar":
        raise CheckpointError(
            f"{path} is a PyTorch file: convert it first, with  python -m weight_conversion convert MODEL.pth "
            "AUTOENCODER.pth -o DIR"
        )
    try:
        with safe_open(path, framework="np") as file:
            yield file, _decode_metadata(path, file.metadata() or {})
    except SafetensorError as error:
        raise CheckpointError(
            f"{path} is truncated or damaged, or is not a safetensors file ({brief(error, 200)}): get a fresh copy"
        ) from error


def check_params(
    params: Mapping[str, np.ndarray], expected: Mapping[str, tuple[int, ...]], *, source: str | Path = "the checkpoint"
) -> None:
    """Raise one CheckpointError that lists the missing, unexpected and wrongly shaped parameters, if there are any.

    `expected` maps each name to its shape. The message calls the file `source`.
    """
    missing = sorted(expected.keys() - params.keys())
    unexpected = sorted(params.keys() - expected.keys())
    wrong = [
        f"{name} {params[name].shape} instead of {expected[name]}"
        for name in sorted(expected.keys() & params.keys())
        if params[name].shape != expected[name]
    ]
    groups = {"missing": missing, "unexpected": unexpected, "of the wrong shape": wrong}
    if any(groups.values()):
        text = "; ".join(f"{kind}: {listed(names)}" for kind, names in groups.items() if names)
        raise CheckpointError(f"{source} does not fit the network ({text}): check that its preset is the right one")


def part(params: Mapping[str, T], prefix: str) -> dict[str, T]:
    """Return the parameters whose names begin with `prefix`, without it."""
    return {name.removeprefix(prefix): value for name, value in params.items() if name.startswith(prefix)}


def _is_float(array: np.ndarray) -> bool:
    return array.dtype == ml_dtypes.bfloat16 or np.issubdtype(array.dtype, np.floating)


def _header(entries: Mapping[str, tuple[np.dtype, tuple[int, ...]]], metadata: str) -> bytes:
    """Make the header of a safetensors file. Safetensors itself can only write arrays that are all in memory."""
    fields: dict[str, Any] = {"__metadata__": {_HEADER_KEY: metadata}}
    end = 0
    for name, (kind, shape) in entries.items():
        start, end = end, end + kind.itemsize * math.prod(shape)
        fields[name] = {"dtype": _NAMES[kind], "shape": list(shape), "data_offsets": [start, end]}
    text = json.dumps(fields, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text


def _stored_type(kind: np.dtype, dtype: str | None) -> np.dtype:
    """Return the type in which an array is stored, in the byte order of the file (little-endian)."""
    if dtype is not None and kind == np.float32:
        return np.dtype(dtype)  # ml_dtypes registers the name "bfloat16" with numpy
    return kind.newbyteorder("<") if kind.byteorder == ">" else kind


def _stored(name: str, value: np.ndarray, kind: np.dtype) -> np.ndarray:
    with np.errstate(over="ignore"):
        cast = value.astype(kind, copy=False)
    if _is_float(value) and np.any(np.isfinite(value) & ~np.isfinite(cast)):
        raise ValueError(f"parameter {name!r} has values too large for {kind}: store it as float32 (dtype=None)")
    return cast


def _encode_metadata(metadata: Mapping[str, Any]) -> str:
    if _VERSION_KEY in metadata:
        raise ValueError(f"metadata has the reserved key {_VERSION_KEY!r}: rename it")
    try:
        return json.dumps({_VERSION_KEY: FORMAT_VERSION, **metadata}, sort_keys=True, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise ValueError(f"the metadata of a checkpoint must be plain JSON values ({error})") from error


def _decode_metadata(path: Path, header: Mapping[str, str]) -> dict[str, Any]:
    if _HEADER_KEY not in header:
        raise CheckpointError(f"{path} is a safetensors file but not a jaxsr checkpoint: convert its weights first")
    try:
        metadata = parse_json(header[_HEADER_KEY])
        version = metadata.pop(_VERSION_KEY)
    except (ValueError, AttributeError, KeyError, TypeError) as error:
        raise CheckpointError(f"{path} has jaxsr metadata that cannot be read: get a fresh copy of it") from error
    if version != FORMAT_VERSION:
        theirs = repr(version)[:42]
        raise CheckpointError(
            f"{path} has checkpoint format {theirs} and this jaxsr reads format {FORMAT_VERSION}: update jaxsr"
        )
    return metadata


def _checkpoint_file(folder_or_file: Path) -> Path:
    path = folder_or_file / FILE_NAME if folder_or_file.is_dir() else folder_or_file
    if not path.is_file():
        raise FileNotFoundError(
            f"there is no checkpoint {path}: give a {FILE_NAME} file, the folder that holds one, or a model name"
        )
    return path

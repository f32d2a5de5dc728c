"""Write files in the formats of `torch.save`, opcode by opcode, so that tests need no PyTorch."""

import gzip
import json
import struct
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np

from weight_conversion.architecture import Config, derived_buffers, parameter_shapes

MANIFESTS = Path(__file__).parents[1] / "golden" / "manifests"
STORAGES = {
    "float32": "FloatStorage",
    "float64": "DoubleStorage",
    "float16": "HalfStorage",
    "bfloat16": "BFloat16Storage",
    "int64": "LongStorage",
    "int32": "IntStorage",
    "int16": "ShortStorage",
    "int8": "CharStorage",
    "uint8": "ByteStorage",
    "bool": "BoolStorage",
}
PROTO, STOP = b"\x80\x02", b"."


def name(module: str, attribute: str) -> bytes:
    return f"c{module}\n{attribute}\n".encode()


def value(item: Any) -> bytes:
    """Return the opcodes of plain data; `bytes` are opcodes already."""
    match item:
        case bytes():
            return item
        case bool():
            return b"\x88" if item else b"\x89"
        case int():
            return b"J" + struct.pack("<i", item)
        case str():
            text = item.encode()
            return b"X" + struct.pack("<I", len(text)) + text
        case tuple():
            return b"(" + b"".join(map(value, item)) + b"t"
        case dict():
            return b"}(" + b"".join(value(k) + value(v) for k, v in item.items()) + b"u"
    raise TypeError(type(item))


def call(function: bytes, *arguments: Any) -> bytes:
    return function + value(arguments) + b"R"


ORDERED_DICT = call(name("collections", "OrderedDict"))


def tensor(key: str, dtype: str, numel: int, offset: int, size: tuple[int, ...], stride: tuple[int, ...]) -> bytes:
    storage = value(("storage", name("torch", STORAGES[dtype]), key, "cpu", numel)) + b"Q"
    return call(name("torch._utils", "_rebuild_tensor_v2"), storage, offset, size, stride, False, ORDERED_DICT)


def parameter(opcodes: bytes) -> bytes:
    return call(name("torch._utils", "_rebuild_parameter"), opcodes, True, ORDERED_DICT)


def strides_of(size: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(int(np.prod(size[i + 1 :])) for i in range(len(size)))


def write_zip(path: Path, pickle: bytes, storages: Mapping[str, bytes] | None = None, **members: bytes) -> Path:
    """Write the archive of an opcode stream and its storages."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", PROTO + pickle + STOP)
        for member, data in members.items():
            archive.writestr(f"archive/{member}", data)
        for key, data in (storages or {}).items():
            archive.writestr(f"archive/data/{key}", data)
    return path


def write_pth(path: Path, contents: dict[str, Any], wrap: str | None = None) -> Path:
    """Write a state dict of arrays, each in a storage of its own, and of plain data, if there is any."""
    arrays = {key: item for key, item in contents.items() if isinstance(item, np.ndarray | np.generic)}
    entries = contents | {
        key: tensor(str(i), str(array.dtype), array.size, 0, array.shape, strides_of(array.shape))
        for i, (key, array) in enumerate(arrays.items())
    }
    state = ORDERED_DICT + b"(" + b"".join(value(k) + value(v) for k, v in entries.items()) + b"u"
    storages = {str(i): array.tobytes() for i, array in enumerate(arrays.values())}
    return write_zip(path, value({wrap: state, "step": 3}) if wrap else state, storages)


def write_legacy(path: Path, arrays: Mapping[str, np.ndarray], *, parameters: bool = False, **machine: Any) -> Path:
    """Write a state dict in the format before 1.6; with `parameters`, as PyTorch before 0.2 did in Python 2."""
    rebuild = name("torch._utils", "_rebuild_tensor" if parameters else "_rebuild_tensor_v2")
    entries = []
    for key, array in arrays.items():
        storage = value(("storage", name("torch", STORAGES[str(array.dtype)]), f"s{key}", "cuda:0", array.size, b"N"))
        rest = () if parameters else (False, ORDERED_DICT)
        built = call(rebuild, storage + b"Q", 0, array.shape, strides_of(array.shape), *rest)
        if parameters:  # made empty, then given data, gradient, hooks, requires_grad and volatile
            built = name("torch.nn.parameter", "Parameter") + b")\x81" + value((built, b"N", ORDERED_DICT, True, False))
            built += b"b"
        entries.append(b"](U" + bytes([len(key)]) + key.encode() + built + b"e")
    state = name("collections", "OrderedDict") + b"](" + b"".join(entries) + b"e\x85R"
    keys = b"](" + b"".join(value(f"s{key}") for key in reversed(arrays)) + b"e"
    system = value({"protocol_version": 1001, "little_endian": True, "type_sizes": {"int": 4}} | machine)
    head = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19." + b"".join(
        PROTO + pickle + STOP for pickle in (value(1001), system, state, keys)
    )
    stored = (struct.pack("<q", arrays[key].size) + arrays[key].tobytes() for key in reversed(arrays))
    path.write_bytes(head + b"".join(stored))
    return path


def manifest(stem: str) -> list[tuple[str, tuple[int, ...], str, str]]:
    """Return key, shape, dtype and `param` or `buffer` of every entry of a released state dict."""
    data = json.loads(gzip.decompress((MANIFESTS / f"{stem}.json.gz").read_bytes()))
    return [
        (key, tuple(shape), dtype, kind)
        for key, shape, dtype, kind in data.get("unet_state_dict") or data["state_dict"]
    ]


def random_array(shape: tuple[int, ...], dtype: str = "float32", seed: int = 0) -> np.ndarray:
    values = np.random.default_rng(seed).standard_normal(shape)
    return (values > 0) if dtype == "bool" else (10 * values).astype(getattr(ml_dtypes, dtype, None) or dtype)


def torch_shapes(config: Config) -> dict[str, tuple[int, ...]]:
    """Return the keys and shapes of a state dict of ours, in PyTorch's order of axes."""
    ends = {"kernel": "weight", "scale": "weight", "embedding": "weight"}
    state = {}
    for name, shape in parameter_shapes(config).items():
        stem, _, end = name.rpartition(".")
        order = (*shape[:-3:-1], *shape[:-2]) if end == "kernel" else shape
        state[f"{stem}.{ends.get(end, end)}"] = tuple(order)
    return state | {key: array.shape for key, array in derived_buffers(config).items()}


def random_state_dict(config: Config, seed: int = 0) -> dict[str, np.ndarray]:
    """Return random values of about the size of weights, scales about 1, and the buffers as they are."""
    rng, state = np.random.default_rng(seed), {}
    for key, shape in torch_shapes(config).items():
        spread = np.float32(np.prod(shape[1:])) ** -0.5 if len(shape) > 1 else 0.1
        norm = len(shape) == 1 and key.endswith("weight")
        state[key] = norm + np.float32(spread) * rng.standard_normal(shape, np.float32)
    return state | derived_buffers(config)

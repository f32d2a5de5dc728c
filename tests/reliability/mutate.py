"""Damage bytes and JSON at random, as disks, networks and people do."""

import copy
import json
import struct
import zipfile
from io import BytesIO
from typing import Any

import numpy as np

_NUMBERS = (0, 1, 2, 255, 2**15, 2**16 - 1, 2**31 - 1, 2**31, 2**32 - 1)
_VALUES: tuple[Any, ...] = (
    *(None, True, 0, -1, 0.5, 1e308, -1e-320, 2**31, 2**63, 2**70, "", "x", "a" * 5000, [], {}, [[]]),
    *(10**400, float("nan"), float("inf"), [1e9] * 50, {"a": {"b": [1, {"c": 2}]}}, "../../etc/passwd", "\n<script>"),
    *("<deep>", "<long>"),
)
_RAW = {"<deep>": "[" * 100_000 + "]" * 100_000, "<long>": "9" * 5000}
"""What takes the place of these texts in the JSON, as Python could not write it."""


def damaged(data: bytes, rng: np.random.Generator, other: bytes = b"") -> bytes:
    """Return the bytes with one to four changes: flips, extreme numbers, cuts, holes, doubles, parts of other files."""
    changed = bytearray(data)
    for _ in range(rng.integers(1, 5)):
        size = max(len(changed), 1)
        at, length = int(rng.integers(size)), int(rng.integers(1, max(2, size // 8)))
        match int(rng.integers(9)):
            case 0:
                changed[at : at + 1] = bytes([(changed[at] if at < len(changed) else 0) ^ 1 << int(rng.integers(8))])
            case 1:
                changed[at : at + 1] = bytes([int(rng.choice([0, 1, 127, 128, 255]))])
            case 2:
                code = str(rng.choice(["<H", ">H", "<L", ">L", "<Q", ">Q"]))
                number = int(rng.choice(_NUMBERS)) % 2 ** (8 * struct.calcsize(code))
                changed[at : at + struct.calcsize(code)] = struct.pack(code, number)
            case 3:
                del changed[at:]
            case 4:
                del changed[at : at + length]
            case 5:
                changed[at : at + length] = bytes(length)
            case 6:
                changed[at:at] = changed[at : at + length]
            case 7:
                changed[at:at] = rng.bytes(length)
            case 8:
                start = int(rng.integers(max(len(other), 1)))
                changed[at : at + length] = other[start : start + length]
    return bytes(changed)


def damaged_zip(data: bytes, rng: np.random.Generator) -> bytes:
    """Return a zip with one damaged member, whose checksum is right."""
    target = BytesIO()
    with zipfile.ZipFile(BytesIO(data)) as source, zipfile.ZipFile(target, "w") as copy:
        members = {info: source.read(info) for info in source.infolist()}
        chosen = [info for info in members if info.filename.endswith(".pkl")] if rng.random() < 0.7 else [*members]
        bad = chosen[int(rng.integers(len(chosen)))]
        for info, content in members.items():
            copy.writestr(info, damaged(content, rng) if info is bad else content)
    return target.getvalue()


def damaged_header(data: bytes, rng: np.random.Generator) -> bytes:
    """Return a safetensors file with a damaged header of the right length, or damaged JSON inside of its metadata."""
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    texts = [key for key, text in header.get("__metadata__", {}).items() if text.startswith("{")]
    if texts and rng.random() < 0.8:
        key = texts[int(rng.integers(len(texts)))]
        header["__metadata__"][key] = damaged_json(header["__metadata__"][key], rng)
        written = json.dumps(header)
    else:
        written = damaged_json(json.dumps(header), rng)
    return len(written.encode()).to_bytes(8, "little") + written.encode() + data[8 + length :]


def damaged_json(text: str, rng: np.random.Generator) -> str:
    """Return JSON with one to three values replaced, dropped, renamed or doubled; then perhaps cut."""
    content = json.loads(text)
    for _ in range(rng.integers(1, 4)):
        parent, key = _any_place(content, rng)
        match int(rng.integers(5)):
            case 0 | 1 | 2:
                parent[key] = copy.deepcopy(_VALUES[int(rng.integers(len(_VALUES)))])
            case 3:
                del parent[key]
            case 4 if isinstance(parent, dict):
                parent[f"{key}x"] = parent.pop(key)
            case _:
                parent[key] = [copy.deepcopy(parent[key]) for _ in range(3)]
        if not content:
            break
    written = json.dumps(content)
    for name, raw in _RAW.items():
        written = written.replace(json.dumps(name), raw)
    return written[: int(rng.integers(len(written) + 1))] if rng.random() < 0.1 else written


def _any_place(content: Any, rng: np.random.Generator) -> tuple[Any, Any]:
    parent = content
    while True:
        keys = [*parent] if isinstance(parent, dict) else [*range(len(parent))]
        key = keys[int(rng.integers(len(keys)))]
        if not isinstance(parent[key], dict | list) or not parent[key] or rng.random() < 0.15:
            return parent, key
        parent = parent[key]

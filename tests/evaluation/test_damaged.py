"""Test that results and protocols with any value anywhere are read and can be used, or are refused by their names."""

import copy
import functools
import json
import operator
from collections.abc import Iterator
from typing import Any

import jaxtyping
import pytest

from jaxsr.evaluation.protocol_files import load_protocol
from jaxsr.evaluation.protocols import ProtocolError
from jaxsr.evaluation.result import Result, ResultError

VALUES = (None, "x", -1, 0, 1e300, True, [], {}, [1] * 70, [[]], 1.5, {"a": 1}, [None])
METRIC = {"variant": "Y", "mean": 30.0, "images": [29.0, 31.0], "seeds": None, "n": 2}
RESULT = {
    "name": "m",
    "protocol": {"name": "p", "about": "", "metrics": ["psnr"]},
    "protocol_sha256": "0" * 64,
    "data": {"name": "d", "images": 2, "lr_sha256": None, "files_sha256": "1" * 64},
    "method": {"kind": "model"},
    "seeds": [0],
    "metrics": {"psnr": METRIC, "niqe": {"missing": "no numbers"}},
    "images": [{"image": name, "patch": 0, "seed": 0, "psnr": 30.0} for name in "ab"],
    "failed": [],
    "versions": {"jaxsr": "0"},
    "command": "c",
}
PROTOCOL = {
    "name": "p",
    "about": "",
    "scale": 4,
    "bits": 8,
    "crop": 64,
    "metrics": ["psnr"],
    "variants": {"niqe": {"luma": "grey"}},
    "images": {"a": "0" * 64},
}


def places(data: Any, before: tuple = ()) -> Iterator[tuple]:
    for key, value in data.items() if isinstance(data, dict) else enumerate(data):
        yield (*before, key)
        if isinstance(value, dict | list):
            yield from places(value, (*before, key))


@pytest.fixture(autouse=True)
def _without_type_checks(monkeypatch):
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)  # users do not have them


def spoilt(whole: dict[str, Any]) -> Iterator[str]:
    for place in places(whole):
        for value in VALUES:
            data = copy.deepcopy(whole)
            functools.reduce(operator.getitem, place[:-1], data)[place[-1]] = value
            yield json.dumps(data)


def test_results(tmp_path):
    path, refused = tmp_path / "r.json", 0
    path.write_text(json.dumps(RESULT))
    assert Result.read(path).column("psnr").values.tolist() == [[30.0, 30.0]]
    for text in spoilt(RESULT):
        path.write_text(text)
        try:
            found = Result.read(path)
        except ResultError as error:
            refused += 1
            assert str(error).startswith(f"{path}: "), error  # noqa: PT017
        else:
            found.column("psnr")
            found.csv()
    assert refused > 250


def test_protocols(tmp_path):
    path, refused = tmp_path / "p.json", 0
    path.write_text(json.dumps(PROTOCOL))
    assert load_protocol(str(path)).crop == 64
    for text in spoilt(PROTOCOL):
        path.write_text(text)
        try:
            load_protocol(str(path)).hash({})
        except ProtocolError as error:
            refused += 1
            assert "\n" not in str(error)  # noqa: PT017
    assert refused > 60

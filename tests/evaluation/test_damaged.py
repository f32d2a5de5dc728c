"""Test that results and protocols with any value anywhere are read and can be used, or are refused by their names."""

import json

import jaxtyping
import pytest

from jaxsr.evaluation.protocol_files import load_protocol
from jaxsr.evaluation.protocols import ProtocolError
from jaxsr.evaluation.result import Result, ResultError
from tests.mutations import places, spoilt

VALUES = (None, "x", -1, 0, 1e300, True, [], {}, [1] * 70, [[]], 1.5, {"a": 1}, [None])
METRIC = {"variant": "Y", "mean": 30.0, "images": [29.0, 31.0], "seeds": None, "n": 2}
RESULT = {
    "name": "m",
    "protocol": {"name": "p", "about": "", "metrics": ["psnr"]},
    "protocol_sha256": "0" * 64,
    "data": {"name": "d", "images": 2, "lr_sha256": None, "files_sha256": "1" * 64},
    "method": {"kind": "model"},
    "seeds": [0],
    "metrics": {"psnr": METRIC, "niqe": {"variant": "NIQE", "missing": "no numbers"}},
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


@pytest.fixture(autouse=True)
def _without_type_checks(monkeypatch):
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)  # users do not have them


def test_results(tmp_path):
    path, refused = tmp_path / "r.json", 0
    path.write_text(json.dumps(RESULT))
    assert Result.read(path).column("psnr").values.tolist() == [[30.0, 30.0]]
    for data in spoilt(RESULT, places(RESULT), VALUES):
        path.write_text(json.dumps(data))
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
    for data in spoilt(PROTOCOL, places(PROTOCOL), VALUES):
        path.write_text(json.dumps(data))
        try:
            load_protocol(str(path)).hash({})
        except ProtocolError as error:
            refused += 1
            assert "\n" not in str(error)  # noqa: PT017
    assert refused > 60

"""Test checkpoint files in the format before PyTorch 1.6."""

import os
import struct

import numpy as np
import pytest

from jaxsr.torch_files.legacy import MAGIC
from jaxsr.torch_files.reader import ReadError, read_state_dict
from tests.torch_files.files import PROTO, STOP, call, name, random_array, value, write_legacy

ARRAYS = {"module.w": random_array((3, 4)), "b": random_array((5,), "float16", 1), "n": random_array((2,), "int64", 2)}


@pytest.mark.parametrize("parameters", [True, False])
def test_every_tensor_comes_back(tmp_path, parameters):
    read = read_state_dict(write_legacy(tmp_path / "a.pth", ARRAYS, parameters=parameters))
    assert list(read) == ["w", "b", "n"]
    for stored, array in zip(read.values(), ARRAYS.values(), strict=True):
        assert (stored.shape, stored.dtype) == (array.shape, array.dtype)
        np.testing.assert_array_equal(stored.read(), array)


@pytest.mark.parametrize("cut", [1, 30, 200, 600])
def test_truncated_files(tmp_path, cut):
    path = write_legacy(tmp_path / "a.pth", {"w": random_array((100,))})
    path.write_bytes(path.read_bytes()[:-cut])
    with pytest.raises(ReadError, match=r"a\.pth: is (truncated or )?damaged.*download it again"):
        read_state_dict(path)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (struct.pack("<q", 100), struct.pack("<q", 99)),  # the length of the storage
        (b"J" + struct.pack("<i", 1001) + STOP, b"J" + struct.pack("<i", 1002) + STOP),  # the version
        (value("little_endian") + b"\x88", value("little_endian") + b"\x89"),
        (b"](" + value("sw"), b"](" + value("sv")),  # a key
        (b"](" + value("sw") + b"e", b"](" + value(("sw",)) + b"e"),
        (b"](" + value("sw") + b"e", b"](e"),
        (b"N" + b"tQ", b"\x88" + b"tQ"),  # a view of a storage
    ],
)
def test_damaged_files(tmp_path, old, new):
    path = write_legacy(tmp_path / "a.pth", {"w": random_array((100,))})
    data = path.read_bytes()
    assert data.count(old) == 1
    path.write_bytes(data.replace(old, new))
    with pytest.raises(ReadError, match=r"a\.pth: is (truncated or )?damaged"):
        read_state_dict(path)


@pytest.mark.parametrize("place", range(4))
def test_malicious_pickles_are_refused_in_every_place(tmp_path, monkeypatch, place):
    monkeypatch.chdir(tmp_path)
    pickles = [value(1001), value({"little_endian": True}), value({}), b"]"]
    pickles[place] = call(name("os", "system"), "touch pwned")
    (tmp_path / "a.pth").write_bytes(MAGIC + b"." + b"".join(PROTO + pickle + STOP for pickle in pickles))
    with pytest.raises(ReadError, match=r"a\.pth: refused, it asks for 'os\.system'.*nothing was executed"):
        read_state_dict(tmp_path / "a.pth")
    assert os.listdir(tmp_path) == ["a.pth"]


def test_a_parameter_without_values_is_no_tensor(tmp_path):
    path = write_legacy(tmp_path / "a.pth", ARRAYS, parameters=True)
    path.write_bytes(path.read_bytes().replace(b"tb", b"t0"))  # the parameter's state is dropped
    with pytest.raises(ReadError, match=r"a\.pth: "):
        read_state_dict(path)

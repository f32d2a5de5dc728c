"""Test the reader of pickles of NumPy arrays: what it reads is what was saved, and it builds nothing but arrays."""

import os
import pickle

import numpy as np
import pytest

from jaxsr.torch_files.numpy_pickle import is_numpy_pickle, read_arrays
from jaxsr.torch_files.reader import ReadError
from tests.torch_files.files import write_legacy, write_pth

RNG = np.random.default_rng(0)
ARRAYS = {
    "plain": RNG.normal(size=(3, 4)).astype(np.float32),
    "fortran": np.asfortranarray(RNG.normal(size=(2, 3, 4))),
    "half": RNG.normal(size=300).astype(np.float16),
    "big": RNG.normal(size=(5,)).astype(">f4"),
    "empty": np.zeros((0, 2), np.float32),
}


def write(path, content, protocol=4):
    path.write_bytes(pickle.dumps(content, protocol))
    return path


@pytest.mark.parametrize("protocol", [3, 4])
def test_nested_arrays_come_back_with_joined_names(tmp_path, protocol):
    file = write(tmp_path / "a.ckpt", {"net": {"Conv_0": ARRAYS}, "scale": ARRAYS["plain"]}, protocol)
    assert is_numpy_pickle(file)
    found = read_arrays(file)
    assert found.keys() == {"scale", *(f"net.Conv_0.{name}" for name in ARRAYS)}
    for name, expected in ARRAYS.items():
        tensor = found[f"net.Conv_0.{name}"]
        assert (tensor.shape, tensor.dtype) == (expected.shape, expected.dtype.newbyteorder("="))
        np.testing.assert_array_equal(tensor.read(), expected)


def test_a_file_of_numpy_1_names_the_same_function_otherwise(tmp_path):
    data = pickle.dumps({"a": ARRAYS["plain"]}, 3)
    old, new = b"cnumpy.core.multiarray\n", b"cnumpy._core.multiarray\n"
    assert (old in data) != (new in data)
    for name in (old, new):
        (tmp_path / "a.ckpt").write_bytes(data.replace(new if new in data else old, name))
        np.testing.assert_array_equal(read_arrays(tmp_path / "a.ckpt")["a"].read(), ARRAYS["plain"])


def test_files_of_pytorch_are_told_apart(tmp_path):
    state = {"a": ARRAYS["plain"]}
    assert not is_numpy_pickle(write_legacy(tmp_path / "old.pth", state))
    assert not is_numpy_pickle(write_pth(tmp_path / "new.pth", state))


class Command:
    """An object whose pickle would run a command."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (self.path,)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (["a"], "it is neither an array nor a dict of arrays"),
        ({"a": {"b": 3}}, r"a\.b is neither an array nor"),
        ({"a": np.arange(3)}, "not of floating-point numbers"),
        ({"a": np.array([{}, []], object)}, "not of floating-point numbers"),
        ({"a": np.float32(3)}, "asks for 'numpy.*scalar'"),
    ],
)
def test_other_content_is_refused_in_one_sentence(tmp_path, content, message):
    file = write(tmp_path / "a.ckpt", content)
    with pytest.raises(ReadError, match=message) as error:
        read_arrays(file)
    assert str(error.value).startswith(f"{file}: ")
    assert "damaged" not in str(error.value)


def test_a_pickle_that_grows_without_end_is_refused(tmp_path):
    content = {"a": ARRAYS["plain"]}
    for _ in range(6):
        content = {str(i): content for i in range(10)}  # one million names of one array
    with pytest.raises(ReadError, match=r"a\.ckpt: holds more than 1000 arrays"):
        read_arrays(write(tmp_path / "a.ckpt", content))


def test_nothing_in_a_file_is_executed(tmp_path):
    file = write(tmp_path / "a.ckpt", {"a": Command(str(tmp_path / "made"))})
    with pytest.raises(ReadError, match=r"refused, it asks for '\w+\.mkdir'.*nothing was executed"):
        read_arrays(file)
    assert not (tmp_path / "made").exists()


def test_damaged_files_are_refused(tmp_path):
    whole = pickle.dumps({"a": ARRAYS["plain"]}, 3)
    for data in (whole[:-20], whole.replace(b"K\x03K\x04\x86", b"K\x03K\x05\x86")):
        assert data != whole
        (tmp_path / "a.ckpt").write_bytes(data)
        with pytest.raises(ReadError, match=r"a\.ckpt: is damaged, .*; download it again"):
            read_arrays(tmp_path / "a.ckpt")

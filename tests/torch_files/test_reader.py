"""Test that checkpoint files of every type and layout are read, and that unsafe and broken files are refused."""

import os
import struct
import zipfile

import numpy as np
import pytest
from safetensors.numpy import save_file

from jaxsr.torch_files.reader import ReadError, read_state_dict
from tests.torch_files.files import (
    ORDERED_DICT,
    STORAGES,
    call,
    name,
    parameter,
    random_array,
    strides_of,
    tensor,
    value,
    write_pth,
    write_zip,
)


def read(path) -> dict[str, np.ndarray]:
    return {key: np.array(tensor.read()) for key, tensor in read_state_dict(path).items()}


@pytest.mark.parametrize("dtype", STORAGES)
def test_every_type(tmp_path, dtype):
    array = random_array((3, 4), dtype)
    (stored,) = read_state_dict(write_pth(tmp_path / "a.pth", {"w": array})).values()
    assert (stored.shape, stored.dtype) == (array.shape, array.dtype)
    np.testing.assert_array_equal(stored.read(), array)


@pytest.mark.parametrize("shape", [(), (1,), (0, 3), (2, 3, 4, 5)])
def test_every_rank(tmp_path, shape):
    array = random_array(shape)
    np.testing.assert_array_equal(read(write_pth(tmp_path / "a.pth", {"w": array}))["w"], array, strict=True)


def test_strides_offsets_and_shared_storages(tmp_path):
    base = random_array((24,))
    views = {
        "transposed": tensor("0", "float32", 24, 0, (4, 6), (1, 4)),
        "part": tensor("0", "float32", 24, 5, (3, 2), (6, 2)),
        "expanded": tensor("0", "float32", 24, 7, (2, 3), (0, 1)),
        "parameter": parameter(tensor("0", "float32", 24, 0, (24,), (1,))),
    }
    arrays = read(write_zip(tmp_path / "a.pth", value(views), {"0": base.tobytes()}))
    np.testing.assert_array_equal(arrays["transposed"], base.reshape(6, 4).T)
    np.testing.assert_array_equal(arrays["part"], [[base[5 + 6 * i + 2 * j] for j in range(2)] for i in range(3)])
    np.testing.assert_array_equal(arrays["expanded"], [base[7:10]] * 2)
    np.testing.assert_array_equal(arrays["parameter"], base)


def test_values_are_mapped_and_cannot_be_written(tmp_path):
    path = write_pth(tmp_path / "a.pth", {"w": random_array((5,))})
    array = read_state_dict(path)["w"].read()
    with pytest.raises(ValueError, match="read-only"):
        array[0] = 1


def test_safetensors(tmp_path):
    arrays = {"a": random_array((2, 3)), "b": random_array((4,), "bfloat16"), "c": np.arange(3)}
    save_file(arrays, tmp_path / "a.safetensors")
    back = read(tmp_path / "a.safetensors")
    assert back.keys() == arrays.keys()
    for key, array in arrays.items():
        np.testing.assert_array_equal(back[key], array, strict=True)


@pytest.mark.parametrize("wrap", [None, "state_dict", "ema_state_dict", "params_ema", "params"])
@pytest.mark.parametrize("prefix", ["", "module.", "_orig_mod.", "module._orig_mod.", "_orig_mod.module."])
def test_wrappers_and_prefixes(tmp_path, wrap, prefix):
    array = random_array((2,))
    assert list(read(write_pth(tmp_path / "a.pth", {prefix + "a.w": array}, wrap))) == ["a.w"]


def test_averaged_weights_are_preferred(tmp_path):
    weights = {key: {"w": tensor(key[0], "float32", 1, 0, (1,), (1,))} for key in ("state_dict", "ema_state_dict")}
    path = write_zip(tmp_path / "a.pth", value(weights), {"s": bytes(4), "e": struct.pack("<f", 1)})
    assert read(path)["w"] == 1


def test_a_name_with_and_without_prefix(tmp_path):
    path = write_pth(tmp_path / "a.pth", {"w": random_array((1,)), "module.w": random_array((1,))})
    with pytest.raises(ReadError, match=r"a\.pth: holds w twice"):
        read_state_dict(path)


MALICIOUS = {
    "os.system": call(name("os", "system"), "touch pwned"),
    "posix.system": call(name("posix", "system"), "touch pwned"),
    "builtins.eval": call(name("builtins", "eval"), "open('pwned', 'w')"),
    "builtins.getattr": call(name("builtins", "getattr"), name("os", "system"), "__call__"),
    "torch.load": name("torch", "load"),
    "torch._utils._rebuild_tensor_v2.__globals__": name("torch._utils", "_rebuild_tensor_v2.__globals__"),
    "collections.OrderedDict.__init__": name("collections", "OrderedDict.__init__"),
    "numpy.core.multiarray.scalar": name("numpy.core.multiarray", "scalar"),
    "opcode INST": b"(" + value("touch pwned") + b"ios\nsystem\n",
    "opcode OBJ": b"(" + ORDERED_DICT + b"o",
    "opcode NEWOBJ": name("collections", "OrderedDict") + b")\x81",
    "opcode EXT1": b"\x82\x01",
    "calls 'FloatStorage'": call(name("torch", "FloatStorage"), 3),
    "calls 'str'": value("os.system") + b")R",
    "calls 'dict'": ORDERED_DICT + b")R",
    "of kind 'module'": value(("module", "a", "b", "c", "d")) + b"Q",
}


@pytest.mark.parametrize("what", MALICIOUS)
def test_malicious_pickles_are_refused_by_name_and_nothing_is_executed(tmp_path, monkeypatch, what):
    monkeypatch.chdir(tmp_path)
    path = write_zip(tmp_path / "a.pth", value({"w": MALICIOUS[what]}))
    with pytest.raises(ReadError, match=r"a\.pth: refused, .*nothing was executed") as caught:
        read_state_dict(path)
    assert what.removeprefix("opcode ") in str(caught.value)
    assert os.listdir(tmp_path) == ["a.pth"]


def test_attributes_of_containers_are_dropped(tmp_path):
    state = ORDERED_DICT + value({"_metadata": "x"}) + b"b"
    w = tensor("0", "float32", 1, 0, (1,), (1,))
    path = write_zip(tmp_path / "a.pth", state + value("w") + w + b"s", {"0": bytes(4)})
    assert list(read(path)) == ["w"]


BROKEN = {
    "empty stack": b"\x87",
    "no mark": b"t",
    "unset memo": b"h\x07",
    "item of a text": value("a") + value("b") + value("c") + b"s",
    "odd items": b"}(" + value("a") + b"u",
    "a tuple as key": b"}" + value((1,)) + value(2) + b"s",
    "append to a dict": b"}" + value(1) + b"a",
    "unknown opcode": b"\xff",
    "huge text": b"X\xff\xff\xff\xff",
    "storage that is not there": tensor("9", "float32", 4, 0, (4,), (1,)),
    "storage larger than its member": tensor("0", "float32", 5, 0, (4,), (1,)),
    "beyond the storage": tensor("0", "float32", 4, 1, (4,), (1,)),
    "strides beyond the storage": tensor("0", "float32", 4, 0, (2,), (4,)),
    "negative offset": tensor("0", "float32", 4, -1, (4,), (1,)),
    "negative stride": tensor("0", "float32", 4, 3, (4,), (-1,)),
    "negative numel": tensor("0", "float32", -4, 0, (0,), (1,)),
    "impossible size": tensor("0", "float32", 4, 0, (2**30, 2**30, 2**30), (0, 0, 0)),
    "strides that do not fit": tensor("0", "float32", 4, 0, (2, 2), (1,)),
    "tensor of a text": call(name("torch._utils", "_rebuild_tensor_v2"), "a", 0, (1,), (1,), False, ORDERED_DICT),
    "wrong arguments": call(name("torch._utils", "_rebuild_parameter"), 1),
}


@pytest.mark.parametrize("what", BROKEN)
def test_broken_pickles(tmp_path, what):
    path = write_zip(tmp_path / "a.pth", b"}(" + value("w") + BROKEN[what] + b"u", {"0": bytes(16)})
    with pytest.raises(ReadError, match=r"a\.pth: is damaged, .*download it again"):
        read_state_dict(path)


def test_a_dict_that_holds_itself(tmp_path):
    path = write_zip(tmp_path / "a.pth", b"}q\x00" + value("state_dict") + b"h\x00s")
    with pytest.raises(ReadError, match="holds no state dict"):
        read_state_dict(path)


@pytest.mark.parametrize("keep", [10, 200, -30, -1])
def test_truncated(tmp_path, keep):
    path = write_pth(tmp_path / "a.pth", {"w": random_array((50,))})
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(ReadError, match=r"a\.pth: is truncated or damaged"):
        read_state_dict(path)


def test_a_directory_that_points_nowhere(tmp_path, monkeypatch):
    path = write_pth(tmp_path / "a.pth", {"w": random_array((50,))})

    def fail(*_: object) -> None:
        raise OSError(22, "Invalid argument")  # the error of seeking to a negative offset

    monkeypatch.setattr("zipfile.ZipFile.infolist", fail)
    with pytest.raises(ReadError, match=r"a\.pth: is truncated or damaged"):
        read_state_dict(path)


def test_truncated_safetensors(tmp_path):
    save_file({"w": random_array((50,))}, tmp_path / "a.safetensors")
    (tmp_path / "a.safetensors").write_bytes((tmp_path / "a.safetensors").read_bytes()[:-1])
    with pytest.raises(ReadError, match=r"a\.safetensors: is truncated or damaged"):
        read_state_dict(tmp_path / "a.safetensors")


def test_a_flipped_bit_is_seen_by_the_checksum(tmp_path):
    array = random_array((50,))
    path = write_pth(tmp_path / "a.pth", {"w": array})
    data = bytearray(path.read_bytes())
    data[data.index(array.tobytes()) + 17] ^= 1
    path.write_bytes(data)
    with pytest.raises(ReadError, match=r"a\.pth: is damaged \(a checksum"):
        read(path)


def test_zip_bomb(tmp_path):
    path = tmp_path / "a.pth"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(
            "archive/data.pkl", b"\x80\x02" + value({"w": tensor("0", "float32", 1, 0, (1,), (1,))}) + b"."
        )
        archive.writestr("archive/data/0", bytes(100_000_000))
    assert path.stat().st_size < 1_000_000
    with pytest.raises(ReadError, match=r"a\.pth: its member .* is compressed.*refused"):
        read_state_dict(path)


def test_a_member_that_claims_more_than_the_file_has(tmp_path):
    path = write_pth(tmp_path / "a.pth", {"w": random_array((4,))})
    data, size = bytearray(path.read_bytes()), struct.pack("<II", 16, 16)
    at = data.rindex(size)  # in the directory
    data[at : at + 8] = struct.pack("<II", 2**31, 2**31)
    path.write_bytes(data)
    with pytest.raises(ReadError, match=r"a\.pth: is (truncated or )?damaged"):
        read_state_dict(path)


@pytest.mark.parametrize("head", [b"storages" + bytes(249) + b"ustar", bytes(257) + b"ustar"])
def test_the_first_format_is_refused_with_the_way_out(tmp_path, head):
    (tmp_path / "a.pth").write_bytes(head + bytes(600))
    with pytest.raises(ReadError, match=r"a\.pth: is in PyTorch's first format.*torch\.save\(torch\.load"):
        read_state_dict(tmp_path / "a.pth")


@pytest.mark.parametrize(
    ("data", "hint"),
    [
        (b"\x89PNG\r\n\x1a\n" + bytes(50), "an image"),
        (b"<!DOCTYPE html><html>Not Found</html>", "a web page"),
        (b"version https://git-lfs.github.com/spec/v1", "a pointer"),
        (b"", "empty"),
        (bytes(50), "check the name"),
    ],
)
def test_files_of_another_kind(tmp_path, data, hint):
    (tmp_path / "a.pth").write_bytes(data)
    with pytest.raises(ReadError, match=rf"a\.pth: is neither a PyTorch checkpoint nor .*{hint}"):
        read_state_dict(tmp_path / "a.pth")


def test_a_zip_file_of_something_else(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.pth", "w") as archive:
        archive.writestr("photo.txt", b"x")
    with pytest.raises(ReadError, match=r"not a checkpoint of torch\.save"):
        read_state_dict(tmp_path / "a.pth")


def test_big_endian_files_are_refused(tmp_path):
    path = write_zip(tmp_path / "a.pth", value({}), byteorder=b"big")
    with pytest.raises(ReadError, match="big-endian"):
        read_state_dict(path)


ONE = tensor("0", "float32", 1, 0, (1,), (1,))


@pytest.mark.parametrize(
    ("content", "match"), [({}, "no state dict"), ({"step": 3}, "no state dict"), ({"w": ONE, 7: ONE}, "not texts: 7")]
)
def test_files_without_a_state_dict(tmp_path, content, match):
    path = write_zip(tmp_path / "a.pth", value(content), {"0": bytes(4)})
    with pytest.raises(ReadError, match=match):
        read_state_dict(path)


def test_an_entry_that_is_no_tensor_keeps_its_key_alone(tmp_path):
    content = {"w": ONE, "step": 3, "note": "x", "optimizer": {"state": (1, 2)}}
    state = read_state_dict(write_zip(tmp_path / "a.pth", value(content), {"0": bytes(4)}))
    assert {key: tensor.dtype for key, tensor in state.items()} == {"w": np.float32} | dict.fromkeys(
        ("step", "note", "optimizer"), np.dtype(object)
    )
    assert state["step"].shape == state["step"].read().shape == ()


def test_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError):
        read_state_dict(tmp_path / "a.pth")


def test_strides_of_is_row_major():
    array = np.zeros((2, 3, 4), np.int8)
    assert strides_of(array.shape) == array.strides

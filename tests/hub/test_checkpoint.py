"""Test that checkpoints read back as saved, that wrong ones are refused, and that nothing half-written is left."""

import json
import weakref

import ml_dtypes
import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import save_file

from jaxsr.hub.checkpoint import CheckpointError, check_params, load, save
from jaxsr.storage import sha256_file

METADATA = {"preset": "tiny_x4", "licence": {"name": "CC BY-SA 4.0"}, "steps": [1, 2.5, None]}


def _params() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    return {
        "down.0.conv.kernel": rng.normal(size=(3, 3, 2, 5)).astype(np.float32),
        "norm.scale": np.float32(rng.normal(size=7)),
        "step": np.array(12, np.int64),
        "gain": np.array(0.3, np.float32),
    }


def _assert_same(actual: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> None:
    assert actual.keys() == expected.keys()
    for name, value in expected.items():
        assert actual[name].dtype == value.dtype
        np.testing.assert_array_equal(actual[name], value, strict=True)


@pytest.mark.parametrize("by_folder", [True, False])
def test_round_trip_by_folder_and_by_file(tmp_path, by_folder):
    path = save(tmp_path / "new" / "run", _params(), METADATA)
    params, metadata = load(path.parent if by_folder else path)
    _assert_same(params, _params())
    assert metadata == METADATA
    assert [file.name for file in path.parent.iterdir()] == ["model.safetensors"]


@pytest.mark.parametrize(
    "view",
    [
        lambda a: a.transpose(2, 3, 1, 0),
        lambda a: a[::-1],
        lambda a: a[..., ::2],
        lambda a: np.broadcast_to(a[:1], a.shape),
        lambda a: np.asfortranarray(a),
        lambda a: a.astype(">f4"),
    ],
    ids=["transposed", "reversed", "strided", "broadcast", "fortran", "big-endian"],
)
def test_values_do_not_depend_on_the_memory_layout(tmp_path, view):
    array = view(np.arange(120, dtype=np.float32).reshape(2, 3, 4, 5))
    save(tmp_path, {"a": array}, {})
    np.testing.assert_array_equal(load(tmp_path)[0]["a"], array, strict=array.dtype.isnative)


def test_the_file_is_that_of_safetensors_itself(tmp_path):
    params = _params() | {name: np.ones(3, name) for name in ("bool", "int8", "uint16", "float16", "bfloat16", "f8")}
    path = save(tmp_path / "ours", params | {"empty": np.zeros((0, 3), np.float32), "naïve": np.float32([1])}, METADATA)
    with safe_open(path, framework="np") as file:
        arrays, metadata = {name: file.get_tensor(name) for name in file.keys()}, file.metadata()  # noqa: SIM118
    save_file(arrays, tmp_path / "theirs", metadata=metadata)
    assert path.read_bytes() == (tmp_path / "theirs").read_bytes()


def test_values_are_made_one_by_one_when_they_are_written(tmp_path):
    alive, most = [], []

    class Made:
        shape, dtype = (2, 3), np.dtype(np.float32)

        def __array__(self, dtype=None, copy=None):
            alive[:] = [array for array in alive if array() is not None]
            array = np.full(self.shape, 7, self.dtype)
            alive.append(weakref.ref(array))
            most.append(len(alive))
            return array

    params, _ = load(save(tmp_path, {name: Made() for name in "abcde"}, {}))
    assert max(most) <= 2
    assert len(most) == 5
    assert all((value == 7).all() for value in params.values())


def test_types_that_safetensors_does_not_know_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"'c' is of type complex64"):
        save(tmp_path / "x", {"c": np.zeros(2, np.complex64)}, {})
    assert not (tmp_path / "x").exists()


def test_bytes_do_not_depend_on_the_order_of_entries(tmp_path):
    reordered = dict(reversed(_params().items())), dict(reversed(METADATA.items()))
    first, second = save(tmp_path / "1", _params(), METADATA), save(tmp_path / "2", *reordered)
    assert first.read_bytes() == second.read_bytes()


@pytest.mark.parametrize(("dtype", "bits"), [("bfloat16", 8), ("float16", 11)])
def test_half_storage_rounds_float32_only(tmp_path, dtype, bits):
    save(tmp_path, _params(), METADATA, dtype=dtype)
    stored, _ = load(tmp_path)
    back, _ = load(tmp_path, dtype=np.float32)
    assert {name: str(value.dtype) for name, value in stored.items()} == {
        "down.0.conv.kernel": dtype,
        "norm.scale": dtype,
        "step": "int64",
        "gain": dtype,
    }
    for name, value in _params().items():
        if name == "step":
            _assert_same({name: back[name]}, {name: value})
            continue
        assert back[name].dtype == np.float32
        np.testing.assert_array_equal(back[name], stored[name].astype(np.float32))
        np.testing.assert_allclose(back[name], value, rtol=2.0**-bits)
        assert np.any(back[name] != value)


def test_unknown_storage_dtype(tmp_path):
    with pytest.raises(ValueError, match=r"'int8'.*bfloat16, float16"):
        save(tmp_path, _params(), {}, dtype="int8")


def test_half_storage_refuses_what_would_become_infinite(tmp_path):
    params = {"fine": np.ones(2, np.float32), "big.kernel": np.array([1.0, 1e5], np.float32)}
    with pytest.raises(ValueError, match=r"'big\.kernel'.*float16"):
        save(tmp_path, params, {}, dtype="float16")
    assert not list(tmp_path.iterdir())
    save(tmp_path, params, {}, dtype="bfloat16")
    assert load(tmp_path)[0]["big.kernel"].dtype == ml_dtypes.bfloat16


def test_a_failed_save_keeps_the_old_checkpoint(tmp_path, monkeypatch):
    old = save(tmp_path, _params(), METADATA).read_bytes()

    def full_disk(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("jaxsr.storage.os.fsync", full_disk)
    with pytest.raises(OSError, match="No space"):
        save(tmp_path, {"a": np.zeros(3, np.float32)}, {})
    assert [file.read_bytes() for file in tmp_path.iterdir()] == [old]


def test_a_reader_keeps_the_old_checkpoint_while_a_new_one_is_saved(tmp_path):
    path = save(tmp_path, _params(), METADATA)
    old = path.read_bytes()
    with open(path, "rb") as reader:
        save(tmp_path, {"a": np.zeros(3, np.float32)}, {})
        assert reader.read() == old
    assert path.read_bytes() != old


@pytest.mark.parametrize(
    "metadata", [{"a": float("nan")}, {"a": np.float32(1)}, {"a": object()}], ids=["nan", "numpy", "object"]
)
def test_metadata_must_be_json(tmp_path, metadata):
    with pytest.raises(ValueError, match="plain JSON values"):
        save(tmp_path, {}, metadata)


def test_reserved_metadata_key_is_refused(tmp_path):
    with pytest.raises(ValueError, match="'format_version'"):
        save(tmp_path, {}, {"format_version": 3})


def test_missing_file_and_missing_folder(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nothing\.safetensors"):
        load(tmp_path / "nothing.safetensors")
    with pytest.raises(FileNotFoundError, match=r"model\.safetensors"):
        load(tmp_path)


@pytest.mark.parametrize("keep", [0, 5, 100, -1])
def test_truncated_file(tmp_path, keep):
    path = save(tmp_path, _params(), METADATA)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(CheckpointError, match=rf"{path.name} is truncated or damaged"):
        load(path)


def test_file_that_is_no_safetensors(tmp_path):
    path = tmp_path / "model.pth"
    tar = b"storages" + bytes(249) + b"ustar"
    for head in (b"PK\x03\x04", b"\x80\x02", b"\x80\x05", tar):  # zip, legacy and first files of torch.save
        path.write_bytes(head * 100)
        with pytest.raises(
            CheckpointError, match=r"model\.pth is a PyTorch file: .* python -m weight_conversion convert"
        ):
            load(path)
    path.write_bytes(b"plain words " * 100)
    with pytest.raises(CheckpointError, match=r"model\.pth is truncated or damaged"):
        load(path)


@pytest.mark.parametrize("text", ["[" * 100_000, f'{{"a": {"9" * 5000}}}', "[]", "{"])
def test_metadata_that_is_evil_is_refused_with_the_name_of_the_file(tmp_path, text):
    _foreign(tmp_path / "a.safetensors", {"jaxsr": text})
    with pytest.raises(CheckpointError, match=r"a\.safetensors has jaxsr metadata that cannot be read"):
        load(tmp_path / "a.safetensors")


def test_a_message_names_the_first_of_many_parameters():
    many = {f"p{i:03}": np.zeros(1) for i in range(500)}
    with pytest.raises(CheckpointError, match=r"\(unexpected: p000, p001, .*, p019 and 480 more\)"):
        check_params(many, {})


def _foreign(path, header: dict[str, str] | None):
    save_file({"w": np.zeros(2, np.float32)}, path, metadata=header)
    return path


@pytest.mark.parametrize("header", [None, {"format": "pt"}])
def test_foreign_safetensors(tmp_path, header):
    with pytest.raises(CheckpointError, match="not a jaxsr checkpoint"):
        load(_foreign(tmp_path / "other.safetensors", header))


@pytest.mark.parametrize("text", ["{", "[]", "{}", "3"])
def test_unreadable_metadata(tmp_path, text):
    with pytest.raises(CheckpointError, match="cannot be read"):
        load(_foreign(tmp_path / "x.safetensors", {"jaxsr": text}))


def test_unknown_format_version(tmp_path):
    header = {"jaxsr": json.dumps({"format_version": 99})}
    with pytest.raises(CheckpointError, match=r"format 99 .* update jaxsr"):
        load(_foreign(tmp_path / "x.safetensors", header))


def test_check_params_lists_everything_in_one_error():
    params = {name: np.zeros(shape, np.float32) for name, shape in {"a": (2,), "b": (2, 3), "old": ()}.items()}
    check_params(params, {"a": (2,), "b": (2, 3), "old": ()})
    with pytest.raises(CheckpointError) as caught:
        check_params(params, {"a": (2,), "b": (3, 2), "new.1": (4,), "new.2": (1,)}, source="run/model.safetensors")
    message = str(caught.value)
    assert message.startswith("run/model.safetensors does not fit")
    assert "missing: new.1, new.2; unexpected: old; of the wrong shape: b (2, 3) instead of (3, 2)" in message


def test_sha256_of_the_nist_example(tmp_path):
    path = tmp_path / "abc"
    path.write_bytes(b"abc")
    assert sha256_file(path) == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"

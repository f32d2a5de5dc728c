"""Test the reader on files that `torch.save` itself writes (needs PyTorch)."""

import warnings

import numpy as np
import pytest

from jaxsr.torch_files.reader import ReadError, read_state_dict
from tests.torch_files.files import random_array, write_legacy

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    torch = pytest.importorskip("torch")

DTYPES = ["float16", "bfloat16", "float32", "float64", "int8", "int16", "int32", "int64", "uint8", "bool"]


def tensors() -> dict:
    base = torch.arange(60, dtype=torch.float32)
    made = {
        "transposed": base.reshape(6, 10).T,
        "part": base[3:50:4],
        "expanded": base[:3].expand(4, 3),
        "channels_last": torch.randn(2, 3, 4, 5).to(memory_format=torch.channels_last),
        "scalar": torch.tensor(2.5),
        "empty": torch.zeros(0, 3),
        "parameter": torch.nn.Parameter(torch.randn(3)),
    }
    return made | {name: (torch.randn(4, 5) * 10).to(getattr(torch, name)) for name in DTYPES}


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize("wrapped", [True, False])
def test_every_type_and_layout(tmp_path, protocol, wrapped):
    made = tensors()
    torch.save(
        {"state_dict": made, "step": 3, "lr": 1e-3} if wrapped else made, tmp_path / "a.pth", pickle_protocol=protocol
    )
    read = read_state_dict(tmp_path / "a.pth")
    assert read.keys() == made.keys()
    for name, tensor in made.items():
        array = np.array(read[name].read())
        assert str(array.dtype) == str(tensor.dtype).removeprefix("torch.")
        expected = tensor.detach().to(torch.float64).numpy()
        np.testing.assert_array_equal(array.astype(np.float64), expected, strict=True)


def test_a_module_and_its_optimizer(tmp_path):
    net = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4))
    optimizer = torch.optim.AdamW(net.parameters())
    net(torch.zeros(1, 3, 8, 8)).sum().backward()
    optimizer.step()
    torch.save({"state_dict": net.state_dict(), "optimizer": optimizer.state_dict()}, tmp_path / "a.pth")
    assert read_state_dict(tmp_path / "a.pth").keys() == net.state_dict().keys()


def test_the_format_before_1_6(tmp_path):
    made = tensors()
    torch.save({"state_dict": made, "step": 3}, tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    read = read_state_dict(tmp_path / "old.pth")
    for name, tensor in made.items():
        expected = tensor.detach().to(torch.float64).numpy()
        np.testing.assert_array_equal(np.array(read[name].read()).astype(np.float64), expected, strict=True)


def test_what_our_tests_take_for_files_before_0_2_is_that(tmp_path):
    arrays = {"w": random_array((3, 4)), "b": random_array((4,), seed=1)}
    state = torch.load(write_legacy(tmp_path / "old.pth", arrays, parameters=True), "cpu", weights_only=True)
    for key, array in arrays.items():
        assert isinstance(state[key], torch.nn.Parameter)
        np.testing.assert_array_equal(state[key].detach().numpy(), array)


def test_what_is_no_state_dict_is_refused(tmp_path):
    torch.save(torch.nn.Linear(2, 2), tmp_path / "module.pth")
    with pytest.raises(ReadError, match=r"refused, it asks for 'torch\.nn\.modules\.linear\.Linear'"):
        read_state_dict(tmp_path / "module.pth")

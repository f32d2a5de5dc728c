"""Test the `verify` command: what it prints, its exit codes, and its errors."""

import json
import re
import sys
import types
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

from tests.torch_files.files import random_array, write_pth
from weight_conversion import torch_oracle, verify
from weight_conversion.__main__ import main
from weight_conversion.convert import read_source
from weight_conversion.report import Comparison, find_partner, kind_of, print_report, rows
from weight_conversion.verify import Row, build, code_error, load_golden, relative_error

GOLDEN = Path(__file__).parents[1] / "parity" / "golden"
CODEC = str(GOLDEN / "vq_f4.pth")
CONFIG = ["--config", str(GOLDEN / "vq_f4_config.json")]


def error_of(capsys, *arguments: object) -> str:
    assert main(["verify", *map(str, arguments)]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ")
    return line


def small_golden(folder: Path, name: str = "vq_io.npz", **changes: np.ndarray) -> Path:
    """Write the smaller case of the autoencoder as a golden file."""
    arrays = {k: v for k, v in load_golden(GOLDEN / "vq_f4_io.npz").items() if k.startswith("case1/")}
    np.savez(folder / name, **arrays | changes)
    return folder / name


def test_a_golden_file_that_is_equal(tmp_path, capsys):
    golden = small_golden(tmp_path, "renamed.npz")
    assert main(["verify", CODEC, "--golden", str(golden), "--kind", "autoencoder"]) == 0  # known by keys and shapes
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[:-1]] == ["encode", "codes", "quantized", "decode", "decode_unquantized"]
    assert all(" ok " in line for line in lines[:-1])
    assert lines[-1] == "first block that departs: none"


def test_a_golden_file_that_is_not(tmp_path, capsys):
    wrong = load_golden(GOLDEN / "vq_f4_io.npz")["case1/decode"] * np.float32(1.0001)
    golden = small_golden(tmp_path, **{"case1/decode": wrong})
    assert main(["verify", CODEC, *CONFIG, "--golden", str(golden)]) == 1
    out = capsys.readouterr().out
    assert [line.split()[0] for line in out.splitlines() if "DEPARTS" in line] == ["decode"]
    assert "first block that departs: decode case1" in out


def test_the_report_keeps_the_largest_error_of_each_array(capsys):
    rows = [Row("a", "1", 1e-6, 1e-5), Row("a", "2", 2e-5, 1e-5), Row("a", "3", 3e-5, 1e-5), Row("b", "1", 0.0, 1e-5)]
    assert print_report(rows)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[:2] for line in lines[:2]] == [["a", "3.00e-05"], ["b", "0.00e+00"]]
    assert lines[2] == "first block that departs: a 2"
    assert not print_report(rows[:1])
    assert print_report([Row("a", "1", float("nan"), 1e-5)])
    assert print_report([]), "nothing compared is no proof"


def test_relative_error():
    assert relative_error([1, 2.0], [1, 2.5]) == pytest.approx(0.2)
    assert relative_error([1, 2.0], [1, 2, 3]) == float("inf")
    assert relative_error([0, 3], [0, 0]) == 3


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("unet_x_io.npz", "unet"),
        ("vq_f8_io.npz", "autoencoder"),
        ("autoencoder.npz", "autoencoder"),
        ("sampler_s4.npz", "sampler"),
    ],
)
def test_kind_by_name(name, kind):
    assert kind_of(Path("unet_folder") / name, {"noise": np.zeros(1)} if kind != "sampler" else {}) == kind


@pytest.mark.parametrize("stem", ["unet_inpaint_io", "vq_f4_io", "sampler_s4"])
def test_kind_by_arrays(stem):
    expected = {"unet": "unet", "vq": "autoencoder", "sampler": "sampler"}[stem.partition("_")[0]]
    assert kind_of(Path("renamed.npz"), load_golden(GOLDEN / f"{stem}.npz")) == expected


def test_cases_of_any_name_and_with_few_arrays(tmp_path, capsys):
    arrays = {k[6:]: v.astype(float) for k, v in load_golden(GOLDEN / "vq_f4_io.npz").items() if k[:5] == "case1"}
    few = {f"seed 3/32x48/{name}": arrays[name] for name in ("x", "decode")}
    np.savez(tmp_path / "a.npz", **few, **arrays)  # the second case has no name, and its codes are of type float64
    assert main(["verify", CODEC, "--golden", str(tmp_path / "a.npz")]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[:-1]] == ["decode", "encode", "codes", "quantized", "decode_unquantized"]
    np.savez(tmp_path / "a.npz", x=arrays["x"])
    assert main(["verify", CODEC, "--golden", str(tmp_path / "a.npz"), "--kind", "autoencoder"]) == 1
    assert "nothing was compared" in capsys.readouterr().out


@pytest.mark.parametrize("golden", [[[[1]]], [[[2]]], [[[-1]]], [[[0, 0]]]])
def test_codes_depart_if_they_are_not_the_nearest_of_the_table(golden):
    table, latent = np.float32([[0, 0], [1, 0]]), np.float32([[[[0.1, 0]]]])
    assert code_error(table, latent, [[[0]]], np.array([[[0]]])) == 0
    assert code_error(table, latent, [[[0]]], np.array(golden)) > 0.1


def test_activations_come_in_the_order_of_the_network():
    names = ["output_blocks.0", "input_blocks.10", "input_blocks.2", "input_blocks.1", "input_blocks.1.1(swin)"]
    ordered = ["time_embed", "input_blocks.1.1(swin)", "input_blocks.1", "input_blocks.2", "input_blocks.10"]
    arrays = {f"act/{name}": np.zeros(1) for name in [*names, "time_embed", "encoder.mid.block_1"]}
    expected = [f"act/{name}" for name in [*ordered, "output_blocks.0", "encoder.mid.block_1"]]
    assert verify._activations(arrays) == expected


def test_complaints(tmp_path, capsys):
    golden = small_golden(tmp_path)
    network = GOLDEN / "unet_sr.pth"
    other = tmp_path / "other.npz"
    np.savez(other, a=np.zeros(1))
    assert "say what it is with --kind" in error_of(capsys, CODEC, "--golden", other)
    assert "is not a file for --kind autoencoder" in error_of(capsys, network, "--golden", golden)
    assert "give one FILE" in error_of(capsys, CODEC, network, "--golden", golden)
    assert "key 'diffusion'" in error_of(capsys, network, CODEC, "--golden", GOLDEN / "sampler_s4.npz", *CONFIG)
    unknown = small_golden(tmp_path, "vq_a.npz", **{"case1/extra": np.zeros(1)})
    assert "'case1/extra' that this kind does not know" in error_of(capsys, CODEC, "--golden", unknown)
    np.savez(tmp_path / "vq_b.npz", **{"case1/x": np.zeros((1, 3, 8, 8), np.float32)})
    np.savez(tmp_path / "vq_b.npz", **{"case1/decode": np.zeros((1, 3, 8, 8), np.float32)})
    assert "vq_b.npz: lacks the array 'x'" in error_of(capsys, CODEC, "--golden", tmp_path / "vq_b.npz")
    np.savez(tmp_path / "vq_b.npz", x=np.zeros((1, 4, 8, 8), np.float32), decode=np.zeros(1))
    assert "seems to belong to another network" in error_of(capsys, CODEC, "--golden", tmp_path / "vq_b.npz")
    np.save(tmp_path / "vq_b.npy", np.zeros(1))
    assert "vq_b.npy: is not an .npz file" in error_of(capsys, CODEC, "--golden", tmp_path / "vq_b.npy")
    (tmp_path / "vq_c.npz").write_bytes(b"\x89PNG")
    assert "vq_c.npz: is not an .npz file" in error_of(capsys, CODEC, "--golden", tmp_path / "vq_c.npz")
    for text, match in [
        ("{", "is not JSON"),
        ("[]", "must hold a JSON object"),
        ('{"n_embed": 3}', "lacks 'ddconfig'"),
        ('{"ddconfig": 3}', "of the wrong type"),
    ]:
        (tmp_path / "c.json").write_text(text)
        assert match in error_of(capsys, CODEC, "--golden", golden, "--config", tmp_path / "c.json")
    data = json.loads((GOLDEN / "vq_f4_config.json").read_text())
    (tmp_path / "c.json").write_text(json.dumps(data | {"n_embed": 63}))
    text = error_of(capsys, CODEC, "--golden", golden, "--config", tmp_path / "c.json")
    assert "wrongly shaped: quantize.embedding.weight [64, 3] for [63, 3]" in text


def test_a_missing_file_is_named(tmp_path, capsys):
    missing = tmp_path / "nosuch.pth"
    for arguments in ([missing, "--golden", GOLDEN / "vq_f4_io.npz"], [CODEC, "--golden", missing]):
        assert error_of(capsys, *arguments).startswith(f"error: {missing}: No such file or directory; check")


@pytest.mark.parametrize(("network", "other"), [("sr", "inpaint"), ("inpaint", "sr")])
def test_the_golden_file_of_another_network_is_told(network, other, capsys):
    text = error_of(capsys, GOLDEN / f"unet_{network}.pth", "--golden", GOLDEN / f"unet_{other}_io.npz")
    assert f"unet_{other}_io.npz: seems to belong to another network" in text


def test_the_partner_of_a_sampler_is_found_only_where_one_fits(tmp_path, capsys):
    (tmp_path / "unet_sr.pth").write_bytes((GOLDEN / "unet_sr.pth").read_bytes())
    (tmp_path / "sampler.npz").write_bytes((GOLDEN / "sampler_s4.npz").read_bytes())
    (tmp_path / "note.pth").write_bytes(b"not a checkpoint")
    arguments = [tmp_path / "unet_sr.pth", "--golden", tmp_path / "sampler.npz"]
    (tmp_path / "c.json").write_text((GOLDEN / "sampler_s4_config.json").read_text())
    arguments += ["--config", tmp_path / "c.json"]
    assert "the file of the codec too" in error_of(capsys, *arguments)


def test_entries_that_are_no_part_of_the_network_are_named(tmp_path, capsys):
    arrays = {key: np.array(tensor.read()) for key, tensor in read_source(Path(CODEC)).state.items()}
    path = write_pth(tmp_path / "vq_f4.pth", arrays | {"loss.logvar": np.zeros(1, np.float32)})
    rows(Comparison(files=[path], golden=GOLDEN / "vq_f4_io.npz"))
    assert capsys.readouterr().err == (
        f"note: {path}: ignored 1 entry that is no part of the VQ autoencoder: loss.logvar\n"
    )


def test_of_equal_autoencoders_the_one_that_made_the_latent_is_taken(tmp_path):
    arrays = {key: np.array(tensor.read()) for key, tensor in read_source(Path(CODEC)).state.items()}
    write_pth(tmp_path / "a.pth", arrays | {"quant_conv.bias": arrays["quant_conv.bias"] + np.float32(0.01)})
    write_pth(tmp_path / "b.pth", arrays)
    golden = load_golden(GOLDEN / "sampler_s4.npz")
    assert find_partner("codec", 4, golden, [tmp_path]).path.name == "b.pth"
    assert find_partner("network", 4, golden, [GOLDEN]).path.name == "unet_sr.pth"
    inpainting = load_golden(GOLDEN / "sampler_inpaint_s4.npz")
    assert find_partner("network", 1, inpainting, [GOLDEN]).path.name == "unet_inpaint.pth"


STAND_IN = '''
class Codec:
    """A stand-in for a PyTorch module that hands its state dict and its inputs to the test."""

    def __init__(self, **settings):
        self.settings = settings

    def load_state_dict(self, state):
        self.state = state

    def eval(self):
        import stand_in_torch
        stand_in_torch.made.append(self)
        return self

    def encode(self, x):
        import stand_in_torch
        return stand_in_torch.encode(x)

    def decode(self, z):
        import stand_in_torch
        return stand_in_torch.decode(z)
'''


@pytest.fixture
def repository(tmp_path, monkeypatch):
    """Make a checkout with a class in it, and a `torch` with the two functions that are used."""
    from contextlib import nullcontext

    torch = types.ModuleType("torch")
    torch.from_numpy = lambda array: array  # pyright: ignore[reportAttributeAccessIssue]
    torch.no_grad = nullcontext  # pyright: ignore[reportAttributeAccessIssue]
    source = read_source(Path(CODEC))
    params, config = source.float32(source.architecture()), source.architecture()
    helper = types.ModuleType("stand_in_torch")
    network = build(config, {name: jnp.asarray(value) for name, value in params.items()})
    to_nhwc, to_nchw = (0, 2, 3, 1), (0, 3, 1, 2)
    helper.made = []  # pyright: ignore[reportAttributeAccessIssue]
    helper.encode = lambda x: np.asarray(network.encode(jnp.asarray(x.transpose(to_nhwc)))).transpose(to_nchw)  # pyright: ignore[reportAttributeAccessIssue]
    helper.decode = lambda z: np.asarray(network.decode(jnp.asarray(z.transpose(to_nhwc)))).transpose(to_nchw)  # pyright: ignore[reportAttributeAccessIssue]
    monkeypatch.setitem(sys.modules, "torch", torch)
    monkeypatch.setitem(sys.modules, "stand_in_torch", helper)
    (tmp_path / "nets").mkdir()
    (tmp_path / "nets" / "codec.py").write_text(STAND_IN)
    yield tmp_path, helper
    for name in ("nets", "nets.codec"):
        sys.modules.pop(name, None)


def test_against_a_torch_class_of_the_users_checkout(repository, capsys, monkeypatch):
    folder, helper = repository
    monkeypatch.setattr(torch_oracle, "_SIZES", ((1, 1),))
    decode = helper.decode
    helper.decode = lambda z: decode(z) * np.float32(1.001)
    assert main(["verify", CODEC, *CONFIG, "--torch-repo", str(folder), "--torch-target", "nets.codec:Codec"]) == 1
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert [(line[0], line[4]) for line in lines[:-1]] == [("encode", "ok"), ("decode", "DEPARTS")]
    assert lines[-1][-2:] == ["decode", "8x8"]
    (made,) = helper.made
    assert made.settings == json.loads((GOLDEN / "vq_f4_config.json").read_text())
    assert made.state.keys() == read_source(Path(CODEC)).state.keys()
    assert str(folder) not in sys.path


def test_torch_repo_complaints(repository, capsys, monkeypatch):
    folder, _ = repository
    assert "cannot make nets.none:Codec" in error_of(
        capsys, CODEC, *CONFIG, "--torch-repo", folder, "--torch-target", "nets.none:Codec"
    )
    monkeypatch.setitem(sys.modules, "torch", None)
    assert "needs PyTorch" in error_of(capsys, CODEC, *CONFIG, "--torch-repo", folder)


@pytest.mark.parametrize("arguments", [[], ["verify"], ["convert", "a.pth"], ["verify", "a.pth"]])
def test_wrong_usage_is_one_line(capsys, arguments):
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert re.fullmatch(r"error: .*; .* --help lists the options", line)


def test_errors_of_convert_are_one_sentence(tmp_path, capsys):
    (tmp_path / "a.pth").write_bytes(random_array((9,)).tobytes())
    assert main(["convert", str(tmp_path / "a.pth"), "-o", str(tmp_path / "out")]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"error: {tmp_path / 'a.pth'}: is neither")

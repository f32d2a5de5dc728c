"""Test blocks, networks, the gradient, single steps and whole chains against the released program's numbers.

`golden/` holds small networks with random weights and what the original PyTorch code computes with them (first batch
entry). `../shared/reference/golden` has more of them, which the tests use where that folder exists.
"""

import json
from collections import Counter
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest

from benchmarks import bench_parity
from jaxsr.models.presets import PixelCodecConfig
from tests.models.tiny import compiled
from weight_conversion import verify
from weight_conversion.__main__ import make_parser
from weight_conversion.convert import read_source
from weight_conversion.report import Comparison, largest_errors, rows
from weight_conversion.settings import unet_config, vq_config
from weight_conversion.tolerances import TOLERANCES
from weight_conversion.verify import Row, load_golden

GOLDEN = Path(__file__).parent / "golden"
NETWORKS = ["unet_sr", "unet_inpaint", "vq_f4"]
CHAINS = {"s4": "unet_sr", "s15": "unet_sr", "s15_respaced5": "unet_sr", "inpaint_s4": "unet_inpaint"}
INPUTS = {"x", "lq", "mask", "t", "cotangent"}


def compared(arguments: list[str]) -> list[Row]:
    """Return all rows that the command `verify` makes of these arguments."""
    args = vars(make_parser().parse_args(["verify", *arguments]))
    return list(rows(Comparison(**{field.name: args[field.name] for field in fields(Comparison)})))


def compare(folder: Path, stem: str, *checkpoints: str) -> list[Row]:
    """Return all rows of a golden file."""
    golden = next(path for path in (folder / f"{stem}_io.npz", folder / f"{stem}.npz") if path.exists())
    files = [str(folder / f"{name}.pth") for name in checkpoints]
    config = str(folder / f"{stem}_config.json")
    return compared([*files, "--config", config, "--golden", str(golden)])


def check_network(folder: Path, stem: str) -> None:
    """Check that every array of every case is compared, and that none departs."""
    found = compare(folder, stem, stem)
    golden = load_golden(folder / f"{stem}_io.npz")
    outputs = [name.replace("/act/", "/") for name in golden if name.split("/")[1] not in INPUTS]
    assert sorted(f"{row.where}/{row.array}" for row in found) == sorted(outputs)
    assert [row for row in found if row.departs] == []


@pytest.mark.parametrize("stem", NETWORKS)
def test_networks_their_blocks_and_gradient(stem):
    check_network(GOLDEN, stem)


@pytest.mark.slow
@pytest.mark.parametrize("stem", ["unet_face", "vq_f8", *NETWORKS])
def test_all_golden_networks(shared, stem):
    check_network(shared / "reference" / "golden", stem)


def check_chain(folder: Path, name: str) -> None:
    """Check the schedule, z_lr, each step alone, all steps together, and the image."""
    found = compare(folder, f"sampler_{name}", CHAINS[name], "vq_f4")
    steps = len(load_golden(folder / f"sampler_{name}.npz")["sqrt_etas"])
    counts = Counter(row.array for row in found)
    once = dict.fromkeys(["sqrt_etas", "timestep_map", "z_lr", "decoded"], 1)
    kinds = [f"{array}{kind}" for array in ("pred_x0", "mean", "sample") for kind in ("", ", one step")]
    assert counts == once | dict.fromkeys(kinds, steps)
    assert [row for row in found if row.departs] == []


@pytest.mark.parametrize(
    "name", ["s4", *(pytest.param(name, marks=pytest.mark.slow) for name in ("inpaint_s4", "s15", "s15_respaced5"))]
)
def test_chains(name):
    check_chain(GOLDEN, name)


@pytest.mark.slow
@pytest.mark.parametrize("name", CHAINS)
def test_all_golden_chains(shared, name):
    check_chain(shared / "reference" / "golden", name)


def test_the_first_block_that_departs_is_the_one_that_was_changed():
    source, config = network("unet_inpaint")
    golden = {
        k: v for k, v in load_golden(GOLDEN / "unet_inpaint_io.npz").items() if k[6:] not in ("cotangent", "vjp_x")
    }
    params = source.float32(config)
    params["output_blocks.1.0.out_layers.3.bias"] += 1e-3
    departing = [row.array for row in verify.verify_unet(config, params, golden) if row.departs]
    assert departing == ["output_blocks.1", "output_blocks.2", "output_blocks.3", "out"]


def network(stem: str):
    data = json.loads((GOLDEN / f"{stem}_config.json").read_text())
    return read_source(GOLDEN / f"{stem}.pth"), (vq_config if stem.startswith("vq") else unet_config)(data)


@pytest.mark.slow
@pytest.mark.usefixtures("way")
def test_bfloat16_networks():
    """The networks compute in bfloat16 with every kind of product.

    The numbers have 8 bits, so each rounding is up to 4e-3.
    """
    found = list(bench_parity.network_rows(GOLDEN, "bfloat16", compiled))
    assert [row["array"] for row in found] == ["out", "encode", "decode"]
    assert all(TOLERANCES["network"] < row["error"] <= TOLERANCES["bfloat16"] for row in found), found


def test_an_error_that_is_no_number_is_the_largest():
    found = largest_errors([Row("a", str(i), error, 1.0) for i, error in enumerate([0.5, float("nan"), 0.7])])
    assert [row.where for row in found] == ["1"]


def test_golden_files_that_lack_an_array_are_one_sentence(tmp_path, capsys):
    for path in GOLDEN.glob("*"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    np.savez(tmp_path / "unet_sr_io.npz", **{"case0/x": np.zeros((1, 3, 16, 16), np.float32)})
    assert bench_parity.main(["--golden", str(tmp_path)]) == 1
    assert capsys.readouterr().err == f"error: {tmp_path / 'unet_sr_io.npz'}: lacks the array case0/lq.\n"


@pytest.mark.parametrize("allowed", [pytest.param(1.0, marks=pytest.mark.slow), 0.0])
def test_the_benchmark_of_parity_fails_with_the_first_error_above_what_is_allowed(
    tmp_path, monkeypatch, capsys, allowed
):
    monkeypatch.setattr(bench_parity, "compiler_options", lambda *_: {"xla_backend_optimization_level": 0})
    monkeypatch.setattr(bench_parity, "TOLERANCES", {"network": allowed, "bfloat16": 1.0})
    if not allowed:  # only the other run computes the networks
        made = lambda *_: [bench_parity.row("network", "float32", "out", 1e-6, allowed)]  # noqa: E731
        monkeypatch.setattr(bench_parity, "network_rows", made)
    chain = [bench_parity.row("chain of 4 steps", "float32", "decoded", 0.0, 1.0)]
    monkeypatch.setattr(bench_parity, "chain_rows", lambda *_: chain)
    output = tmp_path / "parity.json"
    assert bench_parity.main(["-o", str(output)]) == (0 if allowed else 1)
    found = json.loads(output.read_text())["rows"]
    assert {row["what"] for row in found} >= {"network", "chain of 4 steps"}
    assert {row["dtype"] for row in found} == ({"float32", "bfloat16"} if allowed else {"float32"})
    assert ("error: network, out in float32: " in capsys.readouterr().err) == (not allowed)


def test_a_pixel_chain_needs_no_autoencoder_and_clips():
    from weight_conversion.verify_chain import chain_model

    _, config = network("unet_sr")
    settings = json.loads((GOLDEN / "sampler_s4_config.json").read_text())["diffusion"]
    model = chain_model(settings | {"latent_flag": False}, config, None)
    assert model.preset.codec == PixelCodecConfig(1)
    assert model.preset.clip_x0
    assert model.preset.schedule.input_scaling == "pixel"
    with pytest.raises(ValueError, match="scale_factor must be 1"):
        chain_model(settings | {"scale_factor": 0.5}, config, None)


@pytest.mark.slow
def test_a_chain_file_with_few_arrays_and_one_of_other_steps(tmp_path, capsys):
    arrays = load_golden(GOLDEN / "sampler_s4.npz")
    arguments = [*(str(GOLDEN / f"{name}.pth") for name in ("unet_sr", "vq_f4"))]
    arguments += ["--golden", str(tmp_path / "a.npz"), "--config", str(GOLDEN / "sampler_s4_config.json")]

    def found(**kept: np.ndarray) -> list[Row]:
        np.savez(tmp_path / "a.npz", **kept)
        return compared(arguments)

    few = {name: arrays[name] for name in ("lr", "noise", "decoded")}
    (row,) = found(**few)
    assert (row.array, row.departs) == ("decoded", False)
    with pytest.raises(ValueError, match=r"a\.npz: the golden file needs 4 steps.*noise has 4 instead of 5"):
        found(**few | {"noise": arrays["noise"][1:]})
    with pytest.raises(ValueError, match=r"a\.npz: lacks lr, which a chain needs"):
        found(noise=arrays["noise"])


def test_near_ties_are_found_and_tried_either_way():
    from weight_conversion.verify_chain import near_ties

    table = np.float32([[0, 0], [2, 0], [0, 5]])
    latent = np.float32([[[[1, 0], [0.3, 0], [0, 2.5]]]])
    assert near_ties(latent, table) == [((0, 0, 0), 1), ((0, 0, 2), 2)]
    golden = np.array([[[1, 0, 2]]])
    assert verify.code_error(table, latent, np.array([[[0, 0, 0]]]), golden) < TOLERANCES["code"]
    assert verify.code_error(table, latent, np.array([[[1, 1, 2]]]), golden) > TOLERANCES["code"]

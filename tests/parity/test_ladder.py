"""The ladder: blocks, networks, the gradient, single steps and whole chains against the released program's numbers.

`golden/` holds small networks with random weights and what the original PyTorch code made of them (first batch entry);
`../shared/reference/golden` has more, which is used where it is there.
"""

import json
from collections import Counter
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxsr.model import Model
from jaxsr.models.presets import PixelCodecConfig, Preset, ScheduleConfig
from tests.models.tiny import compiled
from weight_conversion import verify
from weight_conversion.__main__ import make_parser
from weight_conversion.convert import read_source
from weight_conversion.report import rows
from weight_conversion.settings import unet_config, vq_config
from weight_conversion.tolerances import TOLERANCES
from weight_conversion.verify import Row, load_golden, nhwc, relative_error

GOLDEN = Path(__file__).parent / "golden"
NETWORKS = ["unet_sr", "unet_inpaint", "vq_f4"]
CHAINS = {"s4": "unet_sr", "s15": "unet_sr", "s15_respaced5": "unet_sr", "inpaint_s4": "unet_inpaint"}
INPUTS = {"x", "lq", "mask", "t", "cotangent"}


def compare(folder: Path, stem: str, *checkpoints: str) -> list[Row]:
    """All rows of a golden file."""
    golden = next(path for path in (folder / f"{stem}_io.npz", folder / f"{stem}.npz") if path.exists())
    files = [str(folder / f"{name}.pth") for name in checkpoints]
    config = str(folder / f"{stem}_config.json")
    return list(rows(make_parser().parse_args(["verify", *files, "--config", config, "--golden", str(golden)])))


def check_network(folder: Path, stem: str) -> None:
    """Every array of every case is compared, and none departs."""
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
    """Schedule, z_lr, each step alone, all steps together, and the image."""
    found = compare(folder, f"sampler_{name}", CHAINS[name], "vq_f4")
    steps = len(load_golden(folder / f"sampler_{name}.npz")["sqrt_etas"])
    counts = Counter(row.array for row in found)
    once = dict.fromkeys(["sqrt_etas", "timestep_map", "z_lr", "decoded"], 1)
    kinds = [f"{array}{kind}" for array in ("pred_x0", "mean", "sample") for kind in ("", ", one step")]
    assert counts == once | dict.fromkeys(kinds, steps)
    assert [row for row in found if row.departs] == []


@pytest.mark.parametrize("name", CHAINS)
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


def test_bfloat16_networks():
    """Compute in bfloat16, whose numbers have 8 bits: each rounding is up to 4e-3."""
    source, config = network("unet_sr")
    codec_source, codec = network("vq_f4")
    schedule = ScheduleConfig(steps=4, min_noise_level=0.2)
    preset = Preset(name="x", scale=4, network=config, codec=codec, schedule=schedule, steps=4)
    model = Model(preset, jnp.bfloat16)
    params = {f"network.{name}": value for name, value in source.float32(config).items()}
    params |= {f"codec.{name}": value for name, value in codec_source.float32(codec).items()}
    case = {k[6:]: v for k, v in load_golden(GOLDEN / "unet_sr_io.npz").items() if k.startswith("case0/")}
    x, lq, t = jnp.asarray(nhwc(case["x"])), jnp.asarray(nhwc(case["lq"])), jnp.asarray(case["t"], jnp.int32)
    run = compiled(lambda params, *inputs: model.predict(params, inputs[0], jnp.ones(1), inputs[1], x, inputs[2]))
    error = relative_error(run(params, x, t, lq), nhwc(case["out"]))
    image = {k[6:]: v for k, v in load_golden(GOLDEN / "vq_f4_io.npz").items() if k.startswith("case1/")}
    with jax.numpy_dtype_promotion("standard"):  # jax's attention asks for the common type of bfloat16 and float32
        encoded = compiled(model.encode)(params, jnp.asarray(nhwc(image["x"])))
        decoded = compiled(model.decode)(params, jnp.asarray(nhwc(image["quantized"])))
    errors = [error, relative_error(encoded, nhwc(image["encode"])), relative_error(decoded, nhwc(image["decode"]))]
    print("bfloat16:", errors)
    assert all(TOLERANCES["network"] < e <= TOLERANCES["bfloat16"] for e in errors)


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


def test_a_chain_file_with_few_arrays_and_one_of_other_steps(tmp_path, capsys):
    arrays = load_golden(GOLDEN / "sampler_s4.npz")
    arguments = ["verify", *(str(GOLDEN / f"{name}.pth") for name in ("unet_sr", "vq_f4"))]
    arguments += ["--golden", str(tmp_path / "a.npz"), "--config", str(GOLDEN / "sampler_s4_config.json")]

    def found(**kept: np.ndarray) -> list[Row]:
        np.savez(tmp_path / "a.npz", **kept)
        return list(rows(make_parser().parse_args(arguments)))

    few = {name: arrays[name] for name in ("lr", "noise", "decoded")}
    (row,) = found(**few)
    assert (row.array, row.departs) == ("decoded", False)
    with pytest.raises(ValueError, match=r"a\.npz.*not of 4 steps.*noise has 4 in place of 5"):
        found(**few | {"noise": arrays["noise"][1:]})
    with pytest.raises(ValueError, match=r"a\.npz: lacks lr, without"):
        found(noise=arrays["noise"])


def test_near_ties_are_found_and_tried_either_way():
    from weight_conversion.verify_chain import near_ties

    table = np.float32([[0, 0], [2, 0], [0, 5]])
    latent = np.float32([[[[1, 0], [0.3, 0], [0, 2.5]]]])
    assert near_ties(latent, table) == [((0, 0, 0), 1), ((0, 0, 2), 2)]
    golden = np.array([[[1, 0, 2]]])
    assert verify.code_error(table, latent, np.array([[[0, 0, 0]]]), golden) < TOLERANCES["code"]
    assert verify.code_error(table, latent, np.array([[[1, 1, 2]]]), golden) > TOLERANCES["code"]

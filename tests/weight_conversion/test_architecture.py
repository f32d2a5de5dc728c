"""Test how hyperparameters follow from keys and shapes or from configuration files, and buffers from them."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from jaxsr.models.presets import PRESETS
from tests.models.tiny import unet_config
from tests.torch_files.files import manifest, torch_shapes
from weight_conversion.architecture import derived_buffers, infer
from weight_conversion.convert import RELEASED
from weight_conversion.settings import input_scaling, released_settings, schedule_config
from weight_conversion.settings import unet_config as parse_unet
from weight_conversion.settings import vq_config as parse_vq

GOLDEN = Path(__file__).parents[1] / "parity" / "golden"
STEMS = {card.files[i].name.removesuffix(".pth") for card in RELEASED.values() for i in (0, 1)}
STEMS -= {"resshift_realsrx4_s15_v2", "SinSR_v1"}  # these have the layout of s15_v1


@pytest.mark.parametrize("stem", sorted(STEMS))
def test_released_layouts_are_told_from_keys_and_shapes_alone(stem):
    entries = manifest(stem)
    config = infer({key: shape for key, shape, _, _ in entries})
    found = {preset for preset in RELEASED if config in (PRESETS[preset].network, PRESETS[preset].codec)}
    named = {p for p, card in RELEASED.items() if f"{stem}.pth" in {file.name for file in card.files}}
    assert named <= found
    buffers = {key: shape for key, shape, _, kind in entries if kind == "buffer"}
    assert {key: array.shape for key, array in derived_buffers(config).items()} == buffers


SMALL = [
    unet_config(),
    unet_config(swin_depth=1, image_size=2, lq_size=2),
    unet_config(image_size=32, lq_size=128, cond_mask=True, window_size=8, attention_resolutions=(32,)),
    unet_config(channel_mult=(1, 2, 3), num_res_blocks=(1, 2, 1), image_size=32, lq_size=32, mlp_ratio=3),
    unet_config(channel_mult=(1, 1), num_res_blocks=(2, 1), attention_resolutions=(8,), out_channels=5, in_channels=5),
    unet_config(swin_depth=4, swin_embed_dim=64, num_head_channels=16, cond_mask=True),
    replace(PRESETS["faceir_s4"].codec, ch=32, n_embed=16),  # pyright: ignore[reportArgumentType]
    replace(PRESETS["realsr_s4_v3"].codec, ch=32, num_res_blocks=(1, 3, 2)),  # pyright: ignore[reportArgumentType]
]


@pytest.mark.parametrize("config", SMALL)
def test_infer_inverts_the_layout_of_our_own_networks(config):
    assert infer(torch_shapes(config)) == config


def test_without_buffers_the_nominal_size_is_that_of_the_released_networks():
    config = unet_config(window_size=4, image_size=32, lq_size=64)
    shapes = {key: shape for key, shape in torch_shapes(config).items() if key not in derived_buffers(config)}
    assert infer(shapes) == config


def test_the_mask_of_the_released_networks_is_computed_for_the_nominal_size():
    config = unet_config(image_size=16, window_size=4)
    mask = derived_buffers(config)["middle_block.1.blocks.1.attn_mask"]
    assert mask.shape == (16, 16, 16)
    assert sorted(np.unique(mask)) == [-100, 0]


@pytest.mark.parametrize(
    ("shapes", "match"),
    [
        ({"conv.weight": (1, 2, 3, 3)}, "neither a Swin-UNet"),
        ({"time_embed.0.weight": (128, 32)}, r"output_blocks\.0\.0\.out_layers\.3\.weight.*missing"),
        ({"quantize.embedding.weight": (8, 3)}, r"encoder\.conv_in\.weight.*missing"),
    ],
)
def test_other_layouts(shapes, match):
    with pytest.raises(ValueError, match=match):
        infer(shapes)


def golden_config(stem: str) -> dict:
    return json.loads((GOLDEN / f"{stem}_config.json").read_text())


@pytest.mark.parametrize(("change", "same"), [({"num_res_blocks": 1}, True), ({"mlp_ratio": 2.5}, False)])
def test_unet_configuration(change, same):
    data = golden_config("unet_sr")
    assert (parse_unet(data | change) == parse_unet(data)) is same
    assert parse_unet(released_settings(parse_unet(data))) == parse_unet(data)


def test_attention_at_sizes_that_do_not_occur_is_left_out():
    assert parse_unet(golden_config("unet_sr") | {"attention_resolutions": [16, 4, 2]}).attention_resolutions == (16,)


def test_autoencoder_configuration():
    data = golden_config("vq_f4")
    config = parse_vq(data)
    assert config.num_res_blocks == (1, 1, 1)
    assert parse_vq(released_settings(config)) == config
    data["ddconfig"]["num_res_blocks"] = [1, 2, 1]
    assert parse_vq(data).num_res_blocks == (1, 2, 1)


@pytest.mark.parametrize(
    ("latent", "normalize", "expected"),
    [(True, True, "latent"), (False, True, "pixel"), (True, False, "none"), (False, False, "none")],
)
def test_input_scaling(latent, normalize, expected):
    assert input_scaling({"latent_flag": latent, "normalize_input": normalize}) == expected


def test_schedule_configuration():
    config = schedule_config(golden_config("sampler_s15")["diffusion"])
    assert config == PRESETS["realsr_s15_v1"].schedule
    changed = golden_config("sampler_s15")["diffusion"] | {
        "schedule_kwargs": {"power": 2.0},
        "etas_end": 0.9,
        "kappa": 1,
    }
    assert schedule_config(changed) == replace(config, power=2.0, sqrt_eta_end=0.9, kappa=1.0)


@pytest.mark.parametrize(
    ("parse", "stem", "change", "match"),
    [
        (parse_unet, "unet_sr", {"use_scale_shift_norm": False}, "use_scale_shift_norm is False, and only True"),
        (parse_unet, "unet_sr", {"cond_lq": False}, "cond_lq"),
        (parse_unet, "unet_sr", {"window_size": None}, "lacks 'window_size'"),
        (parse_vq, "vq_f4", {"ddconfig": {"attn_resolutions": [16]}}, "attn_resolutions"),
        (parse_vq, "vq_f4", {"n_embed": None}, "lacks 'n_embed'"),
        (schedule_config, "sampler_s4", {"predict_type": "epsilon"}, "predict_type is 'epsilon'"),
        (schedule_config, "sampler_s4", {"schedule_name": "linear"}, "schedule_name"),
        (schedule_config, "sampler_s4", {"kappa": None}, "lacks 'kappa'"),
    ],
)
def test_settings_without_a_counterpart_are_refused(parse, stem, change, match):
    data = golden_config(stem)
    data = data.get("diffusion", data) | change
    with pytest.raises(ValueError, match=match):
        parse({key: value for key, value in data.items() if value is not None})

"""Test every released preset against its checkpoint's manifest: hyperparameters, and name and shape of every weight."""

import gzip
import json
import math
import time
from functools import cache
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

from jaxsr.models.conv_unet import ConvUNetConfig
from jaxsr.models.model import Model
from jaxsr.models.presets import PRESETS, PixelCodecConfig, preset_from_dict
from jaxsr.models.swin_layer import attention_mask, relative_position_index
from jaxsr.models.vq_autoencoder import VQConfig
from tests.mutations import places, spoilt

GOLDEN = Path(__file__).parents[1] / "golden"
# The two presets without a manifest of their own (realsr_s15_v2, sinsr_v1) have the layout of s15_v1.
MANIFESTS = {
    "realsr_s4_v3": "resshift_realsrx4_s4_v3",
    "realsr_s15_v1": "resshift_realsrx4_s15_v1",
    "realsr_s15_v2": "resshift_realsrx4_s15_v1",
    "bicsr_s4": "resshift_bicsrx4_s4",
    "inpainting_imagenet_s4": "resshift_inpainting_imagenet_s4",
    "inpainting_face_s4": "resshift_inpainting_face_s4",
    "faceir_s4": "resshift_faceir_s4",
    "sinsr_v1": "resshift_realsrx4_s15_v1",
}
released = pytest.mark.parametrize("name", MANIFESTS)


@cache
def manifest(file: str) -> dict[str, Any]:
    return json.loads(gzip.decompress((GOLDEN / "manifests" / f"{file}.json.gz").read_bytes()))


def network_and_codec(name: str) -> dict[str, dict[str, Any]]:
    """Return the manifests of a preset's two checkpoints."""
    network = manifest(MANIFESTS[name])
    return {"network": network, "codec": manifest(network["autoencoder"].removesuffix(".pth"))}


@cache
def shapes(network: Any, codec: Any) -> tuple[dict[str, tuple[int, ...]], float, int]:
    """Return `Model.shapes()` of the preset with this network and codec, and the seconds and device bytes it took."""
    preset = next(p for p in PRESETS.values() if (p.network, p.codec) == (network, codec))
    model, start, before = Model(preset), time.process_time(), bytes_on_devices()
    return model.shapes(), time.process_time() - start, bytes_on_devices() - before


def bytes_on_devices() -> int:
    return sum(array.nbytes for array in jax.live_arrays())


def renamed(part: str, key: str, shape: list[int]) -> tuple[str, tuple[int, ...]]:
    """Return our name and shape of a PyTorch weight, from its name and number of axes alone."""
    parent, _, last = key.rpartition(".")
    if last != "weight":
        return f"{part}.{key}", tuple(shape)
    if parent == "quantize.embedding":
        return f"{part}.{parent}.embedding", tuple(shape)
    if len(shape) == 1:
        return f"{part}.{parent}.scale", tuple(shape)
    outputs, inputs, *size = shape
    if size in ([], [1, 1]):
        return f"{part}.{parent}.kernel", (inputs, outputs)
    return f"{part}.{parent}.kernel", (*size, inputs, outputs)


def rows(part: dict[str, Any]) -> list[tuple[str, list[int], str, str]]:
    return part["unet_state_dict"] if "unet_state_dict" in part else part["state_dict"]


def test_every_preset_but_our_own_is_a_released_one() -> None:
    assert set(PRESETS) - set(MANIFESTS) == {"tiny_x4", "photo_x4"}
    assert all(name == preset.name for name, preset in PRESETS.items())


@released
def test_every_parameter_has_the_released_name_and_shape(name: str) -> None:
    expected = dict(
        renamed(part, key, shape)
        for part, content in network_and_codec(name).items()
        for key, shape, _, kind in rows(content)
        if kind == "param"
    )
    ours, _, _ = shapes(PRESETS[name].network, PRESETS[name].codec)
    assert ours == expected


@released
def test_parameter_count(name: str) -> None:
    ours, _, _ = shapes(PRESETS[name].network, PRESETS[name].codec)
    for part, content in network_and_codec(name).items():
        count = sum(int(np.prod(shape)) for key, shape in ours.items() if key.startswith(f"{part}."))
        assert count == sum(int(np.prod(shape)) for _, shape, _, kind in rows(content) if kind == "param")
    if name == "realsr_s4_v3":
        total = {part: sum(np.prod(s) for k, s in ours.items() if k.startswith(part)) for part in ("network", "codec")}
        assert {part: round(n / 1e6, 1) for part, n in total.items()} == {"network": 118.6, "codec": 55.3}


@released
def test_shapes_allocate_nothing(name: str) -> None:
    _, seconds, allocated = shapes(PRESETS[name].network, PRESETS[name].codec)
    assert seconds < 10, "about 1 s on an idle core"
    assert allocated < 1e6, "the parameters are 700 MB"


@released
def test_network_has_the_released_hyperparameters(name: str) -> None:
    network, released = PRESETS[name].network, dict(network_and_codec(name)["network"]["model"])
    fixed = {"dropout": 0, "conv_resample": True, "dims": 2, "use_fp16": False, "use_scale_shift_norm": True}
    fixed |= {"resblock_updown": False, "cond_lq": True}  # how the network is built; there is no option
    assert {key: released.pop(key) for key in fixed} == fixed
    released = {"cond_mask": False} | {k: tuple(v) if isinstance(v, list) else v for k, v in released.items()}
    assert {key: getattr(network, key) for key in released} == released
    assert (network.lq_channels, network.norm, network.window_mask) == (3, "group", "released")


@released
def test_schedule_has_the_released_hyperparameters(name: str) -> None:
    preset, diffusion = PRESETS[name], dict(network_and_codec(name)["network"]["diffusion"])
    fixed = {"schedule_name": "exponential", "weighted_mse": False, "predict_type": "xstart", "scale_factor": 1.0}
    fixed |= {"timestep_respacing": None, "normalize_input": True, "latent_flag": True}
    assert {key: diffusion.pop(key) for key in fixed} == fixed
    schedule = preset.schedule
    assert diffusion == {
        "sf": preset.scale,
        "schedule_kwargs": {"power": schedule.power},
        "etas_end": schedule.sqrt_eta_end,
        "steps": schedule.steps,
        "min_noise_level": schedule.min_noise_level,
        "kappa": schedule.kappa,
    }
    assert (preset.prediction, preset.clip_x0, schedule.input_scaling) == ("x0", False, "latent")
    one_step = name == "sinsr_v1"
    assert (preset.steps, preset.sampler) == ((1, "deterministic") if one_step else (schedule.steps, "ancestral"))


@pytest.mark.parametrize(("name", "table"), [("realsr_s4_v3", "realsr_v3_s4"), ("sinsr_v1", "realsr_v1_s15")])
def test_schedule_is_built_from_its_hyperparameters(name: str, table: str) -> None:
    golden = np.load(GOLDEN / "schedules.npz")
    np.testing.assert_allclose(PRESETS[name].schedule.build().eta, golden[f"{table}/etas"], rtol=1e-12)


@released
def test_codec_has_the_released_hyperparameters(name: str) -> None:
    codec, parts = PRESETS[name].codec, network_and_codec(name)
    assert isinstance(codec, VQConfig)
    assert parts["network"]["autoencoder_params"] == parts["codec"]["params"]
    params = dict(parts["codec"]["params"])
    levels = dict(params.pop("ddconfig"))
    fixed = {"double_z": False, "attn_resolutions": [], "dropout": 0.0, "padding_mode": "zeros"}
    assert {key: levels.pop(key) for key in fixed} == fixed
    assert levels.pop("resolution") == codec.factor * PRESETS[name].network.image_size
    blocks = levels.pop("num_res_blocks")
    assert codec.num_res_blocks == (tuple(blocks) if isinstance(blocks, list) else (blocks,) * len(codec.ch_mult))
    assert codec.ch_mult == tuple(levels.pop("ch_mult"))
    assert {key: getattr(codec, key) for key in params | levels} == params | levels


@released
def test_derived_buffers_have_the_released_shapes(name: str) -> None:
    """Where the released network has a mask, ours shifts; the mask's shape follows from the level's nominal size."""
    config = PRESETS[name].network
    masks = {key: shape for key, shape, _, kind in rows(network_and_codec(name)["network"]) if key.endswith("mask")}
    indices = [shape for key, shape, _, kind in rows(network_and_codec(name)["network"]) if key.endswith("index")]
    assert {tuple(shape) for shape in indices} == {relative_position_index(config.window_size).shape}
    sizes = [config.image_size >> level for level in range(3)]  # the fourth is no larger than the window: no shift
    down = {f"input_blocks.{1 + 3 * level}.1.blocks.1.attn_mask": size for level, size in enumerate(sizes)}
    up = {f"output_blocks.{9 - 3 * level}.1.blocks.1.attn_mask": size for level, size in enumerate(sizes)}
    window = config.window_size
    assert masks == {
        key: list(attention_mask(size, size, window, window // 2, config.window_mask).shape)
        for key, size in (down | up).items()
    }


@pytest.mark.parametrize("name", ["realsr_s15_v2", "sinsr_v1"])
def test_those_without_a_manifest_have_the_layout_of_s15_v1(name: str) -> None:
    preset, first = PRESETS[name], PRESETS["realsr_s15_v1"]
    assert (preset.network, preset.codec, preset.schedule) == (first.network, first.codec, first.schedule)


@pytest.mark.parametrize(
    ("name", "align", "factor"), [("realsr_s4_v3", 64, 4), ("inpainting_face_s4", 256, 4), ("faceir_s4", 512, 8)]
)
def test_multiple_that_the_lr_image_is_padded_to(name: str, align: int, factor: int) -> None:
    assert (PRESETS[name].align, PRESETS[name].latent_factor) == (align, factor)


@pytest.mark.parametrize("name", PRESETS)
def test_network_and_codec_fit_each_other(name: str) -> None:
    preset = PRESETS[name]
    outputs = 2 if preset.prediction == "wiener" else 1
    assert preset.network.in_channels == preset.codec.latent_channels
    assert preset.network.out_channels == outputs * preset.codec.latent_channels
    if isinstance(preset.network, ConvUNetConfig):
        assert preset.network.lq_factor * preset.scale == preset.latent_factor
    else:
        assert preset.network.lq_size * preset.scale == preset.network.image_size * preset.latent_factor


@pytest.mark.parametrize("name", PRESETS)
def test_preset_survives_json(name: str) -> None:
    assert preset_from_dict(json.loads(json.dumps(PRESETS[name].to_dict()))) == PRESETS[name]


def without(data: dict[str, Any], key: str) -> dict[str, Any]:
    return {k: v for k, v in data.items() if k != key}


@pytest.mark.parametrize(
    "spoil",
    [
        lambda data: without(data, "codec"),
        lambda data: without(data, "steps"),
        lambda data: data | {"unheard_of": 1},
        lambda data: data | {"network": data["network"] | {"unheard_of": 1}},
        lambda data: data | {"schedule": without(data["schedule"], "steps")},
    ],
)
def test_preset_with_fields_missing_or_unknown_is_refused(spoil) -> None:
    with pytest.raises(ValueError, match="preset cannot be read"):
        preset_from_dict(spoil(PRESETS["realsr_s4_v3"].to_dict()))


VALUES = (None, "x", -1, 0, 1e300, math.nan, True, [], {}, [1] * 70, 10**9, [[]], 1.5, {"a": 1}, 2**15)


def _refusal(data: dict[str, Any]) -> str:
    try:
        preset_from_dict(data).schedule.build()
    except ValueError as error:
        return str(error)
    return ""


@pytest.mark.parametrize("name", ["photo_x4", "tiny_x4", "realsr_s4_v3"])
def test_any_value_anywhere_is_read_or_refused_in_one_sentence(name: str) -> None:
    whole, refused = json.loads(json.dumps(PRESETS[name].to_dict())), 0
    for data in spoilt(whole, places(whole, whole=("residual_std",)), VALUES):
        message = _refusal(data)
        refused += bool(message)
        assert "\n" not in message
        assert len(message) < 400
    assert refused > 200
    for data in ({}, {"network": 3, "codec": [], "schedule": None}, {"network": {}}):
        with pytest.raises(ValueError, match="preset cannot be read"):
            preset_from_dict(data)


def test_only_pixel_models_clip() -> None:
    clipping = {name for name, preset in PRESETS.items() if preset.clip_x0}
    assert clipping == {name for name, preset in PRESETS.items() if isinstance(preset.codec, PixelCodecConfig)}
    assert "tiny_x4" in clipping

"""Test training configs: values that do not fit together, presets that need a codec, and config files."""

from dataclasses import replace
from pathlib import Path

import pytest

from jaxsr.models.presets import PRESETS
from jaxsr.training.config import load_config
from tests.training.tiny_run import LATENT, PIXEL, make_config, write_config

CONFIGS = Path(__file__).parents[2] / "configs"


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"hr_size": 20}, "hr_size: must be a multiple of 8 for this preset, got 20."),
        ({"batch_size": 0}, "batch_size: must be at least 1, got 0."),
        ({"accumulate": 0}, "accumulate: must be at least 1, got 0."),
        ({"accumulate": 3}, "accumulate: 3 does not divide batch_size 4."),
        ({"steps": 0}, "steps: must be at least 1, got 0."),
        ({"checkpoint_every": 0}, "checkpoint_every: must be at least 1, got 0."),
        ({"stop_at": 0}, r"stop_at: must be 1 to steps \(12\), got 0."),
        ({"stop_at": 13}, r"stop_at: must be 1 to steps \(12\), got 13."),
        ({"warmup": 12}, r"warmup: must be below steps \(12\), got 12."),
        ({"warmup": -1}, r"warmup: must be below steps \(12\), got -1."),
        ({"learning_rate": -1.0}, "learning_rate: must be 0 or more, got -1."),
        ({"learning_rate": float("nan")}, "learning_rate: must be 0 or more, got nan."),
        ({"weight_decay": -0.1}, "weight_decay: must be 0 or more, got -0.1."),
        ({"ema_decay": 1.0}, "ema_decay: must be 0 or more and below 1, got 1."),
        ({"perceptual_weight": -0.1}, "perceptual_weight: must be 0 or more, got -0.1."),
        ({"sample_every": -1}, "sample_every: must be 0 or more, got -1."),
        ({"codec_checkpoint": "vq"}, "codec_checkpoint: tiny works on pixels, without a VQ autoencoder; leave it out."),
    ],
)
def test_values_that_do_not_fit_are_refused(changed, message):
    with pytest.raises(ValueError, match=f"^{message}$"):
        make_config(**changed)


@pytest.mark.parametrize(
    ("name", "value", "choices"),
    [
        ("loss", "huber", "plain, weighted"),
        ("precision", "fp16", "fp32, bf16, auto"),
        ("degradation", "blur", "bicubic, real_esrgan, photo, photo_mild"),
        ("optimizer", "sgd", "adamw, muon"),
        ("perceptual_over_t", "t", "constant, eta"),
        ("perceptual", "ssim", "none, lpips-alex, lpips-vgg"),
    ],
)
def test_unknown_choices_are_refused(name, value, choices):
    config = make_config()
    object.__setattr__(config, name, value)  # the type checker of the tests would refuse it first
    with pytest.raises(ValueError, match=f"^{name}: no '{value}'; choose one of {choices}.$"):
        config.__post_init__()


def test_latent_presets_need_a_codec():
    with pytest.raises(ValueError, match=r"^codec_checkpoint: tiny_vq needs a checkpoint folder with its VQ auto"):
        make_config(LATENT)
    assert make_config(LATENT, codec_checkpoint="vq").codec_checkpoint == "vq"


def test_presets_with_a_mask_are_refused():
    masked = [name for name, preset in PRESETS.items() if preset.network.cond_mask]
    assert len(masked) == 2
    for name in masked:
        with pytest.raises(ValueError, match=f"^preset: {name} takes a mask"):
            make_config(PRESETS[name], hr_size=256, codec_checkpoint="vq")


def test_every_other_preset_can_be_trained():
    for preset in PRESETS.values():
        if not preset.network.cond_mask:
            codec = None if preset.clip_x0 else "vq"
            config = make_config(preset, hr_size=preset.align * preset.scale, codec_checkpoint=codec)
            assert replace(config, seed=4).seed == 4


def test_config_file(tmp_path):
    config = load_config(write_config(tmp_path / "run.py", seed=5))
    assert config == make_config(seed=5)
    assert config.preset == PIXEL
    assert not (tmp_path / "__pycache__").exists()


@pytest.mark.parametrize("path", sorted(CONFIGS.rglob("*.py")), ids=str)
def test_every_config_of_the_repository_loads(path):
    config = load_config(path)
    assert config.hr_size % (config.preset.align * config.preset.scale) == 0


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "there is no file"),
        ("", "must define `config = TrainConfig"),
        ("config = 3", "must define `config = TrainConfig"),
        ("config = 1 / 0", "fails with ZeroDivisionError"),
        ("config = (", "fails with SyntaxError"),
    ],
)
def test_broken_config_files_are_refused_by_name(tmp_path, text, message):
    file = tmp_path / "run.py"
    if text is not None:
        file.write_text(text)
    with pytest.raises(ValueError, match=rf"(?s)^--config: .*{message}") as caught:
        load_config(file)
    assert str(file) in str(caught.value)

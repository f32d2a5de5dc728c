"""Make a model small enough to train inside a test, its photographs and config file; read what a run leaves."""

import json
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from PIL import Image

from jaxsr.hub import checkpoint
from jaxsr.models.model import Model
from jaxsr.models.presets import ModelPreset, PixelCodecConfig, ScheduleConfig
from jaxsr.models.swin_unet import SwinUNetConfig
from jaxsr.models.vq_autoencoder import VQConfig
from jaxsr.training.config import TrainConfig

NETWORK = SwinUNetConfig(
    image_size=8,
    in_channels=12,
    out_channels=12,
    model_channels=32,
    channel_mult=(1,),
    num_res_blocks=(1,),
    attention_resolutions=(),
    num_head_channels=16,
    swin_embed_dim=32,
    swin_depth=1,
    window_size=4,
    mlp_ratio=1,
    lq_size=8,
)
PIXEL = ModelPreset(
    name="tiny",
    scale=2,
    network=NETWORK,
    codec=PixelCodecConfig(2),
    schedule=ScheduleConfig(steps=4, min_noise_level=0.2),
    steps=2,
)
LATENT = replace(
    PIXEL,
    name="tiny_vq",
    network=replace(NETWORK, in_channels=3, out_channels=3),
    codec=VQConfig(embed_dim=3, n_embed=8, z_channels=3, ch=32, ch_mult=(1, 1), num_res_blocks=(1, 1)),
)
CONFIG_FILE = """
from jaxsr.models.presets import preset_from_dict
from jaxsr.training.config import TrainConfig

config = TrainConfig(preset=preset_from_dict({preset}), **{values})
"""


def values(**changed: Any) -> dict[str, Any]:
    """Return the fields of a short run, without the preset."""
    run = {"data": "photos", "hr_size": 16, "batch_size": 4, "steps": 12, "learning_rate": 1e-2, "warmup": 2}
    return run | {"checkpoint_every": 3} | changed


def make_config(preset: ModelPreset = PIXEL, **changed: Any) -> TrainConfig:
    return TrainConfig(preset=preset, **values(**changed))


def write_photos(folder: Path, side: int = 20) -> Path:
    """Write three small random photographs of at least that side; return their folder."""
    folder.mkdir()
    for i in range(3):
        pixels = np.random.default_rng(i).integers(0, 256, (side, side + 4 + i, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{i}.png")
    return folder


def write_config(path: Path, preset: ModelPreset = PIXEL, **changed: Any) -> Path:
    """Write a config file of that run."""
    path.write_text(CONFIG_FILE.format(preset=preset.to_dict(), values=values(**changed)))
    return path


def silent(line: str) -> None:
    """Take a line of progress and do nothing with it."""


def log_rows(output: Path) -> list[dict]:
    """Return the log of a run."""
    return [json.loads(line) for line in (output / "log.jsonl").read_text().splitlines()]


def results(output: Path) -> list[tuple]:
    """Return the part of the log that does not depend on the clock."""
    return [(row["step"], row["loss"], row["grad_norm"]) for row in log_rows(output)]


def steps_kept(output: Path) -> list[str]:
    """Return the names of the checkpoints."""
    return sorted(path.name for path in (output / "checkpoints").iterdir())


def model_bytes(output: Path) -> bytes:
    """Return the bytes of the final model's file."""
    return (output / "model" / checkpoint.FILE_NAME).read_bytes()


def sine_noise(key: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    """Return noise of about mean 0 and variance 1.

    It replaces `jax.random.normal`, which takes XLA seconds to compile for CPUs.
    """
    phase = 1e3 * jax.random.uniform(key)
    return jnp.sqrt(2.0) * jnp.sin(phase + 2.4 * jnp.arange(np.prod(shape), dtype=jnp.float32)).reshape(shape)


@dataclass(frozen=True)
class Fake(Model):
    """A model that predicts gain * scaled x_t + bias and records its arguments; there is almost nothing to compile."""

    calls: list[tuple] = field(default_factory=list)

    def shapes(self):
        return dict.fromkeys(self.init(None), (1, 1, 1, 1))

    def init(self, key):
        return {"network.gain.kernel": jnp.full((1, 1, 1, 1), 0.5), "network.bias": jnp.full((1, 1, 1, 1), 0.1)}

    def predict(self, params, x_t, input_scale, timesteps, z_lr, lq, mask=None):
        self.calls.append((x_t, input_scale, timesteps, z_lr, lq))
        return params["network.gain.kernel"] * (x_t * input_scale.reshape(-1, 1, 1, 1)) + params["network.bias"]

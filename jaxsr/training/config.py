"""What a training run is made of, as one frozen dataclass; files in configs/ fill it in."""

import importlib.util
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from jaxsr.models.presets import Preset


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """A training run.

    Attributes:
        preset: the model to train.
        data: a folder of photographs, or `tfds:NAME/SPLIT` (`div2k`, `imagenet2012`).
        degradation: `bicubic` (MATLAB's) or `real_esrgan` (second order).
        hr_size: side of the HR crops in pixels, a multiple of the preset's `align` times its scale.
        batch_size: examples per update, over all devices and hosts.
        accumulate: micro-batches that an update's batch is split into; their gradients are averaged.
        steps: updates.
        learning_rate: peak, after `warmup` updates; then a cosine down to zero.
        warmup: updates of linear warm-up.
        weight_decay: of AdamW, on kernels alone.
        clip_norm: gradients are scaled down to this global norm.
        ema_decay: decay of the averaged parameters, which are what is kept; shortened at the start.
        loss: `plain`: mean squared error of x_0; `weighted`: times the variational weight of the step.
        precision: compute dtype, `fp32` or `bf16`; parameters stay in float32.
        checkpoint_every: updates between checkpoints.
        sample_every: updates between sample images (0: none).
        seed: every random choice of the run comes from it.
    """

    preset: Preset
    data: str
    degradation: Literal["bicubic", "real_esrgan"] = "bicubic"
    hr_size: int
    batch_size: int
    accumulate: int = 1
    steps: int
    learning_rate: float
    warmup: int = 200
    weight_decay: float = 0.0
    clip_norm: float = 1.0
    ema_decay: float = 0.999
    loss: Literal["plain", "weighted"] = "plain"
    precision: Literal["fp32", "bf16"] = "fp32"
    checkpoint_every: int = 500
    sample_every: int = 0
    seed: int = 0

    def __post_init__(self) -> None:
        unit = self.preset.align * self.preset.scale
        if self.hr_size % unit:
            raise ValueError(f"hr_size: must be a multiple of {unit} for this preset, got {self.hr_size}.")
        if self.batch_size % self.accumulate:
            raise ValueError(f"accumulate: {self.accumulate} does not divide batch_size {self.batch_size}.")
        if not 0 <= self.warmup < self.steps:
            raise ValueError(f"warmup: must be below steps ({self.steps}), got {self.warmup}.")

    def to_dict(self) -> dict[str, Any]:
        """Plain data, for the log and the checkpoint."""
        return asdict(self)


def load_config(path: Path) -> TrainConfig:
    """The `config` that a Python file defines.

    Raises:
        ValueError: if the file is missing or defines no `TrainConfig` named `config`.
    """
    if not path.is_file():
        raise ValueError(f"--config: there is no file {path}.")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    config = getattr(module, "config", None)
    if not isinstance(config, TrainConfig):
        raise ValueError(f"--config: {path} must define `config = TrainConfig(...)`.")
    return config

"""What a training run is made of, as one frozen dataclass; files in configs/ fill it in."""

import runpy
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

from jaxsr.models.presets import ModelPreset
from jaxsr.models.vq_autoencoder import VQConfig


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """A training run.

    Attributes:
        preset: the model to train, one without a mask.
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
        codec_checkpoint: where the preset has a VQ autoencoder, a checkpoint folder that holds its parameters
            (`codec.*`); they stay as they are and become part of the trained model.
        stop_at: stop, and export, after this many updates of the schedule of `steps`.
        start_from: a checkpoint folder whose network's parameters training starts from, in place of random ones.
    Raises:
        ValueError: for values that do not fit together, with the field's name first.
    """

    preset: ModelPreset
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
    codec_checkpoint: str | None = None
    start_from: str | None = None
    stop_at: int | None = None

    def __post_init__(self) -> None:
        self._check_values()
        self._check_preset()
        unit = self.preset.align * self.preset.scale
        if self.hr_size % unit:
            raise ValueError(f"hr_size: must be a multiple of {unit} for this preset, got {self.hr_size}.")
        if self.batch_size % self.accumulate:
            raise ValueError(f"accumulate: {self.accumulate} does not divide batch_size {self.batch_size}.")
        if self.stop_at is not None and not 1 <= self.stop_at <= self.steps:
            raise ValueError(f"stop_at: must be 1 to steps ({self.steps}), got {self.stop_at}.")
        if not 0 <= self.warmup < self.steps:
            raise ValueError(f"warmup: must be below steps ({self.steps}), got {self.warmup}.")

    @property
    def last_step(self) -> int:
        """The update after which the run ends."""
        return self.stop_at or self.steps

    def _check_values(self) -> None:
        for name in ("batch_size", "accumulate", "steps", "checkpoint_every"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}: must be at least 1, got {getattr(self, name)}.")
        for name, hint in get_type_hints(type(self)).items():
            if get_origin(hint) is Literal and getattr(self, name) not in get_args(hint):
                raise ValueError(f"{name}: no {getattr(self, name)!r}; choose one of {', '.join(get_args(hint))}.")

    def _check_preset(self) -> None:
        name, latent = self.preset.name, isinstance(self.preset.codec, VQConfig)
        if self.preset.network.cond_mask:
            raise ValueError(f"preset: {name} takes a mask, which training has no data for; choose another preset.")
        if latent and not self.codec_checkpoint:
            raise ValueError(
                f"codec_checkpoint: {name} needs a checkpoint folder with its VQ autoencoder's parameters."
            )
        if not latent and self.codec_checkpoint:
            raise ValueError(f"codec_checkpoint: {name} works on pixels, without a VQ autoencoder; leave it out.")

    def to_dict(self) -> dict[str, Any]:
        """Plain data, for the log and the checkpoint."""
        return asdict(self)


def load_config(path: Path) -> TrainConfig:
    """The `config` that a Python file defines.

    Raises:
        ValueError: if the file is missing, fails or defines no `TrainConfig` named `config`.
    """
    if not path.is_file():
        raise ValueError(f"--config: there is no file {path}.")
    try:
        config = runpy.run_path(str(path)).get("config")
    except Exception as error:  # the file may run anything
        raise ValueError(f"--config: {path} fails with {type(error).__name__}: {error}") from error
    if not isinstance(config, TrainConfig):
        raise ValueError(f"--config: {path} must define `config = TrainConfig(...)`.")
    return config

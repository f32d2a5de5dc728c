"""The settings of a training run, as one frozen dataclass. The files in configs/ fill it in."""

import runpy
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

from jaxsr.metrics.lpips import NETS
from jaxsr.models.presets import ModelPreset
from jaxsr.models.vq_autoencoder import VQConfig

SHIFTS = 8
"""Number of positions of the perceptual metric's crop along each axis."""


_ANY = float("inf")
_RANGES = {
    "learning_rate": (0.0, _ANY),
    "weight_decay": (0.0, _ANY),
    "clip_norm": (0.0, _ANY),
    "ema_decay": (0.0, 1.0),
    "perceptual_weight": (0.0, _ANY),
    "detail_weight": (0.0, _ANY),
    "sample_every": (0, _ANY),
    "seed": (0, _ANY),
}
"""The least number that each field may have, and the number below which it must be."""


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """The settings of a training run.

    Attributes:
        preset: the model to train; it must not take a mask.
        data: a folder of photographs, or `tfds:NAME/SPLIT` (`div2k`, `imagenet2012`); or a tuple of these, whose
            photographs are all held in memory.
        degradation: degradation that makes the LR images: `bicubic` (MATLAB's), `real_esrgan` (second order),
            `photo` (a mixture of both and of what cameras do), or `photo_mild` (with more of the bicubic one).
        leaves_share: share of the examples that are synthetic: flat and evenly changing areas, and shapes with straight
            and round edges, in colours of the photographs (`jaxsr.training.dead_leaves`). A network that has seen
            photographs alone may paint a pattern into flat areas.
        hr_size: side of the HR crops in pixels, a multiple of the preset's `align` times its scale.
        batch_size: number of examples per update, over all devices and hosts.
        accumulate: number of micro-batches in the batch of an update; their gradients are averaged.
        steps: number of updates.
        optimizer: `adamw`; or `muon`, which makes the update of each kernel orthogonal (Jordan, 2024) and trains the
            rest with Adam. In short trials with `photo_x4` it needed a third of the updates, each 1.5 times as long.
        learning_rate: peak of the learning rate, after `warmup` updates; a cosine then lowers it to zero.
        warmup: number of updates of linear warm-up.
        weight_decay: weight decay, on kernels alone; with `muon` on those that Muon trains.
        clip_norm: greatest global norm of the gradients; larger gradients are scaled down to it.
        ema_decay: decay of the averaged parameters, which become the model; it is lower at the start.
        loss: `plain`, the mean squared error of x_0; or `weighted`, this error times the step's variational weight.
        perceptual: metric of the decoded x_0 that is added to the squared error, or `none`. Its weights are those that
            `evaluate` uses.
        perceptual_weight: factor of this metric in the loss; the squared error, on the scale [-1, 1], has the factor 1.
        perceptual_over_t: how this factor depends on t: `constant`; or `eta`, which multiplies it by eta_t, so that
            steps near the end of a chain remove noise and hardly add texture.
        detail_weight: factor of another term, LPIPS with VGG on a random crop of the decoded x_0; 0 leaves it out. VGG
            sees every pixel, AlexNet every fourth: this term sees fine hatch and soft edges that AlexNet's misses.
            Its network, VGG-16, is downloaded at the first use (553 MB).
        detail_size: side of this crop in pixels, 16 to `hr_size`. The term's time grows with its area.
        chain_share: share of the examples whose x_t is made from the model's own prediction at t = T instead of from
            x_0, as in a sampling chain. It costs one more evaluation of the network, without a gradient.
        chain_length: greatest number of own predictions, one from the other, that such an x_t comes from. Each costs an
            evaluation. Chains of all lengths up to it occur.
        start_share: share of the examples that are trained at t = T, where every sampling chain begins. The other
            examples have t uniform.
        precision: compute dtype, `fp32` or `bf16`; parameters stay in float32. `auto` is bf16 on accelerators and on
            CPUs that multiply it faster than float32, else fp32; a resumed run keeps what it began with.
        checkpoint_every: number of updates between checkpoints.
        sample_every: number of updates between sample images; 0 writes none.
        seed: seed of every random choice in the run.
        codec_checkpoint: checkpoint folder with the parameters of the preset's VQ autoencoder (`codec.*`), for presets
            that have one. Training does not change these parameters, and adds them to the trained model.
        stop_at: number of updates after which the run stops and exports its model; the schedule still spans `steps`.
            None runs all updates.
        start_from: checkpoint folder whose network parameters training starts from; None starts from random ones.
    Raises:
        ValueError: for values that do not fit together; the message begins with the field's name.
    """

    preset: ModelPreset
    data: str | tuple[str, ...]
    degradation: Literal["bicubic", "real_esrgan", "photo", "photo_mild"] = "bicubic"
    leaves_share: float = 0.0
    hr_size: int
    batch_size: int
    accumulate: int = 1
    steps: int
    optimizer: Literal["adamw", "muon"] = "adamw"
    learning_rate: float
    warmup: int = 200
    weight_decay: float = 0.0
    clip_norm: float = 1.0
    ema_decay: float = 0.999
    loss: Literal["plain", "weighted"] = "plain"
    perceptual: Literal["none", "lpips-alex", "lpips-vgg"] = "none"
    perceptual_weight: float = 0.0
    perceptual_over_t: Literal["constant", "eta"] = "constant"
    detail_weight: float = 0.0
    detail_size: int = 64
    chain_share: float = 0.0
    chain_length: int = 1
    start_share: float = 0.0
    precision: Literal["fp32", "bf16", "auto"] = "fp32"
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
        """The number of the last update."""
        return self.stop_at or self.steps

    def _check_values(self) -> None:
        for name in ("batch_size", "accumulate", "steps", "checkpoint_every", "chain_length"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}: must be at least 1, got {getattr(self, name)}.")
        for name, hint in get_type_hints(type(self)).items():
            if get_origin(hint) is Literal and getattr(self, name) not in get_args(hint):
                raise ValueError(f"{name}: no {getattr(self, name)!r}; choose one of {', '.join(get_args(hint))}.")
        for name, (least, most) in _RANGES.items():
            if not least <= getattr(self, name) < most:
                below = "" if most == _ANY else f" and below {most:g}"
                raise ValueError(f"{name}: must be {least:g} or more{below}, got {getattr(self, name):g}.")
        if (self.perceptual != "none") != (self.perceptual_weight > 0):
            raise ValueError(
                f"perceptual_weight: must be above 0 with a perceptual metric and 0 without one, got "
                f"{self.perceptual_weight} with {self.perceptual!r}."
            )
        least = _least_sizes().get(self.perceptual, 1)
        if self.hr_size < least:
            raise ValueError(f"hr_size: must be at least {least} for {self.perceptual}, got {self.hr_size}.")
        if self.perceptual == "none" and self.perceptual_over_t != "constant":
            raise ValueError(f"perceptual_over_t: {self.perceptual_over_t!r} needs a perceptual metric; name one.")
        if self.detail_weight and not 16 <= self.detail_size <= self.hr_size:
            raise ValueError(f"detail_size: must be 16 to hr_size ({self.hr_size}), got {self.detail_size}.")
        if not self.detail_weight and self.detail_size != type(self).detail_size:
            raise ValueError(f"detail_size: {self.detail_size} needs a detail_weight above 0; set one.")
        if self.chain_length > 1 and not self.chain_share:
            raise ValueError(f"chain_length: {self.chain_length} needs a chain_share above 0; set one.")
        for name in ("start_share", "chain_share", "leaves_share"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name}: must be 0 to 1, got {getattr(self, name)}.")

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
        """Return the settings as plain data, for the log and the checkpoint."""
        return asdict(self)


def _least_sizes() -> dict[str, int]:
    """Return the least crop for each metric: its network's least image, and the random shift."""
    return {f"lpips-{name}": net.min_side + SHIFTS - 1 for name, net in NETS.items()}


def load_config(path: Path) -> TrainConfig:
    """Load the `config` that a Python file defines.

    Raises:
        ValueError: if the file is missing, fails or defines no `TrainConfig` named `config`.
    """
    if not path.is_file():
        raise ValueError(f"--config: there is no file {path}; check the name.")
    try:
        config = runpy.run_path(str(path)).get("config")
    except Exception as error:  # the file may run any code
        raise ValueError(f"--config: {path} fails with {type(error).__name__}: {error}") from error
    if not isinstance(config, TrainConfig):
        raise ValueError(f"--config: {path} must define `config = TrainConfig(...)`.")
    return config

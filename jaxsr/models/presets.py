"""The presets: network, codec and schedule of every known model, as plain data."""

from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np

from jaxsr.diffusion.schedule import InputScaling, Schedule, exponential_schedule
from jaxsr.models.conv_unet import ConvUNetConfig
from jaxsr.models.residual_spectrum import PHOTO_RESIDUALS
from jaxsr.models.swin_unet import SwinUNetConfig
from jaxsr.models.vq_autoencoder import VQConfig
from jaxsr.plain_data import convert


@dataclass(frozen=True)
class PixelCodecConfig:
    """Hyperparameters of the codec without parameters: pixel-unshuffle by `factor`."""

    factor: int

    @property
    def latent_channels(self) -> int:
        return 3 * self.factor**2


@dataclass(frozen=True, kw_only=True)
class ScheduleConfig:
    """Arguments of `jaxsr.diffusion.exponential_schedule`, as plain data."""

    steps: int
    min_noise_level: float
    kappa: float = 2.0
    power: float = 0.3
    sqrt_eta_end: float = 0.99
    input_scaling: InputScaling = "latent"

    def build(self) -> Schedule:
        return exponential_schedule(**asdict(self))


@dataclass(frozen=True, kw_only=True)
class ModelPreset:
    """Everything that defines a model except its weights.

    Attributes:
        name: name of the preset, with underscores.
        scale: factor by which the result is larger than the LR image (1 for inpainting and face restoration).
        network: hyperparameters of the Swin-UNet, or of the convolutional U-Net.
        codec: hyperparameters of the VQ autoencoder, or of pixel-unshuffle.
        schedule: the schedule with which the network was trained.
        steps: default number of sampling steps.
        sampler: name of the default sampler.
        prediction: meaning of the network's output: `x0`, the output is x_0; `residual`, it is x_0 - z_lr; `wiener`,
            it has twice the channels of a latent, the local detail and the deviation of x_0 from its linear estimate
            (see `Model.predict`).
        residual_std: standard deviations that the linear estimate of `wiener` supposes of x_0 - z_lr: one for all
            coefficients of a latent, or one for each.
    Raises:
        ValueError: for a prediction that does not fit the codec, or deviations that do not fit the latent.
    """

    name: str
    scale: int
    network: SwinUNetConfig | ConvUNetConfig
    codec: VQConfig | PixelCodecConfig
    schedule: ScheduleConfig
    steps: int
    sampler: str = "ancestral"
    prediction: Literal["x0", "residual", "wiener"] = "x0"
    residual_std: float | tuple[float, ...] = 0.1

    def __post_init__(self) -> None:
        if min(self.scale, self.steps, self.codec.factor) < 1:
            raise ValueError("ModelPreset: scale, steps and the codec's factor must be positive.")
        if self.prediction == "wiener" and not self.clip_x0:
            raise ValueError("ModelPreset: the prediction wiener needs the codec without parameters, pixel-unshuffle.")
        if self.prediction == "wiener" and self.network.out_channels != 2 * self.network.in_channels:
            raise ValueError("ModelPreset: with the prediction wiener, a network has twice as many channels out as in.")
        if np.ndim(self.residual_std) and np.size(self.residual_std) != self.network.in_channels:
            raise ValueError("ModelPreset: residual_std must have one number, or one for each channel of the latent.")

    @property
    def latent_factor(self) -> int:
        """The number of pixels of the result per latent position, along each side."""
        return self.codec.factor

    @property
    def clip_x0(self) -> bool:
        """Whether predictions of x_0 are clipped to [-1, 1]: they are where the latent consists of pixels."""
        return isinstance(self.codec, PixelCodecConfig)

    @property
    def align(self) -> int:
        """The number of pixels by which height and width of the LR image must be divisible."""
        return self.network.align * self.latent_factor // self.scale

    def to_dict(self) -> dict[str, Any]:
        """Return plain data for the metadata of a checkpoint. `preset_from_dict` reads it back."""
        return asdict(self)


@dataclass(frozen=True, kw_only=True)
class _Plain:
    """The fields of a preset that are no parts with fields of their own."""

    name: str
    scale: int
    steps: int
    sampler: str = "ancestral"
    prediction: Literal["x0", "residual", "wiener"] = "x0"
    residual_std: float | tuple[float, ...] = 0.1


# Beyond these a network could not even be built; the default is for widths and sizes.
_MOST = {"num_res_blocks": 64, "blocks": 64, "swin_depth": 64, "scale": 16, "factor": 64, "n_embed": 2**20}
_MOST_OTHERWISE = 2**14


def preset_from_dict(data: dict[str, Any]) -> ModelPreset:
    """Make the preset from the plain data that a checkpoint carries.

    Raises:
        ValueError: if a field is missing, unknown, of another type, or beyond any network; the message names it.
    """
    try:
        parts = {name: data.get(name) if isinstance(data, dict) else None for name in ("network", "codec", "schedule")}
        network, codec = ("widths" in (parts["network"] or {})), ("factor" in (parts["codec"] or {}))
        kinds = {
            "network": ConvUNetConfig if network else SwinUNetConfig,
            "codec": PixelCodecConfig if codec else VQConfig,
            "schedule": ScheduleConfig,
        }
        if isinstance(data, dict):
            _check_sizes(data)
            data = {name: value for name, value in data.items() if name not in parts}
        plain = convert(data, _Plain)
        made: dict[str, Any] = {name: convert(parts[name], kind, where=name) for name, kind in kinds.items()}
        with np.errstate(all="raise", under="ignore"):
            made["schedule"].build()
        return ModelPreset(**asdict(plain), **made)
    except (ValueError, TypeError, ArithmeticError) as error:
        raise ValueError(
            f"the checkpoint's preset cannot be read ({error}); if a newer jaxsr made it, update jaxsr."
        ) from error


def _check_sizes(data: dict[str, Any]) -> None:
    for name, value in data.items():
        if isinstance(value, dict):
            _check_sizes(value)
        for number in value if isinstance(value, list | tuple) else (value,):
            if isinstance(number, int | float) and not -_MOST_OTHERWISE <= number <= _MOST.get(name, _MOST_OTHERWISE):
                raise ValueError(f"{name}: {number:g} is beyond any network")


def _released_network(channels: int = 3, *, lq_size: int = 64, cond_mask: bool = False) -> SwinUNetConfig:
    return SwinUNetConfig(
        image_size=64,
        in_channels=channels,
        out_channels=channels,
        model_channels=160,
        channel_mult=(1, 2, 2, 4),
        num_res_blocks=(2, 2, 2, 2),
        attention_resolutions=(64, 32, 16, 8),
        num_head_channels=32,
        swin_embed_dim=192,
        swin_depth=2,
        window_size=8,
        mlp_ratio=4,
        lq_size=lq_size,
        cond_mask=cond_mask,
    )


_VQ_F4 = VQConfig(embed_dim=3, n_embed=8192, z_channels=3, ch=128, ch_mult=(1, 2, 4), num_res_blocks=(2, 2, 2))
_VQ_F8 = VQConfig(embed_dim=8, n_embed=4096, z_channels=8, ch=64, ch_mult=(1, 2, 4, 8), num_res_blocks=(1, 2, 3, 4))
_S4 = ScheduleConfig(steps=4, min_noise_level=0.2)
_S15 = ScheduleConfig(steps=15, min_noise_level=0.04)


def _released(name: str, scale: int, schedule: ScheduleConfig, **kw: Any) -> ModelPreset:
    kw = {"network": _released_network(), "codec": _VQ_F4, "steps": schedule.steps} | kw
    return ModelPreset(name=name, scale=scale, schedule=schedule, **kw)


_INPAINTING = _released_network(lq_size=256, cond_mask=True)
# One level at LR size, wide enough for detail. Its norms see only their own position and its masks only their own
# window, so that a tile gives the same pixels as the whole image.
_TINY = ModelPreset(
    name="tiny_x4",
    scale=4,
    network=SwinUNetConfig(
        image_size=64,
        in_channels=48,
        out_channels=48,
        model_channels=96,
        channel_mult=(1,),
        num_res_blocks=(3,),
        attention_resolutions=(),
        num_head_channels=32,
        swin_embed_dim=96,
        swin_depth=2,
        window_size=8,
        mlp_ratio=2,
        lq_size=64,
        norm="channel",
        window_mask="regions",
    ),
    codec=PixelCodecConfig(4),
    schedule=ScheduleConfig(steps=60, min_noise_level=0.02),
    steps=4,
    prediction="residual",
)
# Speed decides its shape: half of the LR size for detail, a quarter for context, and noise as strong as real residuals
# need (four steps have standard deviations of 0.5, 0.21, 0.08 and 0.02 in [-1, 1]).
_PHOTO = ModelPreset(
    name="photo_x4",
    scale=4,
    network=ConvUNetConfig(in_channels=192, out_channels=384, widths=(96, 192), blocks=(2, 7), lq_factor=2),
    codec=PixelCodecConfig(8),
    schedule=ScheduleConfig(steps=60, min_noise_level=0.03, kappa=0.5, power=0.7, input_scaling="none"),
    steps=4,
    prediction="wiener",
    residual_std=PHOTO_RESIDUALS,
)
_ALL = (
    _TINY,
    _PHOTO,
    _released("realsr_s4_v3", 4, _S4),
    _released("realsr_s15_v1", 4, _S15),
    _released("realsr_s15_v2", 4, _S15),
    _released("bicsr_s4", 4, _S4),
    _released("inpainting_imagenet_s4", 1, _S4, network=_INPAINTING),
    _released("inpainting_face_s4", 1, _S4, network=_INPAINTING),
    _released("faceir_s4", 1, _S4, network=_released_network(8, lq_size=512), codec=_VQ_F8),
    # A one-step student with the layout and schedule of s15_v1.
    _released("sinsr_v1", 4, _S15, steps=1, sampler="deterministic"),
)
PRESETS: dict[str, ModelPreset] = {preset.name: preset for preset in _ALL}

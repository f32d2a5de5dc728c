"""The conversion of released configuration files (`model`, `diffusion`, `autoencoder_params`) to our configurations."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from jaxsr.diffusion.schedule import InputScaling
from jaxsr.models.presets import ScheduleConfig
from jaxsr.models.swin_unet import SwinUNetConfig
from jaxsr.models.vq_autoencoder import VQConfig

# Further settings of released configurations. Our networks implement only these values; any other value is refused.
_UNET_FIXED = {
    "use_scale_shift_norm": True,
    "resblock_updown": False,
    "dims": 2,
    "conv_resample": True,
    "cond_lq": True,
}
_VQ_FIXED = {"double_z": False, "attn_resolutions": [], "padding_mode": "zeros"}
_DIFFUSION_FIXED = {"schedule_name": "exponential", "predict_type": "xstart"}


def _check_fixed(data: Mapping[str, Any], fixed: Mapping[str, Any], source: str) -> None:
    for name, value in fixed.items():
        if data.get(name, value) != value:
            raise ValueError(f"{source}: {name} is {data[name]!r}, and only {value!r} is supported.")


def _config_error(source: str, error: KeyError | TypeError) -> ValueError:
    problem = f"lacks {error}" if isinstance(error, KeyError) else f"has a value of the wrong type ({error})"
    return ValueError(f"{source} {problem}; correct the file.")


def _per_level(value: int | list[int], levels: int) -> tuple[int, ...]:
    return (value,) * levels if isinstance(value, int) else tuple(value)


def unet_config(data: Mapping[str, Any]) -> SwinUNetConfig:
    """Convert the `model` of a configuration to the configuration of a Swin-UNet.

    Raises:
        ValueError: for missing values, and for settings without a counterpart in our network.
    """
    _check_fixed(data, _UNET_FIXED, "the network's configuration")
    try:
        levels = len(data["channel_mult"])
        sizes = [data["image_size"] >> level for level in range(levels)]
        copied = ("image_size", "in_channels", "out_channels", "model_channels", "num_head_channels")
        copied += ("swin_embed_dim", "swin_depth", "window_size", "mlp_ratio", "lq_size")
        return SwinUNetConfig(
            **{name: data[name] for name in copied},
            channel_mult=tuple(data["channel_mult"]),
            num_res_blocks=_per_level(data["num_res_blocks"], levels),
            attention_resolutions=tuple(size for size in sizes if size in data["attention_resolutions"]),
            cond_mask=data.get("cond_mask", False),
        )
    except (KeyError, TypeError) as error:
        raise _config_error("the network's configuration", error) from error


def vq_config(data: Mapping[str, Any]) -> VQConfig:
    """Convert the `autoencoder_params` of a configuration to the configuration of a VQ autoencoder.

    Raises:
        ValueError: for missing values, and for settings without a counterpart in our network.
    """
    try:
        inner = dict(data["ddconfig"])
        _check_fixed(inner, _VQ_FIXED, "the autoencoder's configuration")
        return VQConfig(
            embed_dim=data["embed_dim"],
            n_embed=data["n_embed"],
            z_channels=inner["z_channels"],
            ch=inner["ch"],
            ch_mult=tuple(inner["ch_mult"]),
            num_res_blocks=_per_level(inner["num_res_blocks"], len(inner["ch_mult"])),
            in_channels=inner["in_channels"],
            out_ch=inner["out_ch"],
        )
    except (KeyError, TypeError) as error:
        raise _config_error("the autoencoder's configuration", error) from error


def schedule_config(data: Mapping[str, Any]) -> ScheduleConfig:
    """Convert the `diffusion` of a configuration to its schedule, before `timestep_respacing` thins it.

    Raises:
        ValueError: for missing values, and for other kinds of schedule or prediction.
    """
    _check_fixed(data, _DIFFUSION_FIXED, "the diffusion's configuration")
    try:
        return ScheduleConfig(
            steps=data["steps"],
            min_noise_level=float(data["min_noise_level"]),
            kappa=float(data["kappa"]),
            power=float(data["schedule_kwargs"]["power"]),
            sqrt_eta_end=float(data["etas_end"]),
            input_scaling=input_scaling(data),
        )
    except (KeyError, TypeError) as error:
        raise _config_error("the diffusion's configuration", error) from error


def input_scaling(data: Mapping[str, Any]) -> InputScaling:
    """Return how a configuration normalises x_t before the network."""
    if not data.get("normalize_input", True):
        return "none"
    return "latent" if data.get("latent_flag", True) else "pixel"


def released_settings(config: SwinUNetConfig | VQConfig) -> dict[str, Any]:
    """Return the arguments that a released configuration would give a network known only by its keys and shapes."""
    if isinstance(config, VQConfig):
        inner = {name: getattr(config, name) for name in ("z_channels", "in_channels", "out_ch", "ch")}
        lists = {"ch_mult": list(config.ch_mult), "num_res_blocks": list(config.num_res_blocks)}
        inner |= lists | _VQ_FIXED | {"resolution": 256, "dropout": 0.0}
        return {"embed_dim": config.embed_dim, "n_embed": config.n_embed, "ddconfig": inner}
    own = {
        name: list(value) if isinstance(value, tuple) else value
        for name, value in asdict(config).items()
        if name not in ("lq_channels", "norm", "window_mask", "cond_mask")
    }
    return own | _UNET_FIXED | {"dropout": 0, "use_fp16": False} | ({"cond_mask": True} if config.cond_mask else {})

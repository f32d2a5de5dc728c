"""Define presets small enough for the benchmarks' tests: two levels, shifted windows, every kind of layer."""

from dataclasses import replace

from jaxsr.models.presets import PRESETS, ModelPreset
from jaxsr.models.vq_autoencoder import VQConfig
from tests.models.tiny import unet_config

SHIFTING = {"channel_mult": (1, 2), "num_res_blocks": (1, 1), "attention_resolutions": (16, 8)}


def latent_preset(**network: object) -> ModelPreset:
    """Return a preset that enlarges x2: a two-level Swin-UNet in the latent of a two-level VQ autoencoder."""
    codec = VQConfig(embed_dim=3, n_embed=16, z_channels=4, ch=32, ch_mult=(1, 2), num_res_blocks=(1, 2))
    small = unet_config(**{**SHIFTING, **network})
    return replace(PRESETS["realsr_s4_v3"], name="small_latent", scale=2, network=small, codec=codec)


def pixel_preset() -> ModelPreset:
    """Return a preset like the bundled model's: pixel-unshuffle, channel norm, Swin's mask, residual prediction."""
    network = unet_config(in_channels=12, out_channels=12, norm="channel", window_mask="regions", num_res_blocks=(1,))
    codec = replace(PRESETS["tiny_x4"].codec, factor=2)
    return replace(PRESETS["tiny_x4"], name="small_pixel", scale=2, network=network, codec=codec)


def smallest_preset() -> ModelPreset:
    """Return a preset that compiles quickly.

    It has a VQ autoencoder without downsampling and one residual block between two Swin layers.
    """
    codec = VQConfig(embed_dim=3, n_embed=16, z_channels=4, ch=32, ch_mult=(1,), num_res_blocks=(0,))
    return replace(latent_preset(), name="smallest", scale=1, network=unet_config(swin_depth=1), codec=codec)

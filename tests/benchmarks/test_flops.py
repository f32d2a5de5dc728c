"""Test the counts of operations against counts by hand and the totals of the released networks."""

from dataclasses import replace

import pytest

from benchmarks.flops import codec_flops, stage_flops, unet_flops
from jaxsr.models.presets import PRESETS
from jaxsr.models.vq_autoencoder import VQConfig
from tests.benchmarks.small import latent_preset, pixel_preset
from tests.models.tiny import unet_config

RELEASED = PRESETS["realsr_s4_v3"]


@pytest.mark.parametrize(("stage", "gflop"), [("unet", 101), ("encode", 345), ("decode", 671)])
def test_released_totals(stage, gflop):
    assert stage_flops(RELEASED, stage, 64, 1) / 1e9 == pytest.approx(gflop, abs=0.5)  # the totals are integers


def test_one_convolution_by_hand():
    """A 3x3 convolution from 5 to 7 channels takes 2 x 9 x 5 x 7 operations at each of 256 positions (16x16).

    The name of the layer decides at which resolution it runs.
    """
    config, two = unet_config(), unet_config(channel_mult=(1, 2), num_res_blocks=(1, 1))
    one = 2 * 9 * 5 * 7 * 256
    assert unet_flops(config, {"out.2.kernel": (3, 3, 5, 7)}, 16) == one
    assert unet_flops(two, {"input_blocks.2.0.op.kernel": (3, 3, 5, 7)}, 16) == one / 4
    assert unet_flops(two, {"output_blocks.1.1.conv.kernel": (3, 3, 5, 7)}, 16) == one
    assert unet_flops(two, {"output_blocks.1.0.in_layers.2.kernel": (3, 3, 5, 7)}, 16) == one / 4
    assert codec_flops(VQ, {"encoder.down.0.downsample.conv.kernel": (3, 3, 5, 7)}, 16)["encode"] == one
    assert codec_flops(VQ, {"decoder.up.1.upsample.conv.kernel": (3, 3, 5, 7)}, 8)["decode"] == one


VQ = VQConfig(embed_dim=3, n_embed=16, z_channels=4, ch=32, ch_mult=(1, 2), num_res_blocks=(1, 2))


def test_small_unet_by_hand():
    """The network has one level of 32 channels at 16x16, no block on the way down and windows of 2.

    The LR image is twice as large as the latent.
    """
    positions, emb = 16**2, 128
    features = 9 * 3 * 16 * 32**2 + 9 * 16 * 32 * positions
    time = 32 * emb + emb * emb + 3 * emb * 64  # three residual blocks
    middle = 4 * 9 * 32 * 32
    swin = 2 * 32 * 32 + 2 * (32 * 96 + 32 * 32 + 2 * 32 * 64 + 2 * 4 * 32)
    up = 9 * 64 * 32 + 9 * 32 * 32 + 64 * 32
    ends = 9 * (3 + 32) * 32 + 9 * 32 * 3
    preset = replace(latent_preset(), network=unet_config(lq_size=32), scale=2)
    expected = 2 * (features + time + positions * (middle + swin + up + ends))
    assert stage_flops(preset, "unet", 16, 1) == expected
    assert stage_flops(preset, "unet", 16, 3) == 3 * expected


def test_a_chain_is_its_parts():
    count = {stage: stage_flops(RELEASED, stage, 64, 2) for stage in ("unet", "encode", "decode")}
    whole = stage_flops(RELEASED, "s15", 64, 2, 15)
    assert whole == pytest.approx(count["encode"] + 15 * count["unet"] + count["decode"], rel=1e-12)
    pixels = pixel_preset()
    assert stage_flops(pixels, "s4", 16, 1, 4) == 4 * stage_flops(pixels, "unet", 16, 1)

"""Count the floating-point operations of the networks from their plain layers.

A multiply-add of a convolution or a matrix product counts as two. Nothing else counts (norms, activations, softmax,
resizing). The counts follow from the parameters' shapes and the size at which each is applied, not from how a program
computes it. They are therefore the same for every program that is measured.
"""

import math
import re
from collections.abc import Mapping

from jaxsr.models.model import Model
from jaxsr.models.presets import ModelPreset
from jaxsr.models.swin_unet import SwinUNetConfig
from jaxsr.models.vq_autoencoder import VQConfig

Shapes = Mapping[str, tuple[int, ...]]


def stage_flops(preset: ModelPreset, stage: str, size: int, batch: int, steps: int = 0) -> float:
    """Count the operations of one call of a stage, for `batch` square LR images of side `size`.

    The stage is `unet`, `encode` or `decode`. Any other name is a whole chain: `steps` calls of the network between
    encoding and decoding. The network must be a Swin-UNet.
    """
    assert isinstance(preset.network, SwinUNetConfig)
    shapes, side = Model(preset).shapes(), size * preset.scale // preset.latent_factor
    network = {name.removeprefix("network."): s for name, s in shapes.items() if name.startswith("network.")}
    codec = {name.removeprefix("codec."): s for name, s in shapes.items() if name.startswith("codec.")}
    if stage == "unet":
        return batch * unet_flops(preset.network, network, side)
    both = codec_flops(preset.codec, codec, side) if isinstance(preset.codec, VQConfig) else {}
    if stage in ("encode", "decode"):
        return batch * both.get(stage, 0.0)
    return batch * (sum(both.values()) + steps * unet_flops(preset.network, network, side))


def unet_flops(config: SwinUNetConfig, shapes: Shapes, side: int) -> float:
    """Count the operations of one call of the Swin-UNet for one latent of side `side`."""
    levels, total = _levels(config), 0.0
    for name, shape in shapes.items():
        positions = _side(config, levels, name, side) ** 2
        if name.endswith("kernel"):
            total += 2 * math.prod(shape) * positions
        elif name.endswith("relative_position_bias_table"):  # q k^T, and weights times v, in every window
            total += 2 * 2 * positions * config.window_size**2 * config.swin_embed_dim
    return total


def _levels(config: SwinUNetConfig) -> dict[str, int]:
    """Return the level of every block, by the beginning of its parameters' names.

    A block that changes the resolution has the level of its output.
    """
    down, last = [0], len(config.channel_mult) - 1
    for level, count in enumerate(config.num_res_blocks):
        down += [level] * count + ([level + 1] if level < last else [])
    up = [level for level in range(last, -1, -1) for _ in range(config.num_res_blocks[level] + 1)]
    levels = {f"input_blocks.{i}": level for i, level in enumerate(down)}
    return levels | {f"output_blocks.{i}": level for i, level in enumerate(up)} | {"middle_block": last, "out": 0}


def _side(config: SwinUNetConfig, levels: Mapping[str, int], name: str, side: int) -> int:
    """Return the side of the square of positions at which a layer gives its output."""
    if name.startswith("time_embed") or ".emb_layers." in name:
        return 1
    if match := re.match(r"feature_extractor\.(\d+)", name):
        return side << config.halvings - (int(match[1]) + 1) // 3
    start = re.match(r"(input_blocks\.\d+|output_blocks\.\d+|\w+)", name)
    assert start is not None
    upsample = re.fullmatch(r"output_blocks\.\d+\.\d+\.conv\.kernel", name)
    return side >> levels[start[0]] - bool(upsample)


def codec_flops(config: VQConfig, shapes: Shapes, side: int) -> dict[str, float]:
    """Count the operations of `encode` and of `decode` (with the search for codes), for one latent of side `side`."""
    total, last = {"encode": 0.0, "decode": 0.0}, len(config.ch_mult) - 1
    for name, shape in shapes.items():
        stage = "encode" if name.startswith(("encoder.", "quant_conv.")) else "decode"
        positions = (side << last - _vq_level(name, last)) ** 2
        if name.endswith(("kernel", "quantize.embedding.embedding")):
            total[stage] += 2 * math.prod(shape) * positions
        if name.endswith("attn_1.q.kernel"):  # q k^T, and weights times v, over all positions
            total[stage] += 2 * 2 * positions**2 * shape[-1]
    return total


def _vq_level(name: str, last: int) -> int:
    """Return the level, counted from the image, at which a layer of the autoencoder gives its output."""
    if match := re.match(r"\w+\.(?:down|up)\.(\d+)\.(\w+)", name):
        return int(match[1]) + {"downsample": 1, "upsample": -1}.get(match[2], 0)
    return 0 if name.startswith(("encoder.conv_in", "decoder.conv_out")) else last

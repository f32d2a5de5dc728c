"""The hyperparameters of a network, inferred from the keys and shapes of its state dict, and what follows from them."""

import re
from collections.abc import Mapping
from functools import cache
from math import isqrt

import numpy as np
from flax import nnx

from jaxsr.models.layers import OneKey
from jaxsr.models.swin_layer import SwinLayer, attention_mask, relative_position_index
from jaxsr.models.swin_unet import Downsample, SwinUNet, SwinUNetConfig, Upsample
from jaxsr.models.vq_autoencoder import VQAutoencoder, VQConfig

Shapes = Mapping[str, tuple[int, ...]]
Config = SwinUNetConfig | VQConfig
# The outermost modules that each network has in any of its configurations, in the order of their calls.
MODULES = {
    "network": ("time_embed", "feature_extractor", "input_blocks", "middle_block", "output_blocks", "out"),
    "codec": ("encoder", "quant_conv", "quantize", "post_quant_conv", "decoder"),
}


def infer(shapes: Shapes) -> Config:
    """Infer the configuration of a network from the keys and shapes of its state dict, in PyTorch's order of axes.

    Raises:
        ValueError: if they belong to neither a Swin-UNet nor a VQ autoencoder, or if a key that decides is missing.
    """
    try:
        if "time_embed.0.weight" in shapes:
            return _infer_unet(shapes)
        if "quantize.embedding.weight" in shapes:
            return _infer_vq(shapes)
    except (KeyError, IndexError, ZeroDivisionError) as error:
        raise ValueError(f"its architecture is unclear because {error} is missing; check the file") from error
    raise ValueError(
        "it holds neither a Swin-UNet (time_embed.0.weight) nor a VQ autoencoder (quantize.embedding.weight); "
        "check the file"
    )


def _count(shapes: Shapes, pattern: str) -> int:
    """Count the different values that the group of `pattern` has among the keys."""
    return len({match[1] for key in shapes if (match := re.match(pattern, key))})


def _infer_unet(shapes: Shapes) -> SwinUNetConfig:
    width, middle = shapes["time_embed.0.weight"][1], "middle_block.1."
    mults, counts, attends = _levels(shapes, width)
    embed = shapes[middle + "patch_embed.proj.weight"][0]
    table, heads = shapes[middle + "blocks.0.attn.relative_position_bias_table"]
    window, channels = (isqrt(table) + 1) // 2, shapes["out.2.weight"][0]
    image_size = _image_size(shapes, counts, window)
    halvings = _count(shapes, r"feature_extractor\.(\d+)\.op\.weight")
    first = shapes["feature_extractor.0.weight"][1] if halvings else shapes["input_blocks.0.0.weight"][1] - channels
    return SwinUNetConfig(
        image_size=image_size,
        in_channels=channels,
        out_channels=channels,
        model_channels=width,
        channel_mult=mults,
        num_res_blocks=counts,
        attention_resolutions=tuple(image_size >> level for level, attend in enumerate(attends) if attend),
        num_head_channels=embed // heads,
        swin_embed_dim=embed,
        swin_depth=_count(shapes, r"middle_block\.1\.blocks\.(\d+)\."),
        window_size=window,
        mlp_ratio=shapes[middle + "blocks.0.mlp.fc1.weight"][0] / embed,
        lq_size=image_size << halvings,
        cond_mask=first == 4,
    )


def _levels(shapes: Shapes, width: int) -> tuple[tuple[int, ...], tuple[int, ...], tuple[bool, ...]]:
    """Return for every level its width divided by `width`, its number of residual blocks, and whether it attends."""
    inputs = range(1, _count(shapes, r"input_blocks\.(\d+)\."))
    kinds = "".join("|" if f"input_blocks.{i}.0.op.weight" in shapes else "." for i in inputs)
    counts = tuple(map(len, kinds.split("|")))
    mults, attends, index = [], [], 0
    for count in reversed(counts):  # the upward path has a block at every level
        mults.append(shapes[f"output_blocks.{index}.0.out_layers.3.weight"][0] // width)
        attends.append(f"output_blocks.{index}.1.patch_embed.proj.weight" in shapes)
        index += count + 1
    return tuple(reversed(mults)), counts, tuple(reversed(attends))


def _image_size(shapes: Shapes, counts: tuple[int, ...], window: int) -> int:
    """Infer the nominal latent size from the masks of shifted windows.

    Without masks, the size is one window, at which no window is shifted. A state dict without buffers does not contain
    the size; then it is eight windows, as in every released network.
    """
    levels = [level for level, count in enumerate(counts) for _ in range(count + 1)]
    for key, shape in shapes.items():
        if match := re.fullmatch(r"(?:input_blocks\.(\d+)|middle_block)\.1\.blocks\.1\.attn_mask", key):
            level = levels[int(match[1]) - 1] if match[1] else len(counts) - 1
            return isqrt(shape[0]) * window << level
    return window if any(key.endswith("relative_position_index") for key in shapes) else 8 * window


def _infer_vq(shapes: Shapes) -> VQConfig:
    levels = range(_count(shapes, r"encoder\.down\.(\d+)\."))
    ch = shapes["encoder.conv_in.weight"][0]
    return VQConfig(
        embed_dim=shapes["quant_conv.weight"][0],
        n_embed=shapes["quantize.embedding.weight"][0],
        z_channels=shapes["quant_conv.weight"][1],
        ch=ch,
        ch_mult=tuple(shapes[f"encoder.down.{i}.block.0.conv1.weight"][0] // ch for i in levels),
        num_res_blocks=tuple(_count(shapes, rf"encoder\.down\.{i}\.block\.(\d+)\.") for i in levels),
        in_channels=shapes["encoder.conv_in.weight"][1],
        out_ch=shapes["decoder.conv_out.weight"][0],
    )


@cache
def abstract(config: Config) -> nnx.Module:
    """Make the network with shapes in place of arrays."""
    make = SwinUNet if isinstance(config, SwinUNetConfig) else VQAutoencoder
    return nnx.eval_shape(lambda: make(config, rngs=OneKey()))  # pyright: ignore[reportArgumentType]


def parameter_shapes(config: Config) -> dict[str, tuple[int, ...]]:
    """Return the name and the shape of every parameter of the network."""
    leaves = nnx.to_flat_state(nnx.state(abstract(config)))
    return {".".join(map(str, path)): leaf.get_value().shape for path, leaf in leaves}


def derived_buffers(config: Config) -> dict[str, np.ndarray]:
    """Compute the buffers that follow from the configuration but that a state dict may hold nevertheless."""
    if isinstance(config, VQConfig):
        return {}
    window, buffers = config.window_size, {}
    for path, size, layer in _swin_layers(config):
        for i, block in enumerate(layer.blocks):
            buffers[f"{path}.blocks.{i}.attn.relative_position_index"] = relative_position_index(window)
            if block.shift:
                mask = attention_mask(size, size, window, block.shift, "released")
                buffers[f"{path}.blocks.{i}.attn_mask"] = np.asarray(mask)
    return buffers


def _swin_layers(config: SwinUNetConfig) -> list[tuple[str, int, SwinLayer]]:
    """List the path, the nominal size and the module of every Swin layer."""
    network, size, swin_layers = abstract(config), config.image_size, []
    assert isinstance(network, SwinUNet)
    parts = {f"input_blocks.{i}": layers for i, layers in enumerate(network.input_blocks)}
    parts |= {"middle_block": network.middle_block}
    parts |= {f"output_blocks.{i}": layers for i, layers in enumerate(network.output_blocks)}
    for path, layers in parts.items():
        for i, layer in enumerate(layers):
            if isinstance(layer, SwinLayer):
                swin_layers.append((f"{path}.{i}", size, layer))
            size = size // 2 if isinstance(layer, Downsample) else size * 2 if isinstance(layer, Upsample) else size
    return swin_layers

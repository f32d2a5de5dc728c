"""The layers of the rival of `bench_network`: those of our networks, at the same shapes, in plain PyTorch.

They are written from `jaxsr.models` for this measurement, as one would write them in PyTorch for speed: NCHW tensors in
channels-last memory, fused attention (`scaled_dot_product_attention` with bias and mask), and PyTorch's own GroupNorm
and convolutions. Attributes have our names, so that our parameters load by name; see `benchmarks.rival`. Autocast
chooses the dtypes, except that codes are looked up in float32, like ours.
"""

from typing import Any

import numpy as np
import torch  # pyright: ignore[reportMissingImports]
import torch.nn.functional as F  # pyright: ignore[reportMissingImports]
from torch import nn  # pyright: ignore[reportMissingImports]

from jaxsr.models.swin_layer import MaskKind, relative_position_index, window_regions
from jaxsr.models.swin_unet import SwinUNetConfig

Tensor = Any  # torch.Tensor, if torch is installed


def conv(inputs: int, outputs: int, kernel: int = 3, stride: int = 1) -> nn.Conv2d:
    """Make a convolution, padded to keep the size at stride 1."""
    return nn.Conv2d(inputs, outputs, kernel, stride, padding=kernel // 2)


class ChannelNorm(nn.LayerNorm):
    """LayerNorm over the channels of each position."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


def make_norm(kind: str, channels: int) -> nn.Module:
    return nn.GroupNorm(32, channels, eps=1e-5) if kind == "group" else ChannelNorm(channels, eps=1e-5)


class ResBlock(nn.Module):
    """Residual block whose second norm is scaled and shifted by the time embedding."""

    def __init__(self, inputs: int, outputs: int, emb: int, norm: str):
        super().__init__()
        self.in_layers = nn.Sequential(make_norm(norm, inputs), nn.SiLU(), conv(inputs, outputs))
        self.emb_layers = nn.Sequential(nn.SiLU(), nn.Linear(emb, 2 * outputs))
        # Our layers have the released numbers, so Identity takes the place of a layer that only training had.
        self.out_layers = nn.Sequential(make_norm(norm, outputs), nn.SiLU(), nn.Identity(), conv(outputs, outputs))
        self.skip_connection = conv(inputs, outputs, 1) if inputs != outputs else nn.Identity()

    def forward(self, x: Tensor, emb: Tensor) -> Tensor:
        scale, shift = self.emb_layers(emb)[:, :, None, None].chunk(2, 1)
        h = self.out_layers[0](self.in_layers(x)) * (1 + scale) + shift
        return self.skip_connection(x) + self.out_layers[1:](h)


class Downsample(nn.Module):
    """3x3 convolution of stride 2."""

    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        self.op = conv(inputs, outputs, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        return self.op(x)


class Upsample(nn.Module):
    """Nearest-neighbour x2, then a 3x3 convolution."""

    def __init__(self, channels: int):
        super().__init__()
        self.conv = conv(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(F.interpolate(x, scale_factor=2.0, mode="nearest"))


class WindowAttention(nn.Module):
    """Multi-head attention inside windows, with a learned bias per relative position."""

    def __init__(self, channels: int, heads: int, window: int):
        super().__init__()
        self.qkv, self.proj = nn.Linear(channels, 3 * channels), nn.Linear(channels, channels)
        self.relative_position_bias_table = nn.Parameter(torch.zeros((2 * window - 1) ** 2, heads))
        self.register_buffer("index", torch.from_numpy(relative_position_index(window)), persistent=False)
        self.heads = heads

    def forward(self, tokens: Tensor, mask: Tensor | None) -> Tensor:
        n, t, c = tokens.shape  # n: all windows of all images
        q, k, v = self.qkv(tokens).reshape(n, t, 3, self.heads, c // self.heads).permute(2, 0, 3, 1, 4)
        bias = self.relative_position_bias_table[self.index].permute(2, 0, 1)[None]
        if mask is not None:
            bias = (bias + mask[:, None]).repeat(n // len(mask), 1, 1, 1)
        out = F.scaled_dot_product_attention(q, k, v, attn_mask=bias.to(q.dtype))
        return self.proj(out.transpose(1, 2).reshape(n, t, c))


class Mlp(nn.Module):
    """1x1 convolution, exact GELU, 1x1 convolution."""

    def __init__(self, channels: int, hidden: int):
        super().__init__()
        self.fc1, self.fc2 = conv(channels, hidden, 1), conv(hidden, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(F.gelu(self.fc1(x)))


class SwinBlock(nn.Module):
    """x + attention(norm1(x)), then x + mlp(norm2(x)); windows rolled by -shift."""

    def __init__(self, config: SwinUNetConfig, level: int, shift: int):
        super().__init__()
        channels, window = config.swin_embed_dim, config.window_size
        self.norm1, self.norm2 = make_norm(config.norm, channels), make_norm(config.norm, channels)
        self.attn = WindowAttention(channels, channels // config.num_head_channels, window)
        self.mlp = Mlp(channels, int(channels * config.mlp_ratio))
        self.window, self.shift, self.level = window, shift, level
        self.kind: MaskKind = config.window_mask
        self.register_buffer("mask", None, persistent=False)

    def fit(self, height: int, width: int) -> None:
        """Make the mask for latents of this size, once. It is a constant of our compiled programs too."""
        if self.shift:
            sizes = (height >> self.level, width >> self.level)
            regions = window_regions(*sizes, self.window, self.shift, self.kind)
            mask = np.where(regions[:, :, None] == regions[:, None], 0.0, -100.0).astype(np.float32)
            self.mask = torch.from_numpy(mask).to(self.attn.index.device)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attend(self.norm1(x).permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        return x + self.mlp(self.norm2(x))

    def attend(self, x: Tensor) -> Tensor:
        (b, h, w, c), s = x.shape, self.window
        x = x.roll((-self.shift, -self.shift), (1, 2)) if self.shift else x
        windows = x.reshape(b, h // s, s, w // s, s, c).transpose(2, 3).reshape(-1, s * s, c)
        out = self.attn(windows, self.mask).reshape(b, h // s, w // s, s, s, c).transpose(2, 3).reshape(b, h, w, c)
        return out.roll((self.shift, self.shift), (1, 2)) if self.shift else out


class Projection(nn.Module):
    """The 1x1 convolution into or out of a Swin layer's width."""

    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        self.proj = conv(inputs, outputs, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.proj(x)


class SwinLayer(nn.Module):
    """Swin blocks between two projections; odd ones shift unless the nominal size is no larger than the window."""

    def __init__(self, channels: int, config: SwinUNetConfig, level: int):
        super().__init__()
        shift = config.window_size // 2 if config.image_size >> level > config.window_size else 0
        self.patch_embed = Projection(channels, config.swin_embed_dim)
        self.blocks = nn.Sequential(*(SwinBlock(config, level, shift * (i % 2)) for i in range(config.swin_depth)))
        self.patch_unembed = Projection(config.swin_embed_dim, channels)

    def forward(self, x: Tensor) -> Tensor:
        return self.patch_unembed(self.blocks(self.patch_embed(x)))

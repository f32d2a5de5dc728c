"""The rival's Swin-UNet, made of the layers in `benchmarks.rival_torch`: the same graph as `jaxsr.models.swin_unet`."""

import math

import torch  # pyright: ignore[reportMissingImports]
from torch import nn  # pyright: ignore[reportMissingImports]

from benchmarks.rival_torch import Downsample, ResBlock, SwinBlock, SwinLayer, Tensor, Upsample, conv, make_norm
from jaxsr.models.swin_unet import SwinUNetConfig


class UNet(nn.Module):
    """The network as a function (x, t, lq) -> x_0, all NCHW. Call `fit` with the size of x first."""

    def __init__(self, config: SwinUNetConfig):
        super().__init__()
        self.width, norm = config.model_channels, config.norm
        emb, mults, levels = 4 * self.width, config.channel_mult, len(config.channel_mult)
        self.time_embed = nn.Sequential(nn.Linear(self.width, emb), nn.SiLU(), nn.Linear(emb, emb))
        self.feature_extractor, lq_channels = feature_extractor(config.lq_channels, config.halvings)

        def layers(inputs: int, outputs: int, level: int, first: bool) -> nn.ModuleList:
            made: list[nn.Module] = [ResBlock(inputs, outputs, emb, norm)]
            if first and config.image_size >> level in config.attention_resolutions:
                made.append(SwinLayer(outputs, config, level))
            return nn.ModuleList(made)

        channels = mults[0] * self.width
        self.input_blocks = nn.ModuleList([nn.ModuleList([conv(config.in_channels + lq_channels, channels)])])
        skips = [channels]
        for level in range(levels):
            for i in range(config.num_res_blocks[level]):
                self.input_blocks.append(layers(channels, mults[level] * self.width, level, i == 0))
                channels = mults[level] * self.width
                skips.append(channels)
            if level < levels - 1:
                self.input_blocks.append(nn.ModuleList([Downsample(channels, channels)]))
                skips.append(channels)

        middle = [ResBlock(channels, channels, emb, norm), SwinLayer(channels, config, levels - 1)]
        self.middle_block = nn.ModuleList([*middle, ResBlock(channels, channels, emb, norm)])
        self.output_blocks = nn.ModuleList()
        for level in reversed(range(levels)):
            for i in range(config.num_res_blocks[level] + 1):
                block = layers(channels + skips.pop(), mults[level] * self.width, level, i == 0)
                channels = mults[level] * self.width
                if level and i == config.num_res_blocks[level]:
                    block.append(Upsample(channels))
                self.output_blocks.append(block)
        self.out = nn.Sequential(make_norm(norm, channels), nn.SiLU(), conv(channels, config.out_channels))

    def fit(self, height: int, width: int) -> None:
        """Make all masks for latents of this size."""
        for module in self.modules():
            if isinstance(module, SwinBlock):
                module.fit(height, width)

    def forward(self, x: Tensor, t: Tensor, lq: Tensor) -> Tensor:
        emb = self.time_embed(timestep_embedding(t, self.width))
        h, skips = torch.cat([x, self.feature_extractor(lq)], 1), []
        for layers in self.input_blocks:
            h = run(layers, h, emb)
            skips.append(h)
        h = run(self.middle_block, h, emb)
        for layers in self.output_blocks:
            h = run(layers, torch.cat([h, skips.pop()], 1), emb)
        return self.out(h).float()


def run(layers: nn.ModuleList, x: Tensor, emb: Tensor) -> Tensor:
    """Apply a list of layers. The residual blocks also take the time embedding."""
    for layer in layers:
        x = layer(x, emb) if isinstance(layer, ResBlock) else layer(x)
    return x


def timestep_embedding(t: Tensor, channels: int) -> Tensor:
    """Embed the integer time in sinusoids, the cosine half first."""
    half = channels // 2
    frequencies = torch.exp(-math.log(10000) / half * torch.arange(half, dtype=torch.float32, device=t.device))
    angles = t.float()[:, None] * frequencies
    return torch.cat([angles.cos(), angles.sin()], -1)


def feature_extractor(channels: int, halvings: int) -> tuple[nn.Sequential, int]:
    """Make the convolutions that halve the LR image to latent size. Returns them and their width.

    There are none if the LR image has that size.
    """
    layers, width = [], 16
    for _ in range(halvings):
        layers += [conv(channels, width), nn.SiLU(), Downsample(width, 2 * width)]
        channels = width = 2 * width
    return nn.Sequential(*layers), channels

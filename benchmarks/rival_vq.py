"""The rival's autoencoders: the same graphs as `jaxsr.models.vq_autoencoder` and `jaxsr.models.pixel_codec`."""

import torch  # pyright: ignore[reportMissingImports]
import torch.nn.functional as F  # pyright: ignore[reportMissingImports]
from torch import nn  # pyright: ignore[reportMissingImports]

from benchmarks.rival_torch import Tensor, Upsample, conv
from jaxsr.models.vq_autoencoder import VQConfig


def norm(channels: int) -> nn.GroupNorm:
    return nn.GroupNorm(32, channels, eps=1e-6)


class ResnetBlock(nn.Module):
    """GroupNorm -> SiLU -> conv3x3, twice, plus the input."""

    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        self.norm1, self.conv1 = norm(inputs), conv(inputs, outputs)
        self.norm2, self.conv2 = norm(outputs), conv(outputs, outputs)
        self.nin_shortcut = conv(inputs, outputs, 1) if inputs != outputs else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        h = self.conv1(F.silu(self.norm1(x)))
        return self.nin_shortcut(x) + self.conv2(F.silu(self.norm2(h)))


class AttnBlock(nn.Module):
    """Single-head self-attention over all positions, with a residual."""

    def __init__(self, channels: int):
        super().__init__()
        self.norm = norm(channels)
        self.q, self.k, self.v, self.proj_out = (conv(channels, channels, 1) for _ in range(4))

    def forward(self, x: Tensor) -> Tensor:
        (b, c, h, w), normed = x.shape, self.norm(x)
        q, k, v = (project(normed).permute(0, 2, 3, 1).reshape(b, 1, h * w, c) for project in (self.q, self.k, self.v))
        out = F.scaled_dot_product_attention(q, k, v).reshape(b, h, w, c).permute(0, 3, 1, 2)
        return x + self.proj_out(out)


class Middle(nn.Module):
    """Residual block, attention, residual block."""

    def __init__(self, channels: int):
        super().__init__()
        self.block_1, self.attn_1 = ResnetBlock(channels, channels), AttnBlock(channels)
        self.block_2 = ResnetBlock(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        return self.block_2(self.attn_1(self.block_1(x)))


class Downsample(nn.Module):
    """Zero-pad right and bottom by one, then a 3x3 convolution of stride 2 without padding."""

    def __init__(self, channels: int):
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(F.pad(x, (0, 1, 0, 1)))


class Level(nn.Module):
    """Residual blocks of one resolution, then a change of resolution, if any."""

    def __init__(self, inputs: int, outputs: int, blocks: int, **change: nn.Module):
        super().__init__()
        widths = [inputs] + [outputs] * blocks
        self.block = nn.Sequential(*(ResnetBlock(widths[i], outputs) for i in range(blocks)))
        for name, module in change.items():  # `downsample` or `upsample`
            self.add_module(name, module)

    def forward(self, x: Tensor) -> Tensor:
        for module in self.children():
            x = module(x)
        return x


class Encoder(nn.Module):
    """The encoder: image in [-1, 1] -> z."""

    def __init__(self, config: VQConfig):
        super().__init__()
        widths, last = [config.ch] + [config.ch * mult for mult in config.ch_mult], len(config.ch_mult) - 1
        self.conv_in = conv(config.in_channels, config.ch)
        change = [{} if i == last else {"downsample": Downsample(widths[i + 1])} for i in range(last + 1)]
        counts = enumerate(config.num_res_blocks)
        self.down = nn.Sequential(*(Level(widths[i], widths[i + 1], n, **change[i]) for i, n in counts))
        self.mid = Middle(widths[-1])
        self.norm_out, self.conv_out = norm(widths[-1]), conv(widths[-1], config.z_channels)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv_out(F.silu(self.norm_out(self.mid(self.down(self.conv_in(x))))))


class Decoder(nn.Module):
    """The decoder: z -> image. Levels are numbered as in the encoder, and run from the last to the first."""

    def __init__(self, config: VQConfig):
        super().__init__()
        widths = [config.ch * mult for mult in (*config.ch_mult, config.ch_mult[-1])]
        self.conv_in, self.mid = conv(config.z_channels, widths[-1]), Middle(widths[-1])
        change = [{"upsample": Upsample(width)} if i else {} for i, width in enumerate(widths[:-1])]
        counts = enumerate(config.num_res_blocks)
        self.up = nn.ModuleList(Level(widths[i + 1], widths[i], n + 1, **change[i]) for i, n in counts)
        self.norm_out, self.conv_out = norm(widths[0]), conv(widths[0], config.out_ch)

    def forward(self, z: Tensor) -> Tensor:
        h = self.mid(self.conv_in(z))
        for level in reversed(self.up):
            h = level(h)
        return self.conv_out(F.silu(self.norm_out(h)))


class Quantizer(nn.Module):
    """Replaces every vector by its nearest code in squared distance, in float32."""

    def __init__(self, codes: int, channels: int):
        super().__init__()
        self.embedding = nn.Embedding(codes, channels)

    def forward(self, z: Tensor) -> Tensor:
        with torch.autocast(z.device.type, enabled=False):
            table = self.embedding.weight
            distance = table.square().sum(1) - 2 * z.float().permute(0, 2, 3, 1) @ table.T
            return self.embedding(distance.argmin(-1)).permute(0, 3, 1, 2)


class VQAutoencoder(nn.Module):
    """The VQ autoencoder: encode(image) -> latent before quantisation, decode(latent) -> image; NCHW, float32."""

    def __init__(self, config: VQConfig):
        super().__init__()
        self.encoder, self.decoder = Encoder(config), Decoder(config)
        self.quantize = Quantizer(config.n_embed, config.embed_dim)
        self.quant_conv = conv(config.z_channels, config.embed_dim, 1)
        self.post_quant_conv = conv(config.embed_dim, config.z_channels, 1)

    def encode(self, image: Tensor) -> Tensor:
        return self.quant_conv(self.encoder(image)).float()

    def decode(self, latent: Tensor) -> Tensor:
        return self.decoder(self.post_quant_conv(self.quantize(latent))).float()


class PixelCodec(nn.Module):
    """Pixel-unshuffle with the channels in our order: rows, columns, colours."""

    def __init__(self, factor: int):
        super().__init__()
        self.factor = factor

    def encode(self, image: Tensor) -> Tensor:
        folded = F.pixel_unshuffle(image, self.factor)  # colours, rows, columns
        return folded.unflatten(1, (3, -1)).transpose(1, 2).flatten(1, 2)

    def decode(self, latent: Tensor) -> Tensor:
        return F.pixel_shuffle(latent.unflatten(1, (-1, 3)).transpose(1, 2).flatten(1, 2), self.factor)

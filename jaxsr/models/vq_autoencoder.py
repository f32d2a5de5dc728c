"""The VQ autoencoder of latent diffusion (CVPR 2022), in the variants of the released ResShift models.

`encode` returns the latent before quantisation, and diffusion works on this latent. `decode` first replaces it by the
nearest codes.
"""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
from flax import nnx
from jax.typing import DTypeLike
from jaxtyping import Array, Float, Int

from jaxsr.models.layers import GroupNorm, Image, conv1x1, conv3x3, silu
from jaxsr.models.products import attend
from jaxsr.runtime.cpu import fold


@dataclass(frozen=True, kw_only=True)
class VQConfig:
    """Hyperparameters of the VQ autoencoder, under the names of the released configurations.

    Tuples have one entry per level.
    """

    embed_dim: int
    n_embed: int
    z_channels: int
    ch: int
    ch_mult: tuple[int, ...]
    num_res_blocks: tuple[int, ...]
    in_channels: int = 3
    out_ch: int = 3

    def __post_init__(self) -> None:
        sizes = (self.embed_dim, self.n_embed, self.z_channels, self.ch, self.in_channels, self.out_ch, *self.ch_mult)
        if min(sizes) <= 0 or min(self.num_res_blocks, default=0) < 0:
            raise ValueError("VQConfig: sizes and numbers must be positive.")
        if len(self.ch_mult) != len(self.num_res_blocks):
            raise ValueError("VQConfig: ch_mult and num_res_blocks need one entry per level each.")

    @property
    def factor(self) -> int:
        """The number of pixels per latent position, along each side."""
        return 2 ** (len(self.ch_mult) - 1)

    @property
    def latent_channels(self) -> int:
        return self.embed_dim


def positions_at_once(cpu: int, other: int) -> int:
    """Choose how many positions are compared at once with all others, or with all codes.

    A CPU takes fewer, `cpu`, so that the table of comparisons fits into its cache. Other devices take `other`.
    """
    return cpu if jax.default_backend() == "cpu" else other


class ResnetBlock(nnx.Module):
    """A residual block: GroupNorm, SiLU, 3x3 convolution, twice, plus the input.

    The input goes through a 1x1 convolution if the widths differ.
    """

    def __init__(self, inputs: int, outputs: int, *, rngs: nnx.Rngs, dtype: DTypeLike):
        self.norm1 = GroupNorm(inputs, epsilon=1e-6, rngs=rngs)
        self.conv1 = conv3x3(inputs, outputs, rngs=rngs, dtype=dtype)
        self.norm2 = GroupNorm(outputs, epsilon=1e-6, rngs=rngs)
        self.conv2 = conv3x3(outputs, outputs, rngs=rngs, dtype=dtype)
        if inputs != outputs:
            self.nin_shortcut = conv1x1(inputs, outputs, rngs=rngs, dtype=dtype)

    def __call__(self, x: Image) -> Image:
        h = self.conv1(silu(self.norm1(x)))
        h = self.conv2(silu(self.norm2(h)))
        return h + (self.nin_shortcut(x) if hasattr(self, "nin_shortcut") else x)


class AttnBlock(nnx.Module):
    """A single-head self-attention over all positions, plus the input."""

    def __init__(self, channels: int, *, rngs: nnx.Rngs, dtype: DTypeLike):
        self.norm = GroupNorm(channels, epsilon=1e-6, rngs=rngs)
        self.q, self.k, self.v, self.proj_out = (conv1x1(channels, channels, rngs=rngs, dtype=dtype) for _ in range(4))

    def __call__(self, x: Image) -> Image:
        b, h, w, c = x.shape
        tokens = self.norm(x).reshape(b, h * w, c)
        q, k, v = (project(tokens) for project in (self.q, self.k, self.v))
        # In groups of rows: all positions at once would need memory for the square of their number.
        rows = max(1, positions_at_once(512, 4096) // w)
        attended = jax.lax.map(lambda row: attend(row, k, v), q.reshape(b, h, w, c).swapaxes(0, 1), batch_size=rows)
        return x + self.proj_out(attended.swapaxes(0, 1))


class Middle(nnx.Module):
    """The middle of encoder and decoder: residual block, attention, residual block."""

    def __init__(self, channels: int, *, rngs: nnx.Rngs, dtype: DTypeLike):
        self.block_1 = ResnetBlock(channels, channels, rngs=rngs, dtype=dtype)
        self.attn_1 = AttnBlock(channels, rngs=rngs, dtype=dtype)
        self.block_2 = ResnetBlock(channels, channels, rngs=rngs, dtype=dtype)

    def __call__(self, x: Image) -> Image:
        return self.block_2(self.attn_1(self.block_1(x)))


class Downsample(nnx.Module):
    """A 3x3 convolution of stride 2, after zero padding by one at the right and the bottom."""

    def __init__(self, channels: int, *, rngs: nnx.Rngs, dtype: DTypeLike):
        self.conv = conv3x3(channels, channels, stride=2, padding=((0, 1), (0, 1)), rngs=rngs, dtype=dtype)

    def __call__(self, x: Image) -> Image:
        return self.conv(x)


class Upsample(nnx.Module):
    """A nearest-neighbour x2 upsampling, then a 3x3 convolution."""

    def __init__(self, channels: int, *, rngs: nnx.Rngs, dtype: DTypeLike):
        self.conv = conv3x3(channels, channels, rngs=rngs, dtype=dtype, enlarge=True)

    def __call__(self, x: Image) -> Image:
        return self.conv(x)


class Level(nnx.Module):
    """The residual blocks of one resolution, then a change of resolution.

    Encoder and decoder set `downsample` or `upsample` for the change, except at the last level.
    """

    downsample: nnx.Module
    upsample: nnx.Module

    def __init__(self, inputs: int, outputs: int, blocks: int, *, rngs: nnx.Rngs, dtype: DTypeLike):
        widths = [inputs] + [outputs] * blocks
        self.block = nnx.List(ResnetBlock(widths[i], outputs, rngs=rngs, dtype=dtype) for i in range(blocks))

    def __call__(self, x: Image) -> Image:
        for block in self.block:
            x = block(x)
        for change in ("downsample", "upsample"):
            x = getattr(self, change)(x) if hasattr(self, change) else x
        return x


class Encoder(nnx.Module):
    """The encoder: images in [-1, 1] -> z."""

    def __init__(self, config: VQConfig, *, rngs: nnx.Rngs, dtype: DTypeLike):
        kw = {"rngs": rngs, "dtype": dtype}
        self.conv_in = conv3x3(config.in_channels, config.ch, **kw)
        widths = [config.ch] + [config.ch * mult for mult in config.ch_mult]
        self.down = nnx.List(Level(widths[i], widths[i + 1], n, **kw) for i, n in enumerate(config.num_res_blocks))
        for i, level in enumerate(self.down[:-1]):
            level.downsample = Downsample(widths[i + 1], **kw)
        self.mid = Middle(widths[-1], **kw)
        self.norm_out = GroupNorm(widths[-1], epsilon=1e-6, rngs=rngs)
        self.conv_out = conv3x3(widths[-1], config.z_channels, **kw)

    def __call__(self, x: Image) -> Image:
        h = self.conv_in(x)
        for level in self.down:
            h = level(h)
        return self.conv_out(silu(self.norm_out(self.mid(h))))


class Decoder(nnx.Module):
    """The decoder: z -> images. Levels are numbered as in the encoder, and run from the last to the first."""

    def __init__(self, config: VQConfig, *, rngs: nnx.Rngs, dtype: DTypeLike):
        kw = {"rngs": rngs, "dtype": dtype}
        widths = [config.ch * mult for mult in (*config.ch_mult, config.ch_mult[-1])]
        self.conv_in = conv3x3(config.z_channels, widths[-1], **kw)
        self.mid = Middle(widths[-1], **kw)
        self.up = nnx.List(Level(widths[i + 1], widths[i], n + 1, **kw) for i, n in enumerate(config.num_res_blocks))
        for i, level in enumerate(self.up[1:], start=1):
            level.upsample = Upsample(widths[i], **kw)
        self.norm_out = GroupNorm(widths[0], epsilon=1e-6, rngs=rngs)
        self.conv_out = conv3x3(widths[0], config.out_ch, **kw)

    def __call__(self, z: Image) -> Image:
        h = self.mid(self.conv_in(z))
        for level in reversed(list(self.up)):
            h = level(h)
        return self.conv_out(silu(self.norm_out(h)))


class Quantizer(nnx.Module):
    """A table of codes. Each latent position is replaced by its nearest code in squared distance."""

    def __init__(self, codes: int, channels: int, *, rngs: nnx.Rngs):
        self.embedding = nnx.Embed(codes, channels, rngs=rngs)

    def indices(self, z: Image) -> Int[Array, "b h w"]:
        """Find the index of the nearest code at each position. Of equally near codes, the first one wins."""
        table, z = self.embedding.embedding.get_value(), z.astype(jnp.float32)
        squares, numbers = jnp.square(table).sum(-1), jnp.arange(len(table))
        codes = jax.lax.optimization_barrier(table.T)  # else each product would transpose the table again

        def nearest(position: Float[Array, " z"]) -> Int[Array, ""]:
            distance = squares - 2 * jnp.matmul(position, codes, precision="highest")
            # This is faster on a CPU than `argmin`, which does not use vectors.
            smallest = fold(jnp.minimum, distance, -1).min()
            return fold(jnp.minimum, jnp.where(distance == smallest, numbers, len(table)), -1).min()

        at_once = positions_at_once(256, 2**14)
        return jax.lax.map(nearest, z.reshape(-1, z.shape[-1]), batch_size=at_once).reshape(z.shape[:-1])

    def __call__(self, z: Image) -> Image:
        return self.embedding(self.indices(z))


class VQAutoencoder(nnx.Module):
    """The VQ autoencoder: encoder, codes and decoder. `dtype` is the compute dtype; the code lookup is in float32."""

    def __init__(self, config: VQConfig, *, rngs: nnx.Rngs, dtype: DTypeLike = jnp.float32):
        self.dtype, self.factor = dtype, config.factor
        self.encoder = Encoder(config, rngs=rngs, dtype=dtype)
        self.decoder = Decoder(config, rngs=rngs, dtype=dtype)
        self.quantize = Quantizer(config.n_embed, config.embed_dim, rngs=rngs)
        self.quant_conv = conv1x1(config.z_channels, config.embed_dim, rngs=rngs, dtype=dtype)
        self.post_quant_conv = conv1x1(config.embed_dim, config.z_channels, rngs=rngs, dtype=dtype)

    def encode(self, image: Float[Array, "b H W 3"]) -> Float[Array, "b h w z"]:
        """Encode images in [-1, 1] to their latent, before quantisation.

        Raises:
            ValueError: if height or width is not a multiple of the factor.
        """
        if image.shape[1] % self.factor or image.shape[2] % self.factor:
            raise ValueError(
                f"VQAutoencoder: sides must be multiples of {self.factor}, got {image.shape[1:3]}; pad the image first."
            )
        return self.quant_conv(self.encoder(image.astype(self.dtype))).astype(jnp.float32)

    def decode(self, latent: Float[Array, "b h w z"], *, quantize: bool = True) -> Float[Array, "b H W 3"]:
        """Decode a latent to images (about [-1, 1], not clipped).

        With `quantize`, the nearest codes replace the latent first.
        """
        codes = self.quantize(latent) if quantize else latent
        return self.decoder(self.post_quant_conv(codes.astype(self.dtype))).astype(jnp.float32)

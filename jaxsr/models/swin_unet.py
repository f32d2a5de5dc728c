"""The Swin-UNet of ResShift, which predicts x_0 from the normalised x_t, the LR image and the integer time."""

from dataclasses import dataclass, fields
from functools import partial
from typing import Literal

import jax
import jax.numpy as jnp
from flax import nnx
from jax.typing import DTypeLike
from jaxtyping import Array, Float, Int

from jaxsr.models.layers import (
    NORMS,
    Image,
    Linear,
    check_sizes,
    conv1x1,
    conv3x3,
    silu,
    slots,
    timestep_embedding,
)
from jaxsr.models.swin_layer import SwinLayer


@dataclass(frozen=True, kw_only=True)
class SwinUNetConfig:
    """Hyperparameters of the Swin-UNet, under the names of the released configurations.

    Attributes:
        image_size: nominal size of the latent. It decides which levels have attention and which windows shift.
        in_channels: channels of x_t.
        out_channels: channels of the prediction.
        model_channels: width of the first level; `channel_mult` multiplies it level by level.
        num_res_blocks: residual blocks per level on the way down (one more on the way up).
        attention_resolutions: nominal sizes of the levels whose first block is followed by a Swin layer.
        num_head_channels: channels per attention head.
        swin_embed_dim: width of the Swin layers.
        swin_depth: blocks per Swin layer.
        window_size: side of the attention windows, in latent positions.
        mlp_ratio: ratio of the hidden width of the Swin MLP to `swin_embed_dim`.
        lq_size: nominal size of the LR image (and mask). If it is larger than `image_size`, a feature extractor halves
            it until it is equal.
        lq_channels: channels of the LR image.
        cond_mask: whether a mask is appended to the LR image.
        norm: norm of the blocks: `group`, as released, or `channel`, which normalises each position by itself (see
            `jaxsr.models.layers.ChannelNorm`).
        window_mask: mask of shifted windows, see `jaxsr.models.swin_layer.attention_mask`.
    Raises:
        ValueError: for values that do not fit each other; the message says which.
    """

    image_size: int
    in_channels: int
    out_channels: int
    model_channels: int
    channel_mult: tuple[int, ...]
    num_res_blocks: tuple[int, ...]
    attention_resolutions: tuple[int, ...]
    num_head_channels: int
    swin_embed_dim: int
    swin_depth: int
    window_size: int
    mlp_ratio: int | float
    lq_size: int
    lq_channels: int = 3
    cond_mask: bool = False
    norm: Literal["group", "channel"] = "group"
    window_mask: Literal["released", "regions"] = "released"

    def __post_init__(self) -> None:
        for field in fields(self):
            value, least = getattr(self, field.name), 0 if field.name in ("num_res_blocks", "cond_mask") else 1e-9
            numbers = value if isinstance(value, tuple) else (value,)
            if any(isinstance(number, int | float) and number < least for number in numbers):
                raise ValueError(f"SwinUNetConfig: {field.name} must be positive.")
        sizes = [self.image_size >> level for level in range(len(self.channel_mult))]
        unit = 32 if self.norm == "group" else 2
        rules = {
            "channel_mult and num_res_blocks need one entry per level each": len(sizes) == len(self.num_res_blocks),
            f"attention_resolutions must be among {sizes}": set(self.attention_resolutions) <= set(sizes),
            "swin_embed_dim must be a multiple of num_head_channels": self.swin_embed_dim % self.num_head_channels == 0,
            f"with norm={self.norm!r}, model_channels and swin_embed_dim must be multiples of {unit}": (
                self.model_channels % unit == self.swin_embed_dim % unit == 0
            ),
            "lq_size must be image_size times a power of two": (
                self.lq_size >= self.image_size and self.lq_size == self.image_size << self.halvings
            ),
            f"norm must be one of {tuple(NORMS)}": self.norm in NORMS,
            "window_mask must be 'released' or 'regions'": self.window_mask in ("released", "regions"),
        }
        for rule, holds in rules.items():
            if not holds:
                raise ValueError(f"SwinUNetConfig: {rule}.")

    @property
    def halvings(self) -> int:
        """The number of times that the feature extractor halves the LR image."""
        return (self.lq_size // self.image_size).bit_length() - 1

    @property
    def align(self) -> int:
        """The number by which height and width of x_t must be divisible, so that the smallest level has whole windows.

        The smallest level always has windows, in its middle block.
        """
        return 2 ** (len(self.channel_mult) - 1) * self.window_size


class ResBlock(nnx.Module):
    """A residual block. The time embedding scales and shifts its second norm."""

    def __init__(self, inputs: int, outputs: int, emb: int, *, norm: str, rngs: nnx.Rngs, dtype: DTypeLike):
        make_norm = NORMS[norm]
        self.in_layers = slots(
            {
                0: make_norm(inputs, epsilon=1e-5, rngs=rngs),
                2: conv3x3(inputs, outputs, rngs=rngs, dtype=dtype),
            }
        )
        self.emb_layers = slots({1: Linear(emb, 2 * outputs, rngs=rngs, dtype=dtype)})
        self.out_layers = slots(
            {
                0: make_norm(outputs, epsilon=1e-5, rngs=rngs),
                3: conv3x3(outputs, outputs, rngs=rngs, dtype=dtype, zero=True),
            }
        )
        if inputs != outputs:
            self.skip_connection = conv1x1(inputs, outputs, rngs=rngs, dtype=dtype)

    def __call__(self, x: Image, emb: Float[Array, "b e"]) -> Image:
        h = self.in_layers["2"](silu(self.in_layers["0"](x)))
        scale, shift = jnp.split(self.emb_layers["1"](silu(emb))[:, None, None], 2, axis=-1)
        h = self.out_layers["0"](h) * (1 + scale) + shift
        h = self.out_layers["3"](silu(h))
        skip = self.skip_connection(x) if hasattr(self, "skip_connection") else x
        return skip + h


class Downsample(nnx.Module):
    """A 3x3 convolution of stride 2."""

    def __init__(self, inputs: int, outputs: int, *, rngs: nnx.Rngs, dtype: DTypeLike):
        self.op = conv3x3(inputs, outputs, stride=2, rngs=rngs, dtype=dtype)

    def __call__(self, x: Image) -> Image:
        return self.op(x)


class Upsample(nnx.Module):
    """A nearest-neighbour x2 upsampling, then a 3x3 convolution."""

    def __init__(self, channels: int, *, rngs: nnx.Rngs, dtype: DTypeLike):
        self.conv = conv3x3(channels, channels, rngs=rngs, dtype=dtype, enlarge=True)

    def __call__(self, x: Image) -> Image:
        return self.conv(x)


def run(layers: nnx.List, x: Image, emb: Float[Array, "b e"], *, remat: bool = False) -> Image:
    """Apply a list of layers. The residual blocks among them take the time embedding.

    With `remat`, a gradient keeps only the inputs of the layers and recomputes their intermediate values.
    """
    for layer in layers:
        apply = partial(layer, emb=emb) if isinstance(layer, ResBlock) else layer
        x = jax.checkpoint(apply)(x) if remat else apply(x)
    return x


class SwinUNet(nnx.Module):
    """The Swin-UNet: it predicts x_0 from the normalised x_t, the LR image and the integer time.

    `dtype` is the compute dtype (float32 or bfloat16); parameters and output are float32. For `remat` see `run`.
    """

    def __init__(self, config: SwinUNetConfig, *, rngs: nnx.Rngs, dtype: DTypeLike = jnp.float32, remat: bool = False):
        self.config, self.dtype, self.remat = config, dtype, remat
        width, emb, levels = config.model_channels, 4 * config.model_channels, len(config.channel_mult)
        kw = {"rngs": rngs, "dtype": dtype}

        def block(inputs: int, outputs: int) -> ResBlock:
            return ResBlock(inputs, outputs, emb, norm=config.norm, **kw)

        def swin(channels: int, size: int) -> SwinLayer:
            c = config
            heads = c.swin_embed_dim // c.num_head_channels
            sizes = (c.swin_embed_dim, heads, c.window_size, c.swin_depth, c.mlp_ratio)
            return SwinLayer(channels, *sizes, nominal_size=size, norm=c.norm, window_mask=c.window_mask, **kw)

        def attends(size: int, i: int) -> bool:
            return i == 0 and size in config.attention_resolutions

        self.time_embed = slots({0: Linear(width, emb, **kw), 2: Linear(emb, emb, **kw)})
        lq_channels = config.lq_channels + config.cond_mask
        if config.halvings:
            self.feature_extractor, lq_channels = feature_extractor(lq_channels, config.halvings, **kw)

        channels = config.channel_mult[0] * width
        first: list[nnx.Module] = [conv3x3(config.in_channels + lq_channels, channels, **kw)]
        blocks, skips = [nnx.List(first)], [channels]
        for level, (mult, count) in enumerate(zip(config.channel_mult, config.num_res_blocks, strict=True)):
            size = config.image_size >> level
            for i in range(count):
                layers: list[nnx.Module] = [block(channels, mult * width)]
                channels = mult * width
                if attends(size, i):
                    layers.append(swin(channels, size))
                blocks.append(nnx.List(layers))
                skips.append(channels)
            if level < levels - 1:
                down: list[nnx.Module] = [Downsample(channels, channels, **kw)]
                blocks.append(nnx.List(down))
                skips.append(channels)
        self.input_blocks = nnx.List(blocks)

        size = config.image_size >> (levels - 1)
        self.middle_block = nnx.List([block(channels, channels), swin(channels, size), block(channels, channels)])

        blocks = []
        for level in reversed(range(levels)):
            size, outputs = config.image_size >> level, config.channel_mult[level] * width
            for i in range(config.num_res_blocks[level] + 1):
                layers = [block(channels + skips.pop(), outputs)]
                channels = outputs
                if attends(size, i):
                    layers.append(swin(channels, size))
                if level and i == config.num_res_blocks[level]:
                    layers.append(Upsample(channels, **kw))
                blocks.append(nnx.List(layers))
        self.output_blocks = nnx.List(blocks)
        self.out = slots(
            {
                0: NORMS[config.norm](channels, epsilon=1e-5, rngs=rngs),
                2: conv3x3(channels, config.out_channels, zero=True, **kw),
            }
        )

    def __call__(
        self,
        x: Image,
        timesteps: Int[Array, " b"],
        lq: Float[Array, "b hl wl cl"],
        mask: Float[Array, "b hl wl 1"] | None = None,
    ) -> Float[Array, "b h w out"]:
        """Predict x_0.

        Args:
            x: the normalised x_t, whose height and width are multiples of `config.align`.
            timesteps: integer times, 0-based, after the timestep map.
            lq: LR image in [-1, 1], 2^halvings times the size of x (see `SwinUNetConfig.halvings`).
            mask: -1 / 1 at lq's size, 1 where content is missing; only for networks with `cond_mask`.
        Raises:
            ValueError: if sizes do not fit, if a required mask is missing, or if the network takes no mask.
        """
        self.check(x, lq, mask)
        x, lq = x.astype(self.dtype), lq.astype(self.dtype)
        if mask is not None:
            lq = jnp.concatenate([lq, mask.astype(self.dtype)], -1)
        emb = timestep_embedding(timesteps, self.config.model_channels).astype(self.dtype)
        emb = self.time_embed["2"](silu(self.time_embed["0"](emb)))
        h = jnp.concatenate([x, self.features(lq)], -1)
        skips = []
        for layers in self.input_blocks:
            h = run(layers, h, emb, remat=self.remat)
            skips.append(h)
        h = run(self.middle_block, h, emb, remat=self.remat)
        for layers in self.output_blocks:
            h = run(layers, jnp.concatenate([h, skips.pop()], -1), emb, remat=self.remat)
        return self.out["2"](silu(self.out["0"](h))).astype(jnp.float32)

    def features(self, lq: Image) -> Image:
        """Reduce the LR image (and mask) to latent size."""
        for i in range(self.config.halvings):
            lq = silu(self.feature_extractor[str(3 * i)](lq))
            lq = self.feature_extractor[str(3 * i + 2)](lq)
        return lq

    def check(self, x: Array, lq: Array, mask: Array | None) -> None:
        """Raise ValueError if the sizes of the arguments do not fit, or the mask is missing or not wanted."""
        check_sizes("SwinUNet", x, lq, self.config.align, 2**self.config.halvings)
        if (mask is not None) != self.config.cond_mask:
            raise ValueError(f"SwinUNet: this network {'needs a' if self.config.cond_mask else 'takes no'} mask.")


def feature_extractor(channels: int, halvings: int, *, rngs: nnx.Rngs, dtype: DTypeLike) -> tuple[nnx.Dict, int]:
    """Make the feature extractor, and return its layers and their output channels.

    Each halving has a 3x3 convolution (the first one to 16 channels), SiLU, and a 3x3 convolution of stride 2 that
    doubles the width.
    """
    layers: dict[int, nnx.Module] = {}
    width = 16
    for i in range(halvings):
        layers[3 * i] = conv3x3(channels, width, rngs=rngs, dtype=dtype)
        layers[3 * i + 2] = Downsample(width, 2 * width, rngs=rngs, dtype=dtype)
        channels = width = 2 * width
    return slots(layers), channels

"""The convolutional U-Net of `photo-x4`: the Swin-UNet's task with less work per picture.

It works at half the LR size and below, has 3x3 convolutions alone, and adds the skips of the U-Net instead of
concatenating them. Nothing in it looks farther than its convolutions, so that a tile gives the pixels of the whole
image away from its border.
"""

from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import ClassVar

import jax
import jax.numpy as jnp
from flax import nnx
from jax.typing import DTypeLike
from jaxtyping import Array, Float, Int

from jaxsr.models.layers import ChannelNorm, Image, Linear, check_sizes, conv3x3, silu, slots, timestep_embedding
from jaxsr.models.pixel_codec import pixel_shuffle, pixel_unshuffle

DETAIL = 8.0
"""Factor that brings the detail of an LR image, relative to the mean of a block, to about unit size."""


@dataclass(frozen=True, kw_only=True)
class ConvUNetConfig:
    """Hyperparameters of the convolutional U-Net.

    Attributes:
        in_channels: channels of x_t.
        out_channels: channels of the prediction.
        widths: channels of each level. Each level has half the height and width of the level before.
        blocks: residual blocks of each level. All levels but the last have them twice: on the way down and on the way
            up.
        lq_factor: number of pixels of the LR image per latent position, along each side.
    Raises:
        ValueError: for values that do not fit each other; the message says which.
    """

    in_channels: int
    out_channels: int
    widths: tuple[int, ...]
    blocks: tuple[int, ...]
    lq_factor: int

    norm: ClassVar[str] = "channel"
    """Norms see only their own position."""
    cond_mask: ClassVar[bool] = False
    """The network takes no mask."""
    lq_channels: ClassVar[int] = 3
    """Channels of the LR image."""

    def __post_init__(self) -> None:
        rules = {
            "widths and blocks need one entry per level each": 0 < len(self.widths) == len(self.blocks),
            "widths must be even": not any(width % 2 for width in self.widths),
            "in_channels, out_channels, widths, blocks and lq_factor must be positive": (
                min(self.in_channels, self.out_channels, self.lq_factor, *self.widths, *self.blocks) > 0
            ),
        }
        for rule, holds in rules.items():
            if not holds:
                raise ValueError(f"ConvUNetConfig: {rule}.")

    @property
    def model_channels(self) -> int:
        """The width of the first level."""
        return self.widths[0]

    @property
    def align(self) -> int:
        """The number by which height and width of x_t must be divisible: the smallest level has whole positions."""
        return 2 ** (len(self.widths) - 1)


class ConvBlock(nnx.Module):
    """A residual block: norm, scaled and shifted by the time embedding; 3x3 convolution; SiLU; 3x3 convolution."""

    def __init__(self, channels: int, emb: int, *, rngs: nnx.Rngs, dtype: DTypeLike):
        self.norm = ChannelNorm(channels, epsilon=1e-5, rngs=rngs)
        self.emb = Linear(emb, 2 * channels, rngs=rngs, dtype=dtype)
        self.first = conv3x3(channels, channels, rngs=rngs, dtype=dtype)
        self.second = conv3x3(channels, channels, rngs=rngs, dtype=dtype, zero=True)

    def __call__(self, x: Image, emb: Float[Array, "b e"]) -> Image:
        scale, shift = jnp.split(self.emb(emb)[:, None, None], 2, axis=-1)
        h = self.first(self.norm(x) * (1 + scale) + shift)
        return x + self.second(silu(h))


class ConvUNet(nnx.Module):
    """The U-Net: it predicts from the normalised x_t, the LR image and the integer time.

    `dtype` is the compute dtype (float32 or bfloat16); parameters and output are float32. With `remat`, a gradient
    keeps only the inputs of the blocks and recomputes their intermediate values.
    """

    def __init__(self, config: ConvUNetConfig, *, rngs: nnx.Rngs, dtype: DTypeLike = jnp.float32, remat: bool = False):
        self.config, self.dtype, self.remat = config, dtype, remat
        widths, emb, kw = config.widths, 4 * config.widths[0], {"rngs": rngs, "dtype": dtype}

        def level(width: int, count: int) -> nnx.List:
            return nnx.List([ConvBlock(width, emb, **kw) for _ in range(count)])

        self.time_embed = slots({0: Linear(widths[0], emb, **kw), 2: Linear(emb, emb, **kw)})
        inputs = config.in_channels + 2 * config.lq_channels * config.lq_factor**2
        self.first = conv3x3(inputs, widths[0], **kw)
        upper, steps = list(zip(widths, config.blocks, strict=True))[:-1], list(pairwise(widths))
        self.down_blocks = nnx.List([level(*sizes) for sizes in upper])
        self.down = nnx.List([Linear(4 * width, below, **kw) for width, below in steps])
        self.middle_blocks = level(widths[-1], config.blocks[-1])
        self.up = nnx.List([Linear(below, 4 * width, **kw) for width, below in steps])
        self.up_blocks = nnx.List([level(*sizes) for sizes in upper])
        self.out = slots(
            {
                0: ChannelNorm(widths[0], epsilon=1e-5, rngs=rngs),
                2: conv3x3(widths[0], config.out_channels, zero=True, **kw),
            }
        )

    def __call__(
        self, x: Image, timesteps: Int[Array, " b"], lq: Float[Array, "b hl wl 3"], mask: None = None
    ) -> Float[Array, "b h w out"]:
        """Predict.

        Args:
            x: the normalised x_t, whose height and width are multiples of `config.align`.
            timesteps: integer times, 0-based, after the timestep map.
            lq: LR image in [-1, 1], `config.lq_factor` times the size of x.
            mask: must be None; this network takes no mask.
        Raises:
            ValueError: if sizes do not fit, or if there is a mask.
        """
        self.check(x, lq, mask)
        x, lq = x.astype(self.dtype), lq.astype(self.dtype)
        emb = timestep_embedding(timesteps, self.config.model_channels).astype(self.dtype)
        emb = silu(self.time_embed["2"](silu(self.time_embed["0"](emb))))
        h = self.first(jnp.concatenate([x, pixel_unshuffle(lq, self.config.lq_factor), self._detail(lq)], -1))
        skips = []
        for blocks, down in zip(self.down_blocks, self.down, strict=True):
            h = self._run(blocks, h, emb)
            skips.append(h)
            h = down(pixel_unshuffle(h, 2))
        h = self._run(self.middle_blocks, h, emb)
        for blocks, up in zip(reversed(list(self.up_blocks)), reversed(list(self.up)), strict=True):
            h = self._run(blocks, skips.pop() + pixel_shuffle(up(h), 2), emb)
        return self.out["2"](silu(self.out["0"](h))).astype(jnp.float32)

    def _detail(self, lq: Image) -> Image:
        """Subtract the mean of each block from the LR image, so that detail is not small beside brightness."""
        blocks = pixel_unshuffle(lq, self.config.lq_factor)
        colours = blocks.reshape(*blocks.shape[:3], -1, self.config.lq_channels)
        return DETAIL * (colours - colours.mean(3, keepdims=True)).reshape(blocks.shape)

    def _run(self, blocks: nnx.List, x: Image, emb: Float[Array, "b e"]) -> Image:
        for block in blocks:
            apply = partial(block, emb=emb)
            x = jax.checkpoint(apply)(x) if self.remat else apply(x)
        return x

    def check(self, x: Array, lq: Array, mask: Array | None) -> None:
        """Raise ValueError if the sizes of the arguments do not fit, or if there is a mask."""
        check_sizes("ConvUNet", x, lq, self.config.align, self.config.lq_factor)
        if mask is not None:
            raise ValueError("ConvUNet: this network takes no mask.")

"""Shifted-window attention (Swin, ICCV 2021) over feature maps, in the variant of the released Swin-UNet.

It differs from the original Swin in three ways. Norms are image norms on NHWC maps. The MLP consists of two 1x1
convolutions with the exact GELU. The whole layer has no residual connection around it.
"""

from functools import cache
from typing import Literal

import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.typing import DTypeLike
from jaxtyping import Array, Float, Int

from jaxsr.models.layers import NORMS, Image, Linear, conv1x1, gelu
from jaxsr.models.products import attend

Windows = Float[Array, "b n tokens c"]


@cache
def relative_position_index(window: int) -> Int[np.ndarray, "tokens tokens"]:
    """Compute the row of the bias table, which has (2 window - 1)^2 rows, for every pair of positions in a window."""
    y, x = np.divmod(np.arange(window**2), window)
    dy, dx = y[:, None] - y[None], x[:, None] - x[None]
    return (dy + window - 1) * (2 * window - 1) + dx + window - 1


MaskKind = Literal["released", "regions"]


def window_regions(height: int, width: int, window: int, shift: int, kind: MaskKind) -> Int[np.ndarray, "n tokens"]:
    """Number the regions of the tokens of every shifted window; see `attention_mask`."""
    rows, columns = (np.digitize(np.arange(size), [size - window, size - shift]) for size in (height, width))
    ny, nx = height // window, width // window
    if kind == "released":
        split = rows.reshape(ny, 1, 1, window)
    else:
        split = 3 * rows.reshape(ny, 1, window, 1) + columns.reshape(1, nx, 1, window)
    return np.broadcast_to(split, (ny, nx, window, window)).reshape(-1, window**2).astype(np.int32)


def attention_mask(height: int, width: int, window: int, shift: int, kind: MaskKind) -> Float[Array, "n tokens tokens"]:
    """Make the attention mask: -100 between positions of a shifted window in different regions of the image, else 0.

    `regions` is Swin's mask: it has nine regions, so that no position attends across the border that the roll joined.
    `released` is the mask of the released ResShift networks: it masks only the last row of windows, and there by
    columns instead of rows (its region map is transposed inside a window). Networks trained with it need it.
    """
    # The comparison is part of the graph, so that the program stores only the regions, 64 times smaller than the mask.
    ids = jnp.asarray(window_regions(height, width, window, shift, kind))
    return jnp.where(ids[:, :, None] == ids[:, None, :], 0.0, -100.0)


def to_windows(x: Image, window: int) -> Windows:
    """Cut a map into non-overlapping windows, row-major: (b, h, w, c) -> (b, windows, window^2, c)."""
    b, h, w, c = x.shape
    x = x.reshape(b, h // window, window, w // window, window, c).swapaxes(2, 3)
    return x.reshape(b, -1, window**2, c)


def from_windows(tokens: Windows, height: int, width: int, window: int) -> Image:
    """Join windows to a map: the inverse of `to_windows`."""
    b, _, _, c = tokens.shape
    x = tokens.reshape(b, height // window, width // window, window, window, c).swapaxes(2, 3)
    return x.reshape(b, height, width, c)


class WindowAttention(nnx.Module):
    """Multi-head attention inside windows, with a learned bias per relative position."""

    def __init__(self, channels: int, heads: int, window: int, *, rngs: nnx.Rngs, dtype: DTypeLike):
        self.qkv = Linear(channels, 3 * channels, rngs=rngs, dtype=dtype)
        self.proj = Linear(channels, channels, rngs=rngs, dtype=dtype)
        init = nnx.initializers.truncated_normal(0.02)
        self.relative_position_bias_table = nnx.Param(init(rngs.params(), ((2 * window - 1) ** 2, heads)))
        self.heads, self.window = heads, window

    def __call__(self, tokens: Windows, mask: Float[Array, "n t t"] | None) -> Windows:
        b, n, t, c = tokens.shape
        qkv = self.qkv(tokens).reshape(b, n, t, 3, self.heads, c // self.heads)
        q, k, v = qkv.transpose(3, 0, 1, 4, 2, 5)
        # The lookup has the heads first, which is the memory order of the logits.
        bias = jnp.take(self.relative_position_bias_table.T, relative_position_index(self.window), axis=1)[None, None]
        if mask is not None:
            bias += mask[None, :, None]
        return self.proj(attend(q, k, v, bias).swapaxes(2, 3).reshape(b, n, t, c))


class Mlp(nnx.Module):
    """A multilayer perceptron per position: 1x1 convolution, exact (erf) GELU, 1x1 convolution."""

    def __init__(self, channels: int, hidden: int, *, rngs: nnx.Rngs, dtype: DTypeLike):
        self.fc1 = conv1x1(channels, hidden, rngs=rngs, dtype=dtype)
        self.fc2 = conv1x1(hidden, channels, rngs=rngs, dtype=dtype)

    def __call__(self, x: Image) -> Image:
        return self.fc2(gelu(self.fc1(x)))


class SwinBlock(nnx.Module):
    """A Swin block: x + attention(norm1(x)), then x + mlp(norm2(x)). Windows are rolled by -shift if it is not 0."""

    def __init__(self, channels, heads, window, shift, mlp_ratio, *, norm, window_mask, rngs, dtype):
        self.norm1 = NORMS[norm](channels, epsilon=1e-5, rngs=rngs)
        self.attn = WindowAttention(channels, heads, window, rngs=rngs, dtype=dtype)
        self.norm2 = NORMS[norm](channels, epsilon=1e-5, rngs=rngs)
        self.mlp = Mlp(channels, int(channels * mlp_ratio), rngs=rngs, dtype=dtype)
        self.window, self.shift, self.window_mask = window, shift, window_mask

    def __call__(self, x: Image) -> Image:
        x = x + self.attend(self.norm1(x))
        return x + self.mlp(self.norm2(x))

    def attend(self, x: Image) -> Image:
        _, h, w, _ = x.shape
        mask = attention_mask(h, w, self.window, self.shift, self.window_mask) if self.shift else None
        rolled = jnp.roll(x, (-self.shift, -self.shift), (1, 2)) if self.shift else x
        out = from_windows(self.attn(to_windows(rolled, self.window), mask), h, w, self.window)
        return jnp.roll(out, (self.shift, self.shift), (1, 2)) if self.shift else out


class Projection(nnx.Module):
    """The 1x1 convolution into or out of a Swin layer's width."""

    def __init__(self, inputs: int, outputs: int, *, rngs: nnx.Rngs, dtype: DTypeLike):
        self.proj = conv1x1(inputs, outputs, rngs=rngs, dtype=dtype)

    def __call__(self, x: Image) -> Image:
        return self.proj(x)


class SwinLayer(nnx.Module):
    """A sequence of `depth` Swin blocks at width `embed_dim`.

    Odd blocks shift by half a window. No block shifts if the layer's nominal size is no larger than the window.
    """

    def __init__(
        self,
        channels: int,
        embed_dim: int,
        heads: int,
        window: int,
        depth: int,
        mlp_ratio: int | float,
        *,
        nominal_size: int,
        norm: str,
        window_mask: MaskKind,
        rngs: nnx.Rngs,
        dtype: DTypeLike,
    ):
        kw = {"norm": norm, "window_mask": window_mask, "rngs": rngs, "dtype": dtype}
        shift = window // 2 if nominal_size > window else 0
        self.patch_embed = Projection(channels, embed_dim, rngs=rngs, dtype=dtype)
        self.blocks = nnx.List(
            SwinBlock(embed_dim, heads, window, shift * (i % 2), mlp_ratio, **kw) for i in range(depth)
        )
        self.patch_unembed = Projection(embed_dim, channels, rngs=rngs, dtype=dtype)

    def __call__(self, x: Image) -> Image:
        x = self.patch_embed(x)
        for block in self.blocks:
            x = block(x)
        return self.patch_unembed(x)

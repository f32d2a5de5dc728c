"""Bicubic resizing: upsampling as in PyTorch, for the model's input, and downsampling as in MATLAB, for benchmarks."""

from collections.abc import Iterator
from functools import lru_cache
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Float64, Int64, Num, Shaped, UInt8

Border = Literal["mirror", "clamp"]
Convention = Literal["double", "uint8"]
_BAND = 64  # rows


def upsample_bicubic(x: Float[Array, "b h w c"], scale: int) -> Float[Array, "b sh sw c"]:
    """Enlarge NHWC images by an integer factor as PyTorch's bicubic interpolation does.

    It uses the kernel a = -0.75, half-pixel centres and clamped borders, without antialiasing. Diffusion models use
    this upsampling before their encoder. Values may have any range; overshoots are not clipped.
    Raises ValueError if the scale is below 1.
    """
    if scale < 1:
        raise ValueError(f"scale is {scale}: use an integer of at least 1")
    b, h, w, c = x.shape
    method, precision = jax.image.ResizeMethod.CUBIC_PYTORCH, jax.lax.Precision.HIGHEST
    return jax.image.resize(x, (b, h * scale, w * scale, c), method, antialias=False, precision=precision)


def downsample_bicubic(x: Float[Array, "b h w c"], scale: int) -> Float[Array, "b p q c"]:
    """Shrink NHWC images by an integer factor as MATLAB's `imresize` does. The function is differentiable.

    It uses the kernel a = -0.5, stretched by the scale (antialiasing), half-pixel centres and mirrored borders. This is
    the downsampling of the super-resolution benchmarks, in floating point without rounding. Values may have any range.
    Raises ValueError if the height or the width is not a multiple of the scale.
    """
    _, h, w, _ = x.shape
    _check_multiple(h, w, scale)
    rows, columns = (jnp.asarray(bicubic_matrix(n, n // scale), dtype=x.dtype) for n in (h, w))
    return jnp.einsum("ph,bhwc,qw->bpqc", rows, x, columns, precision=jax.lax.Precision.HIGHEST)


def project_onto(
    x: Float[Array, "b h w c"], lr: Float[Array, "b p q c"], scale: int, strength: float | Float[Array, ""] = 1.0
) -> Float[Array, "b h w c"]:
    """Move images onto those that reduce to given LR images: x + strength A^+ (lr - A x).

    A is `downsample_bicubic`, and A^+ = A^T (A A^T)^-1 is its pseudo-inverse. With strength 1, A of the result is `lr`,
    and no image with this property is nearer to x: what A cannot see (its null space) is left as it is.

    Args:
        x: NHWC images of any range.
        lr: NHWC images of 1 / `scale` of their size.
        scale: HR size divided by LR size.
        strength: share of the way; 0 returns x.
    Raises:
        ValueError: if the sizes do not fit.
    """
    _, h, w, _ = x.shape
    _check_multiple(h, w, scale)
    if lr.shape[1:3] != (h // scale, w // scale):
        raise ValueError(f"LR images of {lr.shape[1]} x {lr.shape[2]} pixels do not fit {h} x {w} at scale {scale}")
    rest = lr - downsample_bicubic(x, scale)
    rows, columns = (jnp.asarray(bicubic_pseudo_inverse(n, n // scale), dtype=x.dtype) for n in (h, w))
    back = jnp.einsum("hp,bpqc,wq->bhwc", rows, rest, columns, precision=jax.lax.Precision.HIGHEST)
    return x + strength * back


@lru_cache(maxsize=16)
def bicubic_pseudo_inverse(n_in: int, n_out: int) -> Float64[np.ndarray, "n_in n_out"]:
    """Make the pseudo-inverse A^T (A A^T)^-1 of `bicubic_matrix`. A whole image has one for each of its axes."""
    matrix = bicubic_matrix(n_in, n_out)
    return np.linalg.solve(matrix @ matrix.T, matrix).T


def downsample_bicubic_uint8(
    hr: UInt8[np.ndarray, "h w c"], scale: int, convention: Convention = "double"
) -> UInt8[np.ndarray, "p q c"]:
    """Shrink an 8-bit image on the host as MATLAB's `imresize` does, to the LR images of the benchmarks.

    The image is first cropped at the bottom and the right to a multiple of the scale. Benchmarks called `imresize` in
    two ways, which differ in the last grey levels. `double`: on a floating-point image, with mirrored borders, rounded
    once (as `downsample_bicubic`). `uint8`: on the 8-bit image in older releases, with clamped borders and a second
    rounding between the passes over rows and columns; the widespread x4 sets of Set5 and Set14 were made so. Halves
    round up. Raises ValueError if no pixel is left.
    """
    h, w = (n - n % scale for n in hr.shape[:2])
    _check_multiple(h, w, scale)
    border = "clamp" if convention == "uint8" else "mirror"
    half = _resize_rows(hr[:h, :w], h // scale, border)
    half = _round_uint8(half) if convention == "uint8" else half
    return _round_uint8(_resize_rows(half.swapaxes(0, 1), w // scale, border)).swapaxes(0, 1)


def bicubic_matrix(n_in: int, n_out: int, border: Border = "mirror") -> Float64[np.ndarray, "n_out n_in"]:
    """Make the matrix that resizes one axis by antialiased bicubic interpolation (kernel a = -0.5); rows sum to 1."""
    indices, weights = bicubic_taps(n_in, n_out, border)
    matrix = np.zeros((n_out, n_in))
    np.add.at(matrix, (np.arange(n_out)[:, None], indices), weights)
    return matrix


@lru_cache(maxsize=64)
def bicubic_taps(
    n_in: int, n_out: int, border: Border = "mirror"
) -> tuple[Int64[np.ndarray, "n_out k"], Float64[np.ndarray, "n_out k"]]:
    """Compute the source pixels and weights of every output pixel of one axis: the non-zero band of `bicubic_matrix`.

    Downsampling stretches the kernel by n_in / n_out. With the border `mirror`, a tap outside the image reads the
    mirrored pixel (the edge pixel counts twice; an axis shorter than the kernel is mirrored repeatedly). With `clamp`,
    it reads the edge pixel.
    """
    stretch = max(n_in / n_out, 1.0)
    centres = (np.arange(n_out) + 0.5) * (n_in / n_out) - 0.5
    taps = np.floor(centres - 2 * stretch).astype(np.int64)[:, None] + np.arange(int(np.ceil(4 * stretch)) + 2)
    weights = _cubic((centres[:, None] - taps) / stretch)
    used = np.any(weights != 0, axis=0)
    taps, weights = taps[:, used], weights[:, used]
    mirrored = np.mod(taps, 2 * n_in)
    mirrored = np.minimum(mirrored, 2 * n_in - 1 - mirrored)
    indices = np.clip(taps, 0, n_in - 1) if border == "clamp" else mirrored
    return indices, weights / weights.sum(axis=1, keepdims=True)


def _cubic(t: Float64[np.ndarray, "n k"]) -> Float64[np.ndarray, "n k"]:
    """Evaluate Keys' cubic convolution kernel with a = -0.5."""
    t = np.abs(t)
    inner = (1.5 * t - 2.5) * t**2 + 1.0
    outer = ((-0.5 * t + 2.5) * t - 4.0) * t + 2.0
    return np.where(t <= 1, inner, np.where(t <= 2, outer, 0.0))


def shrink_by_bands(image: Num[np.ndarray, "h w c"], scale: int) -> Iterator[tuple[int, Float64[np.ndarray, "m q c"]]]:
    """Shrink a large image as `downsample_bicubic` does, on the host in float64, band by band from top to bottom.

    Yields bands as (first row, rows). The image may have any type and value range; the result is not rounded.
    Memory: a few bands of 64 rows of the result.
    Raises ValueError if the height or the width is not a multiple of the scale.
    """
    height, width, _ = image.shape
    _check_multiple(height, width, scale)
    indices, weights = bicubic_taps(height, height // scale)
    for top in range(0, len(indices), _BAND):
        half = _apply_taps(image, indices[top : top + _BAND], weights[top : top + _BAND])
        yield top, _resize_rows(half.swapaxes(0, 1), width // scale, "mirror").swapaxes(0, 1)


def enlarge_rows(
    image: Num[np.ndarray, "h w c"], size: tuple[int, int], rows: Int64[np.ndarray, " n"]
) -> Float64[np.ndarray, "n W c"]:
    """Compute some rows of an image enlarged to `size` (height, width) by bicubic interpolation, on the host.

    The kernel is that of `bicubic_matrix`, with clamped borders. The image may have any type; nothing is rounded.
    """
    indices, weights = bicubic_taps(image.shape[0], size[0], "clamp")
    half = _apply_taps(image, indices[rows], weights[rows])
    return _resize_rows(half.swapaxes(0, 1), size[1], "clamp").swapaxes(0, 1)


def _resize_rows(x: Shaped[np.ndarray, "h w c"], n_out: int, border: Border) -> Float64[np.ndarray, "p w c"]:
    return _apply_taps(x, *bicubic_taps(x.shape[0], n_out, border))


def _apply_taps(
    x: Shaped[np.ndarray, "h w c"], indices: Int64[np.ndarray, "p k"], weights: Float64[np.ndarray, "p k"]
) -> Float64[np.ndarray, "p w c"]:
    """Resize the first axis tap by tap: multiply it by the banded `bicubic_matrix`, or by some of its rows."""
    out = np.zeros((len(indices), *x.shape[1:]))
    for index, weight in zip(indices.T, weights.T, strict=True):
        out += weight[:, None, None] * x[index]
    return out


def _round_uint8(x: Float64[np.ndarray, "h w c"]) -> UInt8[np.ndarray, "h w c"]:
    return np.clip(np.floor(x + 0.5), 0, 255).astype(np.uint8)


def _check_multiple(h: int, w: int, scale: int) -> None:
    if scale < 1 or h == 0 or w == 0 or h % scale or w % scale:
        raise ValueError(
            f"an image of {h} x {w} pixels cannot be shrunk by {scale}: crop it to a multiple of the scale"
        )

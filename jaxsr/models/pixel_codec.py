"""The codec without parameters, pixel-unshuffle: its latent is the image itself, folded into channels."""

import numpy as np
from jaxtyping import Array, Float


def pixel_unshuffle(image: Float[Array, "b H W c"], factor: int) -> Float[Array, "b h w z"]:
    """Fold factor x factor blocks of pixels into channels: (b, f h, f w, c) -> (b, h, w, f f c).

    The channels hold the rows of a block first and its colours last. PyTorch has the colours first.

    Raises:
        ValueError: if height or width is not a multiple of `factor`.
    """
    b, height, width, c = image.shape
    if height % factor or width % factor:
        raise ValueError(f"pixel_unshuffle: height and width must be multiples of {factor}, got {(height, width)}.")
    blocks = image.reshape(b, height // factor, factor, width // factor, factor, c)
    return blocks.transpose(0, 1, 3, 2, 4, 5).reshape(b, height // factor, width // factor, factor**2 * c)


def pixel_shuffle(latent: Float[Array, "b h w z"], factor: int) -> Float[Array, "b H W c"]:
    """Unfold channels into factor x factor blocks of pixels: the inverse of `pixel_unshuffle`.

    Raises:
        ValueError: if the channels are not a multiple of `factor` squared.
    """
    b, h, w, z = latent.shape
    if z % factor**2:
        raise ValueError(f"pixel_shuffle: the number of channels must be a multiple of {factor**2}, got {z}.")
    blocks = latent.reshape(b, h, w, factor, factor, z // factor**2)
    return blocks.transpose(0, 1, 3, 2, 4, 5).reshape(b, h * factor, w * factor, z // factor**2)


def block_transform(factor: int) -> Float[np.ndarray, "z z"]:
    """Make an orthonormal transform of latents of pixel-unshuffle, nearly uncorrelated in photographs.

    It is the DCT-II over the rows and the columns of a block, with the colours grey, red - blue and green - magenta. A
    latent has the coefficients `latent @ block_transform(factor).T`. They keep the order of the latent's channels:
    vertical frequency, horizontal frequency, colour.
    """
    k, n = np.mgrid[:factor, :factor]
    dct = np.sqrt(2 / factor) * np.cos(np.pi * (n + 0.5) * k / factor)
    dct[0] /= np.sqrt(2)
    colours = np.array([[1, 1, 1], [1, 0, -1], [1, -2, 1]]) / np.sqrt([[3], [2], [6]])
    return np.kron(np.kron(dct, dct), colours)

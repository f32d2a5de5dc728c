"""Gaussian noise with keys by absolute position on the latent lattice, so that tiles and crops share it bit for bit.

The lattice is divided into BLOCK x BLOCK blocks. The key of a block depends on the key of the image and on the position
of the block. It does not depend on the tile that needs it, the batch of the tile, or the size of the image:

    image_key(seed, content hash, sample) -> caller folds in the step -> fold_in(block y) -> fold_in(block x) -> counter

All bits come from `jax.random.fold_in`, which is the Threefry cipher in counter mode (Salmon et al., SC 2011, "Parallel
random numbers: as easy as 1, 2, 3"). They are the same under both settings of `jax_threefry_partitionable`, on which
the numbers of `jax.random.normal` depend.
"""

import hashlib
from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key, Shaped, UInt32

from jaxsr.choices import MAX_SEED
from jaxsr.imaging.quantile import normal_quantile

BLOCK = 16
IMPLEMENTATION = "threefry2x32"
"""The implementation of all keys."""


def content_hash(pixels: Shaped[np.ndarray, "..."]) -> str:
    """Compute the SHA-256 of an image's content, as 64 hexadecimal digits.

    It covers the element type, the shape and the values in C order. Byte order and memory layout have no effect.
    """
    values = np.ascontiguousarray(pixels, dtype=pixels.dtype.newbyteorder("<"))
    digest = hashlib.sha256(f"{pixels.dtype.name} {pixels.shape} ".encode())
    digest.update(values.data)
    return digest.hexdigest()


def image_key(seed: int, content: str, sample: int) -> Key[Array, ""]:
    """Make the Threefry key of one sample of one image from seed, content and sample index, not from file order.

    `content` is the result of `content_hash`; all its 256 bits are folded in, as eight 32-bit words. The code names the
    implementation, because vmap over keys is exact for Threefry only. Raises ValueError unless
    0 <= seed, sample < 2**32, and for a `content` that is not a SHA-256.
    """
    for name, value in (("seed", seed), ("sample", sample)):
        if not 0 <= value <= MAX_SEED:
            raise ValueError(f"{name} must be at least 0 and less than 2**32, but is {value}.")
    words = np.array([*_words(content), sample], np.uint32)
    return _fold_all(jax.random.key(seed, impl=IMPLEMENTATION), words)


@jax.jit
def _fold_all(key: Key[Array, ""], words: UInt32[Array, " n"]) -> Key[Array, ""]:
    return jax.lax.scan(lambda key, word: (jax.random.fold_in(key, word), None), key, words)[0]


def _words(content: str) -> list[int]:
    try:
        data = bytes.fromhex(content)
    except ValueError:
        data = b""
    if len(data) != 32:
        raise ValueError(f"content must be a SHA-256 of 64 hexadecimal digits, but is {content!r}; use content_hash().")
    return [int.from_bytes(data[i : i + 4], "big") for i in range(0, 32, 4)]


@partial(jax.jit, static_argnames="shape")
def field(
    key: Key[Array, ""], origin_yx: Int[Array, "2"] | Int[np.ndarray, "2"], shape: tuple[int, int, int]
) -> Float[Array, "h w c"]:
    """Draw a window of the standard Gaussian field of `key` on the latent lattice.

    Windows that overlap agree bit for bit at any origin. As with `jax.random.normal` in float32, a value has 23 random
    bits and lies within 5.3 standard deviations.

    Args:
        key: the key of one image and one step of the sampler; fold the step into the image's key first.
        origin_yx: first row and column of the window on the lattice. It may be traced, and mapped over by `vmap`.
        shape: static (h, w, c) of the window.
    Returns:
        independent standard normal values, float32.
    Raises:
        ValueError: unless h and w are at least 1.
    """
    height, width, channels = shape
    if min(height, width) < 1:
        raise ValueError(f"height and width of a noise field must be at least 1, but are {shape[:2]}.")
    origin = jnp.asarray(origin_yx, jnp.int32)
    first, offset = origin // BLOCK, origin % BLOCK
    # As many blocks as a window reaches into at most, which begins at the last position of a block.
    rows, columns = (-(-(BLOCK - 1 + side) // BLOCK) for side in (height, width))
    row_keys = _fold_each(key, first[0] + jnp.arange(rows))
    keys = jax.vmap(_fold_each, (0, None))(row_keys, first[1] + jnp.arange(columns))
    blocks = jax.vmap(jax.vmap(partial(_block, channels=channels)))(keys)
    lattice = blocks.transpose(0, 2, 1, 3, 4).reshape(rows * BLOCK, columns * BLOCK, channels)
    # The quantile of the window alone would be slower: beside the gather of a mapped slice it is not vectorised.
    return jax.lax.dynamic_slice(lattice, (offset[0], offset[1], jnp.int32(0)), shape)


def chain_noise(
    keys: Key[Array, "*#b"], origins: Int[Array, "*#b 2"], shape: tuple[int, ...]
) -> Callable[[Int[Array, ""]], Float[Array, "b h w c"]]:
    """Make the noise of a whole chain for a batch of windows: k -> `field` of each window, with k folded into its key.

    Args:
        keys: one key for all windows, or one for each.
        origins: first row and column of each window on the lattice, or one pair for all windows.
        shape: shape of a batch of windows, (b, h, w, c).
    """
    _, height, width, channels = shape
    mapped = (0 if keys.ndim else None, 0 if origins.ndim == 2 else None)

    def draw(k: Int[Array, ""]) -> Float[Array, "b h w c"]:
        return jax.vmap(
            lambda key, origin: field(jax.random.fold_in(key, k), origin, (height, width, channels)), mapped
        )(keys, origins)

    return draw


@jax.jit
def tile_keys(keys: Key[Array, " b"], numbers: Int[Array, " b"] | Int[np.ndarray, " b"]) -> Key[Array, " b"]:
    """Make a key for each of some tiles, from the keys of their images and the numbers of the tiles."""
    return jax.vmap(jax.random.fold_in)(keys, jnp.asarray(numbers))


def _fold_each(key: Key[Array, ""], data: Int[Array, " n"]) -> Key[Array, " n"]:
    return jax.vmap(jax.random.fold_in, (None, 0))(key, data)


def _block(key: Key[Array, ""], channels: int) -> Float[Array, "block block c"]:
    counter = jnp.arange(BLOCK * BLOCK * channels // 2)
    bits = jax.random.key_data(_fold_each(key, counter))
    return normal_quantile(bits.reshape(BLOCK, BLOCK, channels))

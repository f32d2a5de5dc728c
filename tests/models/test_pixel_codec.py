"""Test pixel-unshuffle: its order of channels, its inverse, and what it refuses."""

import jax.numpy as jnp
import numpy as np
import pytest
from scipy.fft import dctn

from jaxsr.models.pixel_codec import block_transform, pixel_shuffle, pixel_unshuffle


def test_channels_are_rows_first_then_columns_then_colours() -> None:
    """The order of channels is (y, x, colour), with rows first. PyTorch's order is (colour, y, x)."""
    image = np.array([[["r00", "g00"], ["r01", "g01"]], [["r10", "g10"], ["r11", "g11"]]])
    order = ["r00", "g00", "r01", "g01", "r10", "g10", "r11", "g11"]
    numbers = np.array([order.index(name) for name in image.ravel()], np.float32).reshape(1, 2, 2, 2)
    np.testing.assert_array_equal(pixel_unshuffle(jnp.asarray(numbers), 2)[0, 0, 0], range(8))


def test_every_latent_position_holds_its_own_block() -> None:
    image = np.random.default_rng(0).random((2, 8, 12, 3), np.float32)
    latent = np.asarray(pixel_unshuffle(jnp.asarray(image), 4))
    assert latent.shape == (2, 2, 3, 48)
    for y, x in np.ndindex(2, 3):
        block = image[:, 4 * y : 4 * y + 4, 4 * x : 4 * x + 4]
        np.testing.assert_array_equal(latent[:, y, x], block.reshape(2, 48))


@pytest.mark.parametrize(("factor", "size"), [(1, (3, 5)), (2, (4, 10)), (3, (9, 3)), (4, (8, 12))])
def test_shuffle_inverts_unshuffle(factor: int, size: tuple[int, int]) -> None:
    image = jnp.asarray(np.random.default_rng(0).random((2, *size, 3), np.float32))
    latent = pixel_unshuffle(image, factor)
    np.testing.assert_array_equal(pixel_shuffle(latent, factor), image)
    np.testing.assert_array_equal(pixel_unshuffle(pixel_shuffle(latent, factor), factor), latent)


@pytest.mark.parametrize("size", [(6, 8), (8, 6)])
def test_sides_that_do_not_divide_are_refused(size: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match=r"multiples of 4, got \("):
        pixel_unshuffle(jnp.zeros((1, *size, 3)), 4)


def test_channels_that_do_not_divide_are_refused() -> None:
    with pytest.raises(ValueError, match="multiple of 16, got 40"):
        pixel_shuffle(jnp.zeros((1, 2, 2, 40)), 4)


@pytest.mark.parametrize("factor", [2, 8])
def test_block_transform_is_the_dct_of_scipy_with_opponent_colours(factor):
    image = np.random.default_rng(0).normal(size=(1, factor, factor, 3))
    coefficients = (
        np.asarray(pixel_unshuffle(jnp.asarray(image, jnp.float32), factor)).ravel() @ block_transform(factor).T
    )
    planes = dctn(image[0], axes=(0, 1), norm="ortho")
    red, green, blue = np.moveaxis(planes, -1, 0)
    grey = (red + green + blue) / 3**0.5
    expected = np.stack([grey, (red - blue) / 2**0.5, (red - 2 * green + blue) / 6**0.5], -1)
    np.testing.assert_allclose(coefficients, expected.ravel(), atol=1e-6)


def test_block_transform_is_orthonormal():
    basis = block_transform(8)
    np.testing.assert_allclose(basis @ basis.T, np.eye(192), atol=1e-12)

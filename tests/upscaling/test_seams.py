"""Test that a tiled result shows no seams."""

import numpy as np
import pytest

from jaxsr.imaging import tiling
from jaxsr.upscaling.upscaler import Upscaler
from tests.small_model import nearest

HEIGHT, WIDTH, TILE = 80, 96, 32  # tiles that end where the picture ends: a padded border gives other pixels
GRADIENT = np.broadcast_to(np.linspace(0.1, 0.9, WIDTH, dtype=np.float32)[None, :, None], (HEIGHT, WIDTH, 3))
NOISE = np.random.default_rng(0).random((HEIGHT, WIDTH, 3), np.float32)
EDGES = np.arange(64, 4 * WIDTH, 64)  # columns of the result where tiles of 32 that overlap by 16 begin and end


def _column_energy(image: np.ndarray) -> np.ndarray:
    """Return the mean square of the step from each column to the next; index i is the step into column i + 1."""
    return np.square(np.diff(image.astype(np.float64), axis=1)).mean((0, 2))


@pytest.mark.parametrize("picture", [GRADIENT, NOISE], ids=["gradient", "noise"])
def test_a_tiled_result_is_close_to_the_whole_and_has_no_seams(channel, picture):
    """With the channel norm, only the border of a tile differs from the whole, and `feather` gives it no weight."""
    whole = channel.upscale(picture, tile="off", seed=1)
    feather, mean = (channel.upscale(picture, tile=TILE, blend=blend, seed=1) - whole for blend in ("feather", "mean"))
    assert np.sqrt(np.mean(feather**2)) < 0.005
    assert _column_energy(feather).max() < _column_energy(mean)[EDGES - 1].max() / 10


@pytest.mark.slow
@pytest.mark.parametrize("tile", [(32, 96), (80, 32)])
def test_tiles_of_every_shape_are_close_to_the_whole(channel, tile):
    """The rounding to 8 bits has an error of 0.001."""
    whole = channel.upscale(NOISE, tile="off", seed=1)
    assert np.sqrt(np.mean((channel.upscale(NOISE, tile=tile, seed=1) - whole) ** 2)) < 0.005


@pytest.mark.slow
def test_tiles_end_with_the_image_as_the_whole_does(channel):
    """Pixels beyond the image are made up. Near its edges, tiles see as many of them as the whole image does."""
    picture = NOISE[:66, :40]
    whole, tiled = (channel.upscale(picture, tile=tile, seed=1) for tile in ("off", (TILE, 40)))
    assert np.abs(tiled - whole)[-16:].max() < 0.002


@pytest.mark.slow
def test_feather_hides_the_seams_of_group_norm_on_noise(small_upscalers):
    """The test compares steps across tile edges with steps in between, at the same place in the pixel-shuffle grid."""
    between = np.setdiff1d(np.arange(4, 4 * WIDTH, 4), EDGES)
    ratio = {}
    for blend in tiling.BLENDS:
        energy = _column_energy(small_upscalers["group"].upscale(NOISE, tile=TILE, blend=blend, seed=1))
        ratio[blend] = energy[EDGES - 1].mean() / energy[between - 1].mean()
    assert 0.8 < ratio["feather"] < 1.2
    assert ratio["mean"] > 2


def test_feather_hides_a_tone_of_each_tile_on_a_gradient(channel, monkeypatch):
    """This is the worst case of group norm: every tile is normalised on its own to one brightness and contrast."""

    def normalise(params, key, tiles, origins):
        centred = tiles - tiles.mean((1, 2, 3), keepdims=True)
        return nearest(params, key, 0.5 + 0.1 * centred / tiles.std((1, 2, 3), keepdims=True), origins)

    monkeypatch.setattr(Upscaler, "compiled", lambda self, options, *_: normalise)
    feather, mean = (
        _column_energy(channel.upscale(GRADIENT, tile=TILE, blend=blend))[EDGES - 1].mean() for blend in tiling.BLENDS
    )
    assert feather < mean / 10

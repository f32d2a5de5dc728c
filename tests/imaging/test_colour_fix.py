"""Test the colour corrections against their definitions on the whole picture at once, and that bands do not matter."""

import numpy as np
import pytest

from jaxsr.imaging import colour_fix
from jaxsr.imaging.colour_fix import LEVELS, REACH, colour_moments, fix_colours, low_frequencies
from jaxsr.imaging.resize import enlarge_rows


def picture(size: tuple[int, int], seed: int = 0, low: float = 0.3, high: float = 0.7) -> np.ndarray:
    return np.random.default_rng(seed).uniform(low, high, (*size, 3)).astype(np.float32)


def blurred(x: np.ndarray) -> np.ndarray:
    """Compute the low frequencies from their definition: LEVELS convolutions with a 3x3 kernel with holes."""
    height, width = x.shape[:2]
    for hole in (2**level for level in range(LEVELS)):
        wide = np.pad(x, ((hole, hole), (hole, hole), (0, 0)), mode="symmetric")
        taps = [(y, z, (2 - abs(y - 1)) * (2 - abs(z - 1)) / 16) for y in range(3) for z in range(3)]
        x = sum(k * wide[y * hole : y * hole + height, z * hole : z * hole + width] for y, z, k in taps)
    return x


def enlarged(lr: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    return enlarge_rows(lr, size, np.arange(size[0]))


@pytest.mark.parametrize("size", [(40, 64), (4, 4), (300, 8)], ids=str)
def test_wavelet_takes_the_low_band_of_the_input_and_leaves_the_high_one(size):
    lr, sr = picture((size[0] // 4, size[1] // 4), 1), picture(size, 2)
    out = sr.copy()
    fix_colours(out, lr, "wavelet")
    wanted = blurred(enlarged(lr, size))
    np.testing.assert_allclose(out, sr - blurred(sr.astype(np.float64)) + wanted, atol=1e-6)
    high = out - wanted
    np.testing.assert_allclose(high, sr - blurred(sr.astype(np.float64)), atol=1e-6)


def test_wavelet_keeps_details_and_takes_colours():
    """A result that is its input, enlarged, in wrong colours and with fine stripes, gets the right colours back."""
    lr = np.full((32, 16, 3), 0.4, np.float32)
    stripes = np.tile(np.float32([[[0.05]], [[-0.05]]]), (64, 64, 1))
    out = np.float32([0.6, 0.3, 0.5]) + stripes
    fix_colours(out, lr, "wavelet")
    inside = slice(REACH, -REACH)  # the mirrored edge is no stripe
    np.testing.assert_allclose(out[inside], 0.4 + np.broadcast_to(stripes, out.shape)[inside], atol=1e-6)


def test_adain_gives_exactly_the_means_and_deviations_of_the_input():
    lr, out = picture((9, 11), 3, 0.4, 0.5), picture((36, 44), 4)
    fix_colours(out, lr, "adain")
    for found, wanted in zip(colour_moments(out), (lr.mean((0, 1)), lr.std((0, 1))), strict=True):
        np.testing.assert_allclose(found, wanted, atol=1e-6)


def test_adain_is_the_same_change_of_every_pixel():
    lr, sr = picture((4, 4), 5, 0.45, 0.5), picture((16, 16), 6)
    out = sr.copy()
    fix_colours(out, lr, "adain")
    for c in range(3):
        gain, offset = np.polyfit(sr[..., c].ravel(), out[..., c].ravel(), 1)
        np.testing.assert_allclose(out[..., c], gain * sr[..., c] + offset, atol=1e-6)


@pytest.mark.parametrize("kind", ["wavelet", "adain"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_constant_pictures_become_the_colour_of_the_input(kind, dtype):
    peak = 1 if dtype == np.float32 else np.iinfo(dtype).max
    lr = np.full((5, 7, 3), [0.2, 0.4, 0.6], np.float32)
    out = np.full((20, 28, 3), 0.3 * peak).astype(dtype)
    fix_colours(out, lr, kind)
    np.testing.assert_allclose(out / peak, np.broadcast_to([0.2, 0.4, 0.6], out.shape), atol=0.51 / max(peak, 1e6))


@pytest.mark.parametrize("kind", ["wavelet", "adain"])
@pytest.mark.parametrize("band", [REACH + 1, 50, 1000])
@pytest.mark.parametrize("grey", [False, True])
def test_bands_do_not_matter(kind, band, grey, monkeypatch):
    lr = picture((60, 6), 7)
    out = (picture((240, 24), 8) * 65535).astype(np.uint16)
    lr, out = (lr[..., 0], out[..., 0]) if grey else (lr, out)
    whole = out.copy()
    monkeypatch.setattr(colour_fix, "_BAND", 240)
    fix_colours(whole, lr, kind)
    monkeypatch.setattr(colour_fix, "_BAND", band)
    fix_colours(out, lr, kind)
    assert np.abs(out.astype(int) - whole).max() <= (1 if kind == "adain" else 0)


def test_none_changes_nothing():
    out = picture((8, 8))
    before = out.copy()
    fix_colours(out, picture((2, 2)), "none")
    np.testing.assert_array_equal(out, before)


def test_what_is_far_away_does_not_matter():
    point = np.zeros((2 * REACH + 3, 2 * REACH + 3, 1))
    point[REACH + 1, REACH + 1] = 1
    low = low_frequencies(point)[..., 0]
    assert low.sum() == pytest.approx(1)
    assert (low[1:-1, 1:-1] > 0).all()
    assert (low[0] == 0).all()

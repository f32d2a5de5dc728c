"""Test edges under transparency: no dark fringe, exact sizes."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from jaxsr.imaging.transparency import bleed, upscale_alpha


def _enlarge(rgb: np.ndarray, scale: int) -> np.ndarray:
    """Enlarge by Pillow's Lanczos, channel by channel; any colour upscaler that rings and blurs would do."""
    size = (rgb.shape[1] * scale, rgb.shape[0] * scale)
    planes = [
        Image.fromarray(np.ascontiguousarray(rgb[..., c])).resize(size, Image.Resampling.LANCZOS) for c in range(3)
    ]
    return np.stack([np.asarray(plane) for plane in planes], axis=-1)


@pytest.fixture
def disc() -> tuple[np.ndarray, np.ndarray]:
    """Return an opaque red disc on transparent black, as colour and alpha."""
    rows, columns = np.mgrid[:24, :20]
    alpha = ((rows - 12) ** 2 + (columns - 9) ** 2 < 49).astype(np.float32)
    return alpha[..., None] * np.array([1.0, 0.0, 0.0], np.float32), alpha


def test_no_dark_fringe_after_bleed_and_enlarging(disc):
    rgb, alpha = disc
    shows = upscale_alpha(alpha, 4) > 0.02
    assert _enlarge(rgb, 4)[shows][:, 0].min() < 0.5  # the fringe that bleed must prevent
    np.testing.assert_allclose(_enlarge(bleed(rgb, alpha), 4)[shows], [[1.0, 0.0, 0.0]] * shows.sum(), atol=1e-5)


def test_bleed_takes_the_nearest_colour_and_leaves_what_shows():
    rgb = np.zeros((1, 7, 3), np.float32)
    rgb[0, 0], rgb[0, 6], rgb[0, 5] = 0.25, 0.75, 0.5
    alpha = np.array([[1, 0, 0, 0, 0, 0.1, 1]], np.float32)
    np.testing.assert_array_equal(
        bleed(rgb, alpha)[0, :, 0], np.array([0.25, 0.25, 0.25, 0.5, 0.5, 0.5, 0.75], np.float32)
    )


@pytest.mark.parametrize("level", [0.0, 1.0])
def test_bleed_without_anything_to_take_or_to_fill_changes_nothing(level):
    rgb = np.random.default_rng(0).random((3, 4, 3), np.float32)
    np.testing.assert_array_equal(bleed(rgb, np.full((3, 4), level, np.float32)), rgb)


@settings(deadline=None, max_examples=40)
@given(height=st.integers(1, 40), width=st.integers(1, 40), scale=st.integers(1, 8), seed=st.integers(0, 99))
def test_alpha_is_exactly_scale_times_as_large_and_stays_in_range(height, width, scale, seed):
    alpha = np.random.default_rng(seed).integers(0, 2, (height, width)).astype(np.float32)
    enlarged = upscale_alpha(alpha, scale)
    assert enlarged.shape == (scale * height, scale * width)
    assert enlarged.dtype == np.float32
    assert enlarged.min() >= 0
    assert enlarged.max() <= 1


@pytest.mark.parametrize("level", [0.0, 0.3, 1.0])
def test_constant_alpha_stays_constant(level):
    np.testing.assert_allclose(upscale_alpha(np.full((5, 1), level, np.float32), 4), level, atol=1e-6)


def test_scale_zero_is_refused():
    with pytest.raises(ValueError, match="scale is 0; give a whole number"):
        upscale_alpha(np.ones((2, 2), np.float32), 0)

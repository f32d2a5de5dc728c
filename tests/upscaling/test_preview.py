"""Test that a window of a preview is that of the whole picture, and that a new setting compiles nothing."""

from dataclasses import replace

import jax
import numpy as np
import pytest

from jaxsr.imaging import noise
from jaxsr.models.presets import PRESETS
from jaxsr.options import Options
from jaxsr.upscaling.preview import Preview, knob_settings

SETTINGS = [Options(alpha=0.3), Options(alpha=(-0.2, 0.1), temperature=0.5, projection=1.0)]


@pytest.fixture(scope="module")
def preview(pointwise):
    return Preview(pointwise)


@pytest.fixture(scope="module")
def rgb():
    y, x = np.mgrid[:150, :170]
    waves = [np.sin(x / (3 + k)) + np.cos(y / (4 + k)) for k in range(3)]
    return (0.5 + 0.2 * np.stack(waves, -1)).astype(np.float32)


def look(preview, rgb, corner, chosen, **more):
    return preview.window(rgb, noise.image_key(5, noise.content_hash(rgb), 0), corner, chosen, **more)


def test_a_window_is_that_of_the_whole_picture(preview, rgb):
    """The network sees each pixel alone here, so that only place, noise, guidance and projection could differ.

    Bicubic interpolation of the input spreads over two of its pixels, and the projection over a whole tile.
    """
    corner = preview.place((80, 90), (150, 170))[:2]
    assert corner == (48, 64)
    for options, window in zip(SETTINGS, look(preview, rgb, corner, SETTINGS), strict=True):
        inner = slice(64, -64) if options.projection else slice(8, -8)
        assert np.abs(window - whole(preview, rgb, corner, options))[inner, inner].max() < 1e-4, options


def test_the_margin_makes_a_window_that_of_the_whole_picture(small_upscalers, monkeypatch, rgb):
    """A network looks beyond the window."""
    options, corner, off = Options(alpha=0.3), (48, 64), []
    for margin in (16, 0):
        monkeypatch.setattr(Preview, "margin", margin)
        preview = Preview(small_upscalers["channel"])
        window = look(preview, rgb, corner, [options])[0]
        off.append(np.abs(window - whole(preview, rgb, corner, options)).mean())
    assert off[0] < 1e-3
    assert off[0] < off[1] / 3


def test_which_networks_get_a_margin(small_upscalers):
    margins = {name: Preview(replace(small_upscalers["channel"], preset=PRESETS[name])).margin for name in PRESETS}
    assert margins["photo_x4"] == 32
    assert {margin for name, margin in margins.items() if name != "photo_x4"} == {0}


def whole(preview, rgb, corner, options) -> np.ndarray:
    """Return the window at a corner of the whole picture, made as one tile."""
    names = ("alpha", "temperature", "projection")
    chosen = {name: value for name in names if (value := getattr(options, name)) is not None}
    picture = preview.upscaler.upscale(rgb, seed=5, tile="off", **chosen)
    return picture[4 * corner[0] : 4 * (corner[0] + 64), 4 * corner[1] : 4 * (corner[1] + 64)]


def test_a_window_in_the_corner_is_that_of_the_whole_picture(preview, rgb):
    (window,) = look(preview, rgb, (0, 0), SETTINGS[:1])
    assert np.abs(window - whole(preview, rgb, (0, 0), SETTINGS[0]))[:-8, :-8].max() < 1e-4


def test_a_new_setting_compiles_nothing(preview, rgb):
    chosen = [Options(alpha=0.1)]
    look(preview, rgb, (0, 0), chosen)
    compiled = []
    jax.monitoring.register_event_duration_secs_listener(lambda event, duration_secs, **_: compiled.append(event))
    try:
        for options in (Options(), Options(alpha=-0.3), Options(alpha=(0.0, 0.2), temperature=0.3, projection=0.7)):
            look(preview, rgb, (16, 32), [options], weight=np.zeros(rgb.shape[:2], np.float32))
        assert [name for name in compiled if "compile" in name] == []
        look(preview, rgb, (0, 0), [Options(steps=1)])
        assert [name for name in compiled if "compile" in name]  # the listener hears another program
    finally:
        jax.monitoring.clear_event_listeners()


def test_the_map_multiplies_alpha(preview, rgb):
    plain, turned = look(preview, rgb, (0, 0), [Options(), Options(alpha=0.3)])
    half = np.zeros(rgb.shape[:2], np.float32)
    half[:, :32] = 1
    (mapped,) = look(preview, rgb, (0, 0), [Options(alpha=0.3)], weight=half)
    assert np.abs(mapped - turned)[:, : 4 * 16].mean() < 0.1 * np.abs(mapped - plain)[:, : 4 * 16].mean()
    assert np.abs(mapped - plain)[:, 4 * 48 :].mean() < 0.1 * np.abs(mapped - turned)[:, 4 * 48 :].mean()


@pytest.mark.parametrize(
    ("point", "size", "place"),
    [
        ((0, 0), (150, 170), (0, 0, 64, 64)),
        ((149, 169), (150, 170), (96, 112, 54, 58)),
        ((75, 85), (150, 170), (48, 48, 64, 64)),
        ((3, 3), (5, 7), (0, 0, 5, 7)),
        ((-40, 900), (150, 170), (0, 112, 64, 58)),
    ],
)
def test_the_place_of_a_window(preview, point, size, place):
    assert (preview.side, preview.unit) == (64, 16)
    assert preview.place(point, size) == place


def test_windows_at_the_edges_are_cut(preview, rgb):
    assert look(preview, rgb, (96, 112), SETTINGS[:1]).shape == (1, 4 * 54, 4 * 58, 3)
    assert look(preview, rgb[:5, :7], (0, 0), SETTINGS[:1]).shape == (1, 20, 28, 3)


def test_the_numbers_of_some_settings():
    found = knob_settings(SETTINGS, 2)
    np.testing.assert_array_equal(found.scale, np.array([[0.3, 0.3], [-0.2, 0.1]], np.float32))
    np.testing.assert_array_equal(found.temperature, np.array([[1, 1], [0.5, 0.5]], np.float32))
    np.testing.assert_array_equal(found.projection, np.array([0, 1], np.float32))


def test_settings_that_do_not_fit_are_refused(preview, rgb):
    with pytest.raises(ValueError, match="alpha: must be one number or 2"):
        look(preview, rgb, (0, 0), [Options(), Options(alpha=(1.0, 2.0, 3.0))])

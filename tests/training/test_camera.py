"""Test the degradation of cameras: noise and blur against their definitions, and that every option has an effect."""

from dataclasses import fields, replace

import numpy as np
import pytest

from jaxsr.training import camera as c
from jaxsr.training.degradation import bicubic

ALWAYS = c.CameraConfig(
    two_resizes_probability=0.5, noise_probability=1.0, sharpen_probability=1.0, jpeg_probability=0.5
)
OTHER = {
    "blur_sigma": (4.0, 5.0),
    "disc_probability": 0.95,
    "isotropic_probability": 0.05,
    "two_resizes_probability": 0.0,
    "noise_probability": 0.0,
    "shot_noise": (0.1, 0.2),
    "read_noise": (0.05, 0.1),
    "grain_sigma": (1.5, 2.0),
    "grey_share": (0.0, 0.05),
    "sharpen_probability": 0.0,
    "sharpen_amount": (2.0, 3.0),
    "sharpen_sigma": (2.0, 3.0),
    "jpeg_probability": 0.0,
    "jpeg_quality": (5, 10),
}
CLEAR = replace(
    c.CameraConfig(),
    blur_sigma=(0.01, 0.01),
    disc_probability=0.0,
    two_resizes_probability=0.0,
    noise_probability=0.0,
    sharpen_probability=0.0,
    jpeg_probability=0.0,
)


def picture(h: int = 64, w: int = 48) -> np.ndarray:
    y, x = np.mgrid[:h, :w][..., None]
    return (127 + 90 * np.sin(0.4 * x + np.arange(3)) * np.cos(0.3 * y)).astype(np.uint8)


def taken(config: c.CameraConfig, image: np.ndarray | None = None, count: int = 16) -> np.ndarray:
    image = picture() if image is None else image
    return np.stack([c.camera(image, 4, np.random.default_rng(seed), config) for seed in range(count)])


def test_every_option_is_tested():
    assert set(OTHER) == {field.name for field in fields(c.CameraConfig)}


@pytest.mark.parametrize("option", OTHER)
def test_every_option_changes_the_pictures(option):
    assert (taken(ALWAYS) != taken(replace(ALWAYS, **{option: OTHER[option]}))).any()


def test_without_noise_a_grey_picture_stays_as_it_is():
    flat = np.full((64, 64, 3), 93, np.uint8)
    assert np.abs(taken(replace(ALWAYS, noise_probability=0.0), flat).astype(int) - 93).max() <= 1  # JPEG may round


@pytest.mark.parametrize("level", [40, 200])
def test_noise_has_the_variance_of_shot_and_read_noise(level):
    config = replace(CLEAR, noise_probability=1.0, shot_noise=(0.03, 0.03), read_noise=(0.01, 0.01))
    noisy = taken(config, np.full((256, 256, 3), level, np.uint8)) / 255
    # 16 images of 64 x 64 x 3; grain and rounding (1/12 of a level) change the spread of the estimate, not its mean.
    expected = 0.03**2 * level / 255 + 0.01**2 + 1 / 12 / 255**2
    assert noisy.var() == pytest.approx(expected, rel=0.05)
    assert noisy.mean() == pytest.approx(level / 255, abs=5e-4)


def test_grey_share_is_the_correlation_of_the_channels():
    config = replace(
        CLEAR, noise_probability=1.0, shot_noise=(0.0, 0.0), read_noise=(0.05, 0.05), grey_share=(0.7, 0.7)
    )
    noise = taken(config, np.full((256, 256, 3), 127, np.uint8)) / 255
    red, green, _ = np.moveaxis(noise, -1, 0)
    assert np.corrcoef(red.ravel(), green.ravel())[0, 1] == pytest.approx(0.7, abs=0.03)


def test_grain_makes_neighbours_alike():
    flat = np.full((256, 256, 3), 127, np.uint8)
    noisy = replace(CLEAR, noise_probability=1.0, shot_noise=(0.0, 0.0), read_noise=(0.05, 0.05))
    fine, coarse = (taken(replace(noisy, grain_sigma=(width, width)), flat) / 255 for width in (0.2, 1.0))

    def neighbours(image: np.ndarray) -> float:
        return np.corrcoef(image[:, :, 1:].ravel(), image[:, :, :-1].ravel())[0, 1]

    assert abs(neighbours(fine)) < 0.02
    # White noise filtered by a Gaussian of width s has the correlation exp(-d^2 / (4 s^2)) at the distance d.
    assert neighbours(coarse) == pytest.approx(np.exp(-1 / 4), abs=0.03)


@pytest.mark.parametrize("disc", [0.0, 1.0])
def test_blur_has_the_width_that_was_drawn(disc):
    edge = np.zeros((128, 128, 3), np.uint8)
    edge[:, 64:] = 255
    config = replace(CLEAR, blur_sigma=(5.0, 5.0), disc_probability=disc, isotropic_probability=1.0)
    lens = c._lens(edge / np.float32(255), np.random.default_rng(0), config)
    spread = np.diff(lens[64, :, 0])
    at = np.arange(127) + 0.5
    width = np.sqrt((spread * (at - 63.5) ** 2).sum())
    assert spread.sum() == pytest.approx(1, abs=1e-4)
    assert width == pytest.approx(5.0, rel=0.05)


@pytest.mark.parametrize(("name", "shares"), [("photo", (0.15, 0.45, 0.4)), ("photo_mild", (0.3, 0.45, 0.25))])
def test_photo_mixes_three_kinds(name, shares, monkeypatch):
    kinds, lr = [], np.zeros((16, 12, 3), np.uint8)
    for kind in ("bicubic", "camera", "real_esrgan"):
        monkeypatch.setattr(c, kind, lambda hr, scale, rng, *_, kind=kind: kinds.append(kind) or lr)
    for seed in range(4000):
        c.DEGRADATIONS[name](picture(), 4, np.random.default_rng(seed))
    for kind, share in zip(("bicubic", "camera", "real_esrgan"), shares, strict=True):
        assert kinds.count(kind) / 4000 == pytest.approx(share, abs=0.03)


def test_a_clear_camera_is_close_to_bicubic():
    smooth = picture(128, 128) // 2 + 60
    clear = taken(CLEAR, smooth).astype(int)
    assert np.abs(clear - bicubic(smooth, 4, np.random.default_rng(0))).mean() < 4

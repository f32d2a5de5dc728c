"""Test the kernels, noise and JPEG of degradations against their definitions, and that every option has an effect."""

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from jaxsr.imaging.resize import downsample_bicubic_uint8
from jaxsr.training import degradation as d
from jaxsr.training.camera import DEGRADATIONS
from jaxsr.training.kernels import blur, mahalanobis, normalised, sinc_kernel

# All shapes of kernel are about equally likely, so that few draws cover every option.
ROUND = d.RoundConfig(shape_probabilities=(0.3, 0.4, 0.3))
EVEN = d.RealEsrganConfig(first=ROUND, second=replace(ROUND, sigma=(0.2, 1.5), blur_probability=0.8))
OTHER = {
    "blur_probability": 0.1,
    "sinc_probability": 0.9,
    "shape_probabilities": (0.1, 0.2, 0.7),
    "isotropic_probability": 0.1,
    "sigma": (4.0, 5.0),
    "beta_generalized": (6.0, 7.0),
    "beta_plateau": (5.0, 6.0),
    "resize_probabilities": (0.7, 0.2, 0.1),
    "resize_range": (0.5, 2.0),
    "gaussian_probability": 0.95,
    "noise_sigma": (40.0, 50.0),
    "poisson_scale": (5.0, 6.0),
    "gray_probability": 0.95,
    "jpeg_quality": (5, 10),
}


def photo(h: int = 32, w: int = 32) -> np.ndarray:
    y, x = np.mgrid[:h, :w][..., None]
    colour = np.arange(3)
    return (127 + 90 * np.sin(0.4 * x + colour) * np.cos(0.3 * y)).astype(np.uint8)


def gray(value: float, size: int = 96) -> np.ndarray:
    return np.full((size, size, 3), value)


def degraded(config: d.RealEsrganConfig) -> np.ndarray:
    return np.stack([d.real_esrgan(photo(), 4, np.random.default_rng(seed), config) for seed in range(24)])


@pytest.fixture(scope="module")
def usual() -> np.ndarray:
    return degraded(EVEN)


@pytest.mark.parametrize("name", DEGRADATIONS)
def test_degradation_gives_a_small_8_bit_image_that_depends_on_the_generator_alone(name):
    degrade = DEGRADATIONS[name]
    first, again = (degrade(photo(48, 32), 4, np.random.default_rng(3)) for _ in range(2))
    assert (first.shape, first.dtype) == ((12, 8, 3), np.uint8)
    np.testing.assert_array_equal(first, again)


def test_real_esrgan_differs_from_draw_to_draw_and_bicubic_does_not(usual):
    assert len({image.tobytes() for image in usual}) == len(usual)
    rng = np.random.default_rng(0)
    state = rng.bit_generator.state
    np.testing.assert_array_equal(d.bicubic(photo(), 4, rng), downsample_bicubic_uint8(photo(), 4))
    assert rng.bit_generator.state == state


def test_size_that_is_no_multiple_of_the_scale_is_refused():
    with pytest.raises(ValueError, match="30 x 32 pixels has no LR image of scale 4"):
        d.real_esrgan(photo(30, 32), 4, np.random.default_rng(0))


@pytest.mark.parametrize("part", ["first", "second"])
@pytest.mark.parametrize("option", OTHER)
def test_every_option_of_both_rounds_acts(option, part, usual):
    changed = replace(EVEN, **{part: replace(getattr(EVEN, part), **{option: OTHER[option]})})
    assert (degraded(changed) != usual).any()


def test_no_option_is_forgotten_above_and_the_last_sinc_acts(usual):
    assert set(OTHER) == set(d.RoundConfig.__dataclass_fields__)
    assert (degraded(replace(EVEN, final_sinc_probability=0.0)) != usual).any()


def test_last_sinc_comes_before_or_after_the_last_jpeg(monkeypatch):
    calls = []
    for name in ("jpeg", "final_sinc"):
        inner = getattr(d, name)
        monkeypatch.setattr(d, name, lambda *a, inner=inner, name=name: (calls.append(name), inner(*a))[1])
    orders = set()
    for seed in range(12):
        calls.clear()
        d.real_esrgan(photo(), 4, np.random.default_rng(seed))
        orders.add(tuple(calls))
    assert orders == {("jpeg", "jpeg", "final_sinc"), ("jpeg", "final_sinc", "jpeg")}


def test_drawn_kernels_are_centred_have_sum_one_and_the_papers_sizes():
    kernels = [d.draw_kernel(np.random.default_rng(seed), d.RoundConfig()) for seed in range(200)]
    for kernel in kernels:
        assert kernel.sum() == pytest.approx(1)
        np.testing.assert_allclose(kernel, kernel[::-1, ::-1], atol=1e-15)
    assert {k.shape for k in kernels} == {(n, n) for n in (7, 9, 11, 13, 15, 17, 19, 21)}
    # Only sinc filters have negative lobes: one kernel in ten.
    assert 0.04 < np.mean([(k < -1e-6).any() for k in kernels]) < 0.18


@pytest.mark.parametrize("theta", [0.0, 0.6])
def test_gaussian_kernel_has_the_covariance_it_was_given(theta):
    kernel = normalised(np.exp(-0.5 * mahalanobis(41, 3.0, 1.5, theta)))
    y, x = np.mgrid[-20:21, -20:21]
    covariance = [[np.sum(kernel * a * b) for b in (x, y)] for a in (x, y)]
    turn = np.array([[np.cos(theta), -np.sin(theta)], [np.sin(theta), np.cos(theta)]])
    np.testing.assert_allclose(covariance, turn @ np.diag([9.0, 2.25]) @ turn.T, atol=1e-3)


def test_shapes_of_kernels_follow_their_equations():
    base = replace(d.RoundConfig(), sinc_probability=0.0, isotropic_probability=1.0, sigma=(1.5, 1.5))
    r2 = (np.mgrid[-10:11, -10:11] ** 2).sum(axis=0) / 1.5**2
    shapes = [np.exp(-0.5 * r2), np.exp(-0.5 * r2**2), 1 / (1 + r2**2)]
    for i, expected in enumerate(shapes):
        one = tuple(float(i == j) for j in range(3))
        config = replace(base, shape_probabilities=one, beta_generalized=(2.0, 2.0), beta_plateau=(2.0, 2.0))
        kernel = next(k for s in range(99) if len(k := d.draw_kernel(np.random.default_rng(s), config)) == 21)
        np.testing.assert_allclose(kernel, expected / expected.sum(), atol=1e-12)


def test_sinc_kernel_passes_low_and_stops_high_frequencies():
    response = np.abs(np.fft.rfft2(sinc_kernel(21, np.pi / 2), (64, 64)))[0]  # 0..pi in 33 steps
    assert response[0] == pytest.approx(1)
    assert response[:12].min() > 0.8
    assert response[21:].max() < 0.15


def test_blur_is_convolution_with_reflected_borders():
    x = photo(17, 24) / 255
    kernel = normalised(np.exp(-0.5 * mahalanobis(9, 2.0, 1.0, 0.4)))
    expected = ndimage.convolve(x, kernel[..., None], mode="mirror")
    np.testing.assert_allclose(blur(x, kernel), expected, atol=1e-12)


def test_resize_is_pillows():
    x = photo(20, 30)
    for filter_ in d.FILTERS:
        expected = np.asarray(Image.fromarray(x).resize((11, 7), filter_), float)
        np.testing.assert_allclose(np.clip(d.resize(x.astype(float), (7, 11), filter_), 0, 255), expected, atol=1.01)


def test_resize_factors_have_their_probabilities_and_range():
    rng = np.random.default_rng(0)
    factors = np.array([d.draw_factor(rng, d.RoundConfig()) for _ in range(2000)])
    found = [np.mean(factors > 1), np.mean(factors < 1), np.mean(factors == 1)]
    np.testing.assert_allclose(found, (0.2, 0.7, 0.1), atol=0.04)
    assert 0.15 <= factors.min() < 0.2
    assert 1.45 < factors.max() <= 1.5


@pytest.mark.parametrize("probability", [0.0, 1.0])
def test_gaussian_noise_has_its_deviation_and_is_coloured_or_grey(probability):
    config = replace(d.RoundConfig(), gaussian_probability=1.0, noise_sigma=(10.0, 10.0), gray_probability=probability)
    noise = d.add_noise(gray(0.5), np.random.default_rng(0), config) - 0.5
    assert noise.std() * 255 == pytest.approx(10, rel=0.03)
    assert np.ptp(noise, axis=-1).max() < 1e-12 if probability else np.ptp(noise, axis=-1).min() > 0


@pytest.mark.parametrize("probability", [0.0, 1.0])
@pytest.mark.parametrize("level", [0.2, 0.5])
def test_poisson_noise_has_the_variance_of_photon_counts(level, probability):
    config = replace(d.RoundConfig(), gaussian_probability=0.0, poisson_scale=(1.5, 1.5), gray_probability=probability)
    noise = d.add_noise(gray(level), np.random.default_rng(0), config) - level
    assert noise.mean() == pytest.approx(0, abs=3e-3)
    assert noise.std() == pytest.approx(1.5 * np.sqrt(level / 255), rel=0.03)


def test_jpeg_error_grows_as_quality_falls():
    x = photo(64, 64) / 255
    errors = [np.abs(d.jpeg(x, quality) - x).mean() for quality in (95, 60, 30)]
    assert 0 < errors[0] < errors[1] < errors[2] < 0.1


def test_jpeg_qualities_include_both_ends():
    rng = np.random.default_rng(0)
    drawn = {d.draw_quality(rng, (30, 33)) for _ in range(99)}
    assert drawn == {30, 31, 32, 33}

"""Test PSNR, texture and LR-consistency against NumPy and known properties, and the benchmark of quality."""

import json
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image
from scipy import ndimage, stats
from skimage.metrics import peak_signal_noise_ratio

import jaxsr
from benchmarks import quality
from jaxsr.imaging.resize import downsample_bicubic, downsample_bicubic_uint8
from jaxsr.metrics import texture
from jaxsr.metrics.consistency import lr_consistency, lr_consistency_by_bands
from jaxsr.metrics.psnr import luminance, psnr, rgb_to_y
from jaxsr.metrics.texture import finest_level, high_frequency_ratio, sliced_wasserstein, texture_distance

KEY = jax.random.key(3)


def images(b: int = 2, h: int = 24, w: int = 32, seed: int = 0) -> jax.Array:
    """Return textured images in [0.2, 0.8]: waves and noise."""
    y, x = np.mgrid[:h, :w]
    wave = 0.5 + 0.2 * np.sin(0.5 * x + 0.2 * y)[None, ..., None] * np.ones((b, 1, 1, 3))
    noise = np.random.default_rng(seed).uniform(-0.1, 0.1, (b, h, w, 3))
    return jnp.asarray(wave + noise, jnp.float32)


def blurred(x: jax.Array, sigma: float) -> jax.Array:
    return jnp.asarray(ndimage.gaussian_filter(np.asarray(x), (0, sigma, sigma, 0)))


def test_y_is_that_of_matlab():
    # rgb2ycbcr of the 8-bit primaries, from MATLAB's matrix: 16 + 65.481 R + 128.553 G + 24.966 B, R, G, B in [0,1]
    rgb = jnp.asarray([[[[0, 0, 0], [1, 1, 1], [1, 0, 0], [0, 1, 0], [0, 0, 1]]]], jnp.float32)
    expected = [16, 235, 16 + 65.481, 16 + 128.553, 16 + 24.966]
    np.testing.assert_allclose(255 * rgb_to_y(rgb)[0, 0, :, 0], expected, atol=1e-4)
    np.testing.assert_allclose(luminance(rgb)[0, 0, 1], 1.0, atol=1e-6)


@pytest.mark.parametrize("luma", [False, True])
@pytest.mark.parametrize("border", [0, 4])
def test_psnr_is_that_of_numpy_under_jit(luma, border):
    a, b = images(), images(seed=1)
    ours = jax.jit(psnr, static_argnames=("border", "luma"))(a, b, border=border, luma=luma)
    x, y = np.asarray(a, np.float64), np.asarray(b, np.float64)
    if luma:
        x, y = (image @ np.array([65.481, 128.553, 24.966]) / 255 for image in (x, y))
    inner = np.s_[:, border : 24 - border, border : 32 - border]
    mse = ((x - y)[inner] ** 2).reshape(2, -1).mean(axis=1)
    np.testing.assert_allclose(ours, 10 * np.log10(1 / mse), rtol=1e-5)
    np.testing.assert_array_equal(psnr(b, a, border=border, luma=luma), psnr(a, b, border=border, luma=luma))


@pytest.mark.parametrize("noise", [0.3, 0.03, 0.003, 1 / 255])
@pytest.mark.parametrize(("luma", "border"), [(False, 0), (False, 4), (True, 4)])
def test_psnr_is_that_of_scikit_image(luma, border, noise):
    """From 11 to 55 dB, float32 agrees with float64 to a relative 1e-6."""
    a = images(h=96, w=120)
    b = jnp.clip(a + noise * jax.random.normal(KEY, a.shape), 0, 1)
    ours = jax.jit(psnr, static_argnames=("border", "luma"))(a, b, border=border, luma=luma)
    x, y = (np.asarray(image, np.float64)[:, border : 96 - border, border : 120 - border] for image in (a, b))
    if luma:
        x, y = (image @ np.array([65.481, 128.553, 24.966]) / 255 for image in (x, y))
    expected = [peak_signal_noise_ratio(one, other, data_range=1) for one, other in zip(x, y, strict=True)]
    np.testing.assert_allclose(ours, expected, rtol=1e-6)


def test_psnr_of_an_offset_is_closed_form_and_of_equal_images_infinite():
    a = images()
    np.testing.assert_allclose(psnr(a, a + 0.1), 20.0, atol=1e-4)
    np.testing.assert_allclose(psnr(a, a + 0.1, luma=True), 20 + 20 * math.log10(255 / 219), atol=1e-4)
    np.testing.assert_array_equal(psnr(a, a), jnp.full(2, jnp.inf))


def test_psnr_leaves_the_border_out():
    a = images()
    spoilt = a.at[:, :4].set(0.0).at[:, -4:].set(0.0).at[:, :, :4].set(0.0).at[:, :, -4:].set(0.0)
    assert np.isinf(psnr(a, spoilt, border=4)).all()
    assert np.isfinite(psnr(a, spoilt, border=3)).all()


@pytest.mark.parametrize("border", [-1, 12])
def test_psnr_refuses_a_border_without_pixels(border):
    with pytest.raises(ValueError, match=f"border is {border}"):
        psnr(images(), images(), border=border)


@pytest.mark.parametrize("metric", [psnr, high_frequency_ratio, lambda a, b: texture_distance(a, b, KEY)])
def test_metrics_refuse_unlike_sizes(metric):
    with pytest.raises(ValueError, match="crop them to one size"):
        metric(images(), images(w=28))


def test_luma_refuses_grey():
    with pytest.raises(ValueError, match="1 channels"):
        psnr(images()[..., :1], images()[..., :1], luma=True)


def test_finest_level_is_image_less_binomial_blur():
    x = images()
    y = np.asarray(x, np.float64) @ np.array([0.299, 0.587, 0.114])
    taps = np.array([1, 4, 6, 4, 1]) / 16
    blur = ndimage.convolve1d(ndimage.convolve1d(y, taps, axis=1), taps, axis=2)
    np.testing.assert_allclose(finest_level(x), (y - blur)[:, 2:-2, 2:-2], atol=1e-6)


def test_sliced_wasserstein_of_one_dimension_is_that_of_scipy():
    x, y = np.random.default_rng(0).normal(0, [[1], [3]], (2, 200)).astype(np.float32)
    ours = sliced_wasserstein(jnp.asarray(x[None, :, None]), jnp.asarray(y[None, :, None]), KEY)
    np.testing.assert_allclose(ours[0], stats.wasserstein_distance(x, y), rtol=1e-5)


def test_sliced_wasserstein_of_an_offset_is_its_mean_length_over_directions():
    x = jax.random.normal(jax.random.key(0), (1, 50, 49))
    # E|<u, v>| of a unit direction u in d dimensions: |v| Gamma(d/2) / (sqrt(pi) Gamma((d+1)/2))
    expected = 7 * 2 * math.exp(math.lgamma(24.5) - math.lgamma(25)) / math.sqrt(math.pi)
    assert sliced_wasserstein(x, x + 2, KEY)[0] == pytest.approx(expected, rel=0.25)  # 128 directions: sd 7 %


def test_sliced_wasserstein_does_not_see_the_order():
    rng, distance = np.random.default_rng(0), jax.jit(sliced_wasserstein)
    x, y = (rng.normal(size=(2, 60, 9)).astype(np.float32) for _ in range(2))
    plain = distance(jnp.asarray(x), jnp.asarray(y), KEY)
    shuffled = distance(jnp.asarray(rng.permutation(x, axis=1)), jnp.asarray(y[:, ::-1]), KEY)
    np.testing.assert_allclose(shuffled, plain, rtol=1e-6)
    np.testing.assert_allclose(distance(jnp.asarray(y), jnp.asarray(x), KEY), plain, rtol=1e-6)
    assert not np.allclose(distance(jnp.asarray(x), jnp.asarray(y), jax.random.key(4)), plain, rtol=1e-6)


def test_texture_distance_is_zero_for_equal_images_and_grows_with_blur_and_noise():
    hr = images()
    noise = jnp.asarray(np.random.default_rng(5).normal(0, 1, hr.shape), jnp.float32)
    distance = jax.jit(texture_distance)
    np.testing.assert_array_equal(distance(hr, hr, KEY), jnp.zeros(2))
    for worse in ([blurred(hr, s) for s in (0.4, 0.7, 2.0)], [hr + s * noise for s in (0.05, 0.1, 0.2)]):
        distances = np.array([distance(sr, hr, KEY) for sr in worse])
        assert (np.diff(distances, axis=0) > 0).all()
        assert (distances[0] > 0).all()


def test_texture_distance_is_in_grey_levels_and_ignores_brightness():
    hr = images()
    contrast = 0.5 + 0.5 * (hr - 0.5)
    distance = jax.jit(texture_distance)
    half, full = distance(contrast, hr, KEY), distance(jnp.full_like(hr, 0.5), hr, KEY)
    np.testing.assert_allclose(half, full / 2, rtol=1e-3)
    np.testing.assert_allclose(distance(hr + 0.1, hr, KEY), 0, atol=1e-3)
    # A unit projection of nearly white values has their standard deviation, and a normal variable's E|x| is 0.8 of it.
    spread = 255 * np.asarray(finest_level(hr)).std(axis=(1, 2))
    np.testing.assert_allclose(full, 0.8 * spread, rtol=0.1)


def test_patches_are_windows_of_the_level():
    level = jnp.arange(2 * 9 * 13, dtype=jnp.float32).reshape(2, 9, 13)
    patches = np.asarray(texture._patches(level, KEY))
    windows = np.lib.stride_tricks.sliding_window_view(np.asarray(level), (7, 7), axis=(1, 2)).reshape(2, -1, 49)
    assert patches.shape == (2, texture.PATCHES, 49)
    for ours, theirs in zip(patches, windows, strict=True):
        np.testing.assert_array_equal(np.unique(ours, axis=0), theirs)


def test_high_frequency_ratio():
    hr = images()
    np.testing.assert_array_equal(high_frequency_ratio(hr, hr), jnp.ones(2))
    np.testing.assert_allclose(high_frequency_ratio(0.5 * hr, hr), 0.25, rtol=1e-4)
    assert (high_frequency_ratio(blurred(hr, 1.0), hr) < 0.2).all()
    noise = jnp.asarray(np.random.default_rng(5).normal(0, 0.1, hr.shape), jnp.float32)
    assert (high_frequency_ratio(hr + noise, hr) > 1.5).all()


def test_texture_refuses_images_without_a_patch():
    assert texture_distance(images(h=11), images(h=11, seed=1), KEY).shape == (2,)
    with pytest.raises(ValueError, match="at least 11 pixels"):
        texture_distance(images(h=10), images(h=10), KEY)


def test_consistency_of_an_exact_downsample_and_of_an_offset():
    sr = images()
    lr = downsample_bicubic(sr, 4)
    assert (lr_consistency(sr, lr, 4) > 120).all()
    np.testing.assert_allclose(lr_consistency(sr + 0.01, lr, 4), 40.0, atol=0.01)
    rounded = jnp.round(lr * 255) / 255
    assert ((lr_consistency(sr, rounded, 4) > 57) & (lr_consistency(sr, rounded, 4) < 61)).all()


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("shape", [(4, 4, 3), (280, 36, 3), (520, 8, 1)])
def test_consistency_by_bands_is_that_of_the_whole(shape, dtype):
    generator = np.random.default_rng(0)
    sr = generator.random(shape, np.float32)
    lr = generator.random((shape[0] // 4, shape[1] // 4, shape[2]), np.float32)
    peak = 1 if dtype == np.float32 else np.iinfo(dtype).max
    stored = (sr * peak).astype(dtype)
    whole = lr_consistency(jnp.asarray(stored[None] / np.float32(peak)).astype(jnp.float32), jnp.asarray(lr[None]), 4)
    np.testing.assert_allclose(lr_consistency_by_bands(stored, lr, 4), whole[0], atol=1e-3)
    where = generator.random(lr.shape[:2]) < 0.5
    where[0, 0] = True
    error = np.square(np.asarray(downsample_bicubic(jnp.asarray(stored[None] / np.float32(peak)), 4))[0] - lr)[where]
    np.testing.assert_allclose(lr_consistency_by_bands(stored, lr, 4, where), -10 * np.log10(error.mean()), atol=1e-3)
    assert lr_consistency_by_bands(np.zeros_like(stored), np.zeros_like(lr), 4) == np.inf


def test_consistency_refuses_a_wrong_scale():
    lr = downsample_bicubic(images(), 4)
    with pytest.raises(ValueError, match="crop them to one size"):
        lr_consistency(images(), lr, 2)
    with pytest.raises(ValueError, match="multiple of the scale"):
        lr_consistency(images(), lr, 5)


@pytest.fixture
def data(tmp_path):
    """Write two sets of one image each; the second is grey and 3 pixels larger than four times its LR image."""
    rows = []
    for name, mode, shape in (("set5", "RGB", (24, 32, 3)), ("set14", "L", (27, 32, 3))):
        hr = Image.fromarray(np.asarray(255 * images(1, *shape[:2])[0]).astype(np.uint8)).convert(mode)
        lr = downsample_bicubic_uint8(np.asarray(hr.convert("RGB")), 4)
        for folder, image in ((f"lrx4/{name}", Image.fromarray(lr).convert(mode)), (name, hr)):
            (tmp_path / folder).mkdir(parents=True)
            image.save(tmp_path / folder / "a.png")
        rows.append(f"lrx4/{name}/a.png\t{name}/a.png\n")
    (tmp_path / "lrx4" / "PAIRS.tsv").write_text("".join(rows))
    return tmp_path


@pytest.fixture
def calls(monkeypatch):
    """Replace the model with a stand-in that repeats pixels; return the list of its options, call by call."""
    calls = []

    class Model:
        def upscale(self, image, **options):
            calls.append(options)
            return np.repeat(np.repeat(image, 4, axis=0), 4, axis=1).astype(np.float32) / 255

    monkeypatch.setitem(vars(jaxsr), "load", lambda name: Model())
    return calls


def test_benchmark_prints_a_table_per_set_and_the_mean(data, calls, capsys):
    options = ["--model", "tiny", "--data", str(data), "--steps", "1", "4", "--seed", "7", "--sampler", "heun"]
    assert quality.main([*options, "--json", str(data / "out.json")]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith("`python -m benchmarks.quality --model tiny")
    titles = [line for line in printed.splitlines() if line.startswith("## ")]
    assert titles == ["## set5 (1 images)", "## set14 (1 images)", "## mean (2 images)"]
    assert [call["steps"] for call in calls] == [1] * 3 + [4] * 3  # two images of one size, and one call to compile
    assert {(call["seed"], call["sampler"]) for call in calls} == {(7, "heun")}
    tables = json.loads((data / "out.json").read_text())["tables"]
    assert [row["method"] for row in tables["mean"]] == ["bicubic", "1 step (x0 prediction)", "4 steps"]
    assert tables["mean"][0]["SWD"] == pytest.approx((tables["set5"][0]["SWD"] + tables["set14"][0]["SWD"]) / 2)
    assert tables["mean"][1]["LR"] > 25  # shrinking repeated pixels nearly restores them


def test_benchmark_takes_the_named_sets_and_refuses_others(data, calls, capsys):
    options = ["--model", "tiny", "--data", str(data), "--steps", "1", "--sets"]
    assert quality.main([*options, "set14"]) == 0
    assert "## set5" not in capsys.readouterr().out
    assert quality.main([*options, "set15"]) == 1
    assert "lacks set15; choose from" in capsys.readouterr().err
    assert quality.main(["--model", "tiny", "--data", str(data / "set5")]) == 1
    assert "no such file; give the folder" in capsys.readouterr().err


def test_benchmark_refuses_an_original_that_is_too_small(data):
    Image.new("RGB", (32, 20)).save(data / "set5" / "a.png")
    with pytest.raises(ValueError, match="smaller than 4 times"):
        quality.read_pairs(data, None)


def test_bicubic_has_the_psnr_of_the_papers(shared):
    scores = []
    for pair in quality.read_pairs(shared / "data", ["set5"]):
        bicubic = quality.to_uint8(quality.bicubic(pair.lr))
        sr, hr = (jnp.asarray(image[None] / 255, jnp.float32) for image in (bicubic, pair.hr))
        scores.append(jax.jit(psnr, static_argnames=("border", "luma"))(sr, hr, border=4, luma=True)[0])
    assert np.mean(scores) == pytest.approx(28.42, abs=0.02)  # the papers round Y to 8 bits, which costs 0.01 dB

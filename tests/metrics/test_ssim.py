"""Test SSIM and MS-SSIM against scikit-image, closed forms and the published numbers of Set5."""

import math
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image
from scipy import ndimage
from skimage.metrics import structural_similarity

from benchmarks.quality import bicubic, read_pairs, to_uint8
from jaxsr.metrics.psnr import psnr, rgb_to_y
from jaxsr.metrics.ssim import SCALE_WEIGHTS, ms_ssim, ssim
from jaxsr.metrics.windows import gaussian_taps, local_moments

jitted = {metric: jax.jit(metric, static_argnames=("border", "luma")) for metric in (ssim, ms_ssim)}


def photos(h: int, w: int, flat: bool = True, noise: float = 0.01) -> tuple[jax.Array, jax.Array]:
    """Return two RGB images in [0,1] and noisy versions of them.

    With `flat`, the images have a bright flat part, which is hard for float32.
    """
    rng = np.random.default_rng(0)
    smooth = ndimage.gaussian_filter(rng.uniform(0, 1, (2, h, w, 3)), (0, 2, 2, 0))
    smooth = np.clip(0.5 + 4 * (smooth - 0.5), 0, 1)
    if flat:
        smooth[:, h // 2 :] = 0.97
    noisy = np.clip(smooth + rng.normal(0, noise, smooth.shape), 0, 1)
    return jnp.asarray(smooth, jnp.float32), jnp.asarray(noisy, jnp.float32)


def scikit(a: np.ndarray, b: np.ndarray, **more: float) -> float:
    kind = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "win_size": 11}
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    return structural_similarity(a, b, channel_axis=-1, data_range=1.0, **kind, **more)


@pytest.mark.parametrize("luma", [False, True])
@pytest.mark.parametrize("border", [0, 4])
def test_ssim_is_that_of_scikit_image(border, luma):
    a, b = photos(48, 40)
    ours = jitted[ssim](a, b, border=border, luma=luma)
    a, b = (rgb_to_y(x) if luma else x for x in (a, b))
    inner = np.s_[border : 48 - border, border : 40 - border]
    np.testing.assert_allclose(ours, [scikit(x[inner], y[inner]) for x, y in zip(a, b, strict=True)], atol=1e-6, rtol=0)
    assert (np.asarray(ours) < 0.999).all()


@pytest.mark.parametrize(("metric", "h", "w"), [(ssim, 48, 40), (ms_ssim, 171, 183)])
def test_equal_images_have_1_and_the_order_does_not_matter(metric, h, w):
    a, b = photos(h, w)
    of = partial(jitted[metric], border=3, luma=False)
    np.testing.assert_allclose(of(a, a), 1, atol=1e-6)
    np.testing.assert_allclose(of(a, b), of(b, a), atol=1e-6)


def test_ssim_of_flat_images_is_the_luminance_term():
    a, b = jnp.full((1, 11, 11, 1), 0.9), jnp.full((1, 11, 11, 1), 0.8)
    assert jitted[ssim](a, b)[0] == pytest.approx((2 * 0.72 + 1e-4) / (0.81 + 0.64 + 1e-4), abs=1e-6)


def test_window_statistics_are_those_of_numpy_and_of_a_flat_image_exact():
    taps = gaussian_taps(5, 1.1)
    x = np.random.default_rng(1).uniform(100, 101, (2, 1, 5, 5, 1)).astype(np.float32)
    weights = np.multiply.outer(taps, taps)
    values = x.astype(np.float64)[:, 0, :, :, 0]
    mean, covariance = (np.asarray(part) for part in local_moments(list(jnp.asarray(x)), taps))
    expected = (weights * values).sum(axis=(1, 2))
    np.testing.assert_allclose(mean[:, 0, 0, 0, 0], expected, rtol=1e-6)
    centred = values - expected[:, None, None]
    np.testing.assert_allclose(
        covariance[:, :, 0, 0, 0, 0], np.einsum("hw,khw,lhw->kl", weights, centred, centred), rtol=1e-3, atol=1e-5
    )
    flat = jnp.full((1, 1, 8, 8, 1), 0.1)
    mean, covariance = (np.asarray(part) for part in local_moments(list(flat), taps))
    np.testing.assert_array_equal(mean, flat[:, :, 2:-2, 2:-2])
    np.testing.assert_array_equal(covariance, jnp.zeros((1, 1, 1, 4, 4, 1)))


@pytest.mark.parametrize(("luma", "noise"), [(False, 0.01), (True, 0.01), (True, 0.3)])
def test_ms_ssim_is_the_product_of_scikit_image_terms(luma, noise):
    a, b = photos(171, 183, noise=noise)
    ours = jitted[ms_ssim](a, b, border=3, luma=luma)
    a, b = (np.asarray(rgb_to_y(x) if luma else x, np.float64)[:, 3:-3, 3:-3] for x in (a, b))
    expected = [_ms_ssim(x, y) for x, y in zip(a, b, strict=True)]
    np.testing.assert_allclose(ours, expected, atol=1e-6, rtol=0)


def _ms_ssim(a: np.ndarray, b: np.ndarray) -> float:
    """Compute MS-SSIM in float64 from scikit-image's SSIM, each channel on its own.

    A huge K1 makes the luminance term 1, which leaves contrast and structure. The images are halved as the authors'
    `imfilter` and `1:2:end` do.
    """
    products = np.ones(a.shape[-1])
    for scale, weight in enumerate(SCALE_WEIGHTS):
        k1 = 0.01 if scale == 4 else 1e6
        products *= [scikit(x[..., None], y[..., None], K1=k1) ** weight for x, y in zip(a.T, b.T, strict=True)]
        a, b = (ndimage.correlate(x, np.full((2, 2, 1), 0.25), mode="reflect", origin=(-1, -1, 0)) for x in (a, b))
        a, b = a[::2, ::2], b[::2, ::2]
    return products.mean()


def test_the_weights_of_the_scales_are_the_published_ones():
    assert math.fsum(SCALE_WEIGHTS) == pytest.approx(1, abs=1e-3)


def test_clipped_contrast_counts_0_where_structure_is_opposite():
    a, _ = photos(32, 32, flat=False)
    left_opposite = jnp.concatenate([1 - a[:, :, :16], a[:, :, 16:]], axis=2)
    _, maps = scikit(a[0], left_opposite[0], full=True)
    inner = np.asarray(maps)[5:-5, 5:-5]
    assert (inner < 0).any()
    # The luminance term is positive, so that SSIM is negative where the contrast is.
    found = float(ssim(a, left_opposite, clip_contrast=True)[0])
    assert found == pytest.approx(np.maximum(inner, 0).mean(), abs=1e-5)
    assert found > float(ssim(a, left_opposite)[0])


def test_ms_ssim_of_an_opposite_is_0_and_not_nan():
    a, _ = photos(171, 183, flat=False)
    np.testing.assert_array_equal(jitted[ms_ssim](a, 1 - a, border=3, luma=False), jnp.zeros(2))


def test_metrics_agree_under_vmap():
    a, b = photos(48, 40)
    by_one = jax.jit(jax.vmap(lambda x, y: ssim(x[None], y[None])[0]))(a, b)
    np.testing.assert_allclose(by_one, jitted[ssim](a, b), atol=1e-6)


@pytest.mark.parametrize(("metric", "side"), [(ssim, 11), (ms_ssim, 161)])
def test_too_small_images_borders_and_unlike_shapes_are_refused(metric, side):
    a = jnp.zeros((1, side, side, 3))
    assert jax.eval_shape(metric, a, a).shape == (1,)
    with pytest.raises(ValueError, match=f"at least {side} pixels a side"):
        metric(a[:, 1:], a[:, 1:])
    for border in (-1, 1):
        with pytest.raises(ValueError, match=f"border {border}"):
            metric(a, a, border=border)
    with pytest.raises(ValueError, match="crop them to one size"):
        metric(a, a[:, 1:])
    with pytest.raises(ValueError, match="1 channels"):
        metric(a[..., :1], a[..., :1], luma=True)


@pytest.mark.slow
def test_bicubic_on_set5_has_the_published_numbers(shared):
    scores = []
    for pair in read_pairs(shared / "data", ["set5"]):
        sr, hr = (jnp.asarray(x[None] / 255, jnp.float32) for x in (to_uint8(bicubic(pair.lr)), pair.hr))
        # The papers round Y to 8 bits, as MATLAB's rgb2ycbcr of an 8-bit image does.
        sr, hr = (jnp.round(255 * rgb_to_y(x)) / 255 for x in (sr, hr))
        scores.append([psnr(sr, hr, border=4)[0], jitted[ssim](sr, hr, border=4)[0]])
    assert len(scores) == 5
    mean_psnr, mean_ssim = np.mean(scores, axis=0)
    assert mean_psnr == pytest.approx(28.42, abs=0.03)
    assert mean_ssim == pytest.approx(0.8104, abs=0.002)


def test_ssim_of_a_photo_falls_with_noise(request):
    photo = jnp.asarray(np.asarray(Image.open(request.config.rootpath / "examples" / "parrots.png"))[None] / 255)
    photo = photo.astype(jnp.float32)[:, :64, :64]
    noise = jax.random.normal(jax.random.key(0), photo.shape)
    scores = [float(jitted[ssim](photo, photo + s * noise)[0]) for s in (0.0, 0.02, 0.05, 0.2)]
    assert all(np.diff(scores) < 0)

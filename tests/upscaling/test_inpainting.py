"""Test inpainting with the golden network: its chain, known pixels bit for bit, tiles, soft masks, the knob."""

import numpy as np
import pytest

from jaxsr.diffusion import sample
from jaxsr.imaging import noise
from jaxsr.options import Options
from jaxsr.upscaling.inpainting import keep_known
from jaxsr.upscaling.plan import plan_run
from tests.parity.inpainting_model import golden_chain, golden_noise, golden_upscaler, save_golden
from weight_conversion.tolerances import TOLERANCES

RNG = np.random.default_rng(0)
IMAGE = RNG.integers(0, 256, (64, 64, 3), np.uint8)
MASK = np.zeros((64, 64), np.uint8)
MASK[20:40, 8:50] = 255


@pytest.fixture(scope="module")
def upscaler(tmp_path_factory):
    return golden_upscaler(save_golden(tmp_path_factory.mktemp("inpaint")))


def test_the_golden_chain_with_its_known_pixels_pasted_back(upscaler, monkeypatch):
    chain = golden_chain()
    image, mask = (chain["lr"][0] + 1) / 2, (chain["mask"][0, ..., 0] + 1) / 2
    monkeypatch.setattr(noise, "chain_noise", golden_noise)
    upscaler._compiled.clear()
    result = upscaler.upscale(image, mask=mask)
    upscaler._compiled.clear()  # it holds the golden noise
    filled = np.clip((chain["decoded"][0] + 1) / 2, 0, 1)
    expected = np.where(mask[..., None] == 1, filled, image)
    np.testing.assert_allclose(result, expected, atol=TOLERANCES["chain"] * np.abs(filled).max())
    np.testing.assert_array_equal(result[mask == 0], image[mask == 0])
    assert 0.1 < (mask == 1).mean() < 0.9


def test_known_pixels_keep_their_bits_and_unknown_ones_are_filled(upscaler):
    known = MASK == 0
    for image in (IMAGE, IMAGE.astype(np.uint16) * 257 + 1, IMAGE[..., 0], IMAGE / 255):
        result = upscaler.upscale(image, mask=MASK)
        assert (result.dtype, result.shape) == (image.dtype, image.shape)
        np.testing.assert_array_equal(result[known], image[known])
        assert (result[~known] != image[~known]).mean() > 0.9


def test_a_mask_all_black_returns_the_image_and_one_all_white_the_network(upscaler):
    calls = []
    result = upscaler.upscale(IMAGE, mask=np.zeros_like(MASK), progress=lambda *done: calls.append(done))
    np.testing.assert_array_equal(result, IMAGE)
    assert calls == []  # nothing is computed
    assert (upscaler.upscale(IMAGE, mask=np.ones((64, 64), bool)) != IMAGE).mean() > 0.9


def test_the_mask_reaches_the_network(upscaler):
    other = MASK.copy()
    other[50:60, 5:20] = 255
    both = (MASK > 0) & (other > 0)
    results = [upscaler.upscale(IMAGE, mask=mask) for mask in (MASK, other)]
    assert (results[0][both] != results[1][both]).mean() > 0.5


def test_soft_masks_mix():
    image, out = np.full((1, 3, 3), 100, np.uint8), np.full((1, 3, 3), 200, np.uint8)
    keep_known(out, image, np.float32([[0, 0.5, 1]]))
    np.testing.assert_array_equal(out[0, :, 0], [100, 150, 200])
    strip = np.full((1, 3, 2, 3), 0.8, np.float32)
    keep_known(strip, np.full((1, 3, 3), 0.4, np.float32), np.float32([[0, 0.25, 1]]))
    np.testing.assert_allclose(strip[0, :, 1, 0], [0.4, 0.5, 0.8], rtol=1e-6)


def test_tiles_carry_the_mask_and_known_tiles_are_not_computed(upscaler):
    image = RNG.integers(0, 256, (64, 200, 3), np.uint8)
    mask = np.zeros((64, 200), np.uint8)
    mask[10:30, 150:180] = 255
    mask[5, 199] = 1  # nearly black is unknown too
    options = {"tile": 64, "overlap": 32, "batch": 2}
    plan = plan_run(upscaler.preset, (64, 200), Options(tile=64, overlap=32)).plan
    done = []
    result = upscaler.upscale(image, mask=mask, progress=lambda *count: done.append(count), **options)
    touched = [i for i in range(len(plan)) if plan.origin(i)[1] + 64 > 150]
    assert 0 < len(touched) < len(plan)
    assert done == [(i, len(plan)) for i in (touched[1] + 1, touched[-1] + 1)]
    np.testing.assert_array_equal(result[mask == 0], image[mask == 0])
    hole = result[10:30, 150:180]
    assert (hole != image[10:30, 150:180]).mean() > 0.9
    other = upscaler.upscale(image, mask=np.where(mask == 255, 128, mask).astype(np.uint8), **options)
    assert (other[10:30, 150:180] != hole).mean() > 0.5


@pytest.mark.slow
def test_the_knob_and_a_problem_take_the_mask(upscaler):
    plain, guided = (upscaler.upscale(IMAGE, mask=MASK, alpha=alpha) for alpha in (0.0, 0.3))
    assert (plain[MASK > 0] != guided[MASK > 0]).mean() > 0.5
    np.testing.assert_array_equal(plain[MASK == 0], guided[MASK == 0])
    problem = upscaler.problem(IMAGE, mask=MASK)
    whole = problem.decode(sample(problem.denoise, problem.schedule, problem.z_lr, problem.noise))
    float_result = upscaler.upscale(IMAGE / np.float32(255), mask=MASK)
    different = np.abs(whole - float_result)[MASK > 0] > 1e-3  # a code may flip by rounding
    assert different.mean() < 0.02


@pytest.mark.parametrize(
    ("mask", "message"),
    [
        (None, r"^mask: the model verified fills in the part of an image that a mask marks; give the mask"),
        (np.zeros((64, 60), np.uint8), r"^mask: must be 64x64 pixels, as the image is, but is 60x64"),
        (np.full((64, 64), 2.0), r"^mask: must be in \[0, 1\]"),
        (np.full((64, 64), np.nan), r"^mask: must be in \[0, 1\]"),
        (np.zeros((64, 64, 3)), r"^mask: must be \(h, w\), one number per pixel"),
    ],
    ids=["none", "size", "range", "nan", "colour"],
)
def test_a_mask_that_does_not_fit_is_one_sentence(upscaler, mask, message):
    with pytest.raises(ValueError, match=message):
        upscaler.upscale(IMAGE, mask=mask)


def test_a_projection_is_for_models_that_enlarge(upscaler):
    with pytest.raises(ValueError, match=r"^projection: is for models that enlarge; leave it out"):
        upscaler.upscale(IMAGE, mask=MASK, projection=0.5)


def test_a_model_that_takes_no_mask_refuses_one(small_upscalers):
    with pytest.raises(ValueError, match=r"^mask: the model tiny_x4 takes no mask; leave it out"):
        small_upscalers["channel"].upscale(IMAGE, mask=MASK)

"""Test guidance tile by tile: a map and a reference act only where they lie, and take little memory."""

import tracemalloc

import numpy as np
import pytest
from PIL import Image

from jaxsr.guidance.guide import Guide, make_guide
from jaxsr.options import Options
from jaxsr.upscaling.upscaler import Upscaler
from tests.guidance.parrots import HR, LEFT, LR, RGB, TILES, floats
from tests.small_model import nearest


@pytest.mark.parametrize("blend", ["feather", "mean"])
def test_a_map_is_the_factor_of_alpha_at_every_pixel(pointwise, blend):
    factors = np.zeros(LR.shape[:2], np.float32)
    factors[:, 13:] = 1
    plain, full, mixed = (
        pointwise.upscale(LR, blend=blend, **TILES, **more)
        for more in ({}, {"alpha": 0.3}, {"alpha": 0.3, "alpha_map": factors})
    )
    np.testing.assert_array_equal(mixed[:, :52], plain[:, :52])
    np.testing.assert_array_equal(mixed[:, 52:], full[:, 52:])
    half = pointwise.upscale(LR, alpha=0.3, alpha_map=np.full_like(factors, 0.5), blend=blend, **TILES)
    np.testing.assert_array_equal(half, pointwise.upscale(LR, alpha=0.15, blend=blend, **TILES))
    grey = Image.fromarray(np.rint(factors * 255).astype(np.uint8))
    image = pointwise.upscale(LR, alpha=0.3, alpha_map=grey, blend=blend, **TILES)
    np.testing.assert_array_equal(image, mixed)


@pytest.mark.parametrize("blend", ["feather", "mean"])
@pytest.mark.parametrize("box", [(3, 5, 20, 18), LEFT, (39, 31, 1, 1)])
def test_a_scale_of_minus_one_returns_the_reference_in_its_box_and_changes_nothing_around(
    pointwise, exact_fit, blend, box
):
    (x, y, w, h), plain = box, floats(pointwise, Guide(), blend=blend)
    reference = HR[4 * y : 4 * (y + h), 4 * x : 4 * (x + w)]
    guide = make_guide(RGB, 4, reference=reference, box=box, feather=0)
    result = floats(pointwise, guide, blend=blend, alpha=0.0)
    inside = np.s_[4 * y : 4 * (y + h), 4 * x : 4 * (x + w)]
    np.testing.assert_allclose(result[inside], reference / 255, atol=2e-6)
    result[inside] = plain[inside]
    np.testing.assert_array_equal(result, plain)


def test_outside_alpha_is_as_without_a_reference(pointwise, exact_fit):
    guide = make_guide(RGB, 4, reference=HR[:, :80], box=LEFT)
    result, without = (floats(pointwise, g, alpha=0.3) for g in (guide, Guide()))
    np.testing.assert_allclose(result[:, 80:], without[:, 80:], atol=1e-6)
    assert np.abs(result[:, :40] - without[:, :40]).mean() > 0.01


def test_memory_is_the_result_and_a_few_tiles_with_a_map_and_a_reference(small_upscalers, monkeypatch, exact_fit):
    monkeypatch.setattr(Upscaler, "compiled", lambda *_: nearest)
    image, reference = np.zeros((2048, 32, 3), np.float32), np.zeros((8192, 128, 3), np.uint8)
    tracemalloc.start()
    where = {"reference": reference, "box": (0, 0, 32, 2048), "alpha_map": np.ones((2048, 32), np.float32)}
    guide, out = make_guide(image, 4, **where), np.empty((8192, 128, 3), np.uint8)
    base = tracemalloc.get_traced_memory()[0]
    tracemalloc.reset_peak()
    small_upscalers["channel"].enlarge(image, out, Options(tile=32, alpha=0.1), guide=guide, seed=0)
    peak = tracemalloc.get_traced_memory()[1] - base
    tracemalloc.stop()
    assert peak < 16 * 128 * 128 * 3 * 4  # bytes of sixteen enlarged tiles; the reference as float would take 64

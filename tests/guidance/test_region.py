"""Test the region of a reference: its place, its fading, what is refused, and what is fitted on it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxsr.guidance.fits import concatenate, fit_lr_scale, fit_lstsq, fit_reference, weighted_median
from jaxsr.guidance.moments import Moments, measure
from jaxsr.guidance.region import cut_region, make_region, tiles_of
from jaxsr.guidance.tiles import TileReference
from jaxsr.imaging import noise
from jaxsr.imaging.tiling import cut, plan_tiles
from jaxsr.models.model import Model
from jaxsr.options import Options
from jaxsr.upscaling.plan import schedule_for
from jaxsr.upscaling.programs import compile_program
from tests.small_model import enlarged, small_preset

RGB = np.random.default_rng(0).random((40, 30, 3), np.float32)
HR = enlarged(RGB)


def _region(box, **options):
    x, y, w, h = box
    return make_region(RGB, HR[4 * y : 4 * (y + h), 4 * x : 4 * (x + w)], 4, box=box, **options)


def test_a_reference_fades_in_from_every_border_that_is_not_the_images():
    weight = _region((4, 6, 20, 20), feather=4).weight
    np.testing.assert_allclose(weight[10], np.clip(np.minimum(np.arange(20), np.arange(20)[::-1]) + 0.5, 0, 4) / 4)
    np.testing.assert_array_equal(weight, weight.T)
    corner = _region((0, 0, 20, 20), feather=4).weight
    assert (corner[:16, :16] == 1).all()
    np.testing.assert_allclose(corner[0], np.clip(np.arange(20)[::-1] + 0.5, 0, 4) / 4)
    assert (_region((0, 0, 30, 40), feather=4).weight == 1).all()
    assert (_region((4, 6, 20, 20), feather=0).weight == 1).all()


def test_a_mask_is_the_box_around_it_and_weighs_the_reference():
    mask = np.zeros((40, 30), np.float32)
    mask[5:25, 10:20] = 0.5
    mask[6:8, 12:14] = 0
    crop = HR[20:100, 40:80]
    for reference in (HR, crop):
        region = make_region(RGB, reference, 4, mask=mask, feather=0)
        assert region.box == (10, 5, 10, 20)
        np.testing.assert_array_equal(region.weight, mask[5:25, 10:20])
        np.testing.assert_array_equal(region.image, crop)
    soft = make_region(RGB, HR, 4, mask=mask, feather=2).weight
    assert soft[1, 4] == 0.5 / 4  # half a pixel from the hole, of a feather of two, times the mask
    assert soft[15, 5] == 0.5


@pytest.mark.parametrize("blend", ["feather", "mean"])
def test_tiles_get_their_part_and_zeros_around(blend):
    region = _region((5, 7, 20, 30), feather=3)
    weight, image = np.zeros((40, 30, 1), np.float32), np.zeros((160, 120, 3), np.float32)
    weight[7:37, 5:25, 0], image[28:148, 20:100] = region.weight, region.image
    plan = plan_tiles(40, 30, (16, 12), 0, blend=blend)
    for i in range(len(plan)):
        (top, left), (w, x) = plan.origin(i), cut_region(region, plan, i, 4)
        rows, columns = min(16, 40 - top), min(12, 30 - left)
        np.testing.assert_array_equal(w[:rows, :columns], weight[top : top + 16, left : left + 12])
        np.testing.assert_array_equal(x[: 4 * rows, : 4 * columns], image[4 * top :, 4 * left :][:64, :48])
        assert not w[rows:].any()
        assert not w[:, columns:].any()
        assert (i in tiles_of(region, plan)) == (w.any() or x.any())


def test_every_type_of_reference_is_the_same():
    eight = np.rint(HR * 255).astype(np.uint8)
    box, plan = (0, 0, 30, 40), plan_tiles(40, 30, 48, 0)
    crops = [
        cut_region(make_region(RGB, image, 4, box=box), plan, 0, 4)[1]
        for image in (eight, eight.astype(np.uint16) * 257, eight / np.float64(255))
    ]
    np.testing.assert_allclose(crops[0], crops[1], atol=1e-7)
    np.testing.assert_allclose(crops[0], crops[2], atol=1e-7)
    grey = np.broadcast_to(RGB.mean(-1, keepdims=True), RGB.shape)
    region = make_region(grey, enlarged(grey)[..., 0], 4, box=box)
    assert region.image.shape == (160, 120, 3)


MASK = np.ones((40, 30), np.float32)
REFUSED = {
    "needs where": ({}, "^reference: say where"),
    "box and mask": ({"box": (0, 0, 30, 40), "mask": MASK}, "^reference: say where"),
    "outside": ({"box": (1, 0, 30, 40)}, "^reference_box: 1,0,30,40 .* not inside of 30x40"),
    "empty": ({"box": (0, 0, 0, 4)}, "^reference_box"),
    "size": ({"box": (0, 0, 10, 20)}, "^reference: must be 40x80 pixels, 4 times the box 10x20 .* but is 120x160"),
    "feather": ({"box": (0, 0, 30, 40), "feather": -1}, "^feather"),
    "mask size": ({"mask": MASK[1:]}, "^reference_mask: must be 30x40 .* but is 30x39"),
    "mask values": ({"mask": MASK * 2}, "^reference_mask: must be in"),
    "no mask": ({"mask": MASK * 0}, "^reference_mask: marks no pixel"),
    "content": ({"box": (0, 0, 30, 40), "reference": HR[::-1]}, "^reference: does not show .* check the box"),
    "values": ({"box": (0, 0, 30, 40), "reference": HR * 2}, "^reference: pixels must be"),
    "nan": ({"box": (0, 0, 30, 40), "reference": HR * np.float32(np.nan)}, "^reference: pixels must be"),
    "type": ({"box": (0, 0, 30, 40), "reference": HR.astype(np.int32)}, "^reference: pixels must be"),
    "channels": ({"box": (0, 0, 30, 40), "reference": HR[..., :2]}, "^reference: must be .H, W, 3."),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_does_not_fit_is_one_sentence(case):
    options, message = REFUSED[case]
    with pytest.raises(ValueError, match=message):
        make_region(RGB, **({"reference": HR, "scale": 4} | options))


def test_the_fits_are_those_of_the_open_loop_on_the_region(monkeypatch):
    """The expected moments are measured by hand on the latents of one tile, with the fading weight as the mask."""
    monkeypatch.setattr(Model, "denoiser", lambda *_: lambda x, step: jnp.sin(2 * x))
    preset, options, plan = small_preset(), Options(steps=2), plan_tiles(40, 30, 48, 0)
    region = _region((4, 6, 20, 20), feather=4)
    model, key, origins = Model(preset), noise.image_key(0, noise.content_hash(RGB), 0), np.zeros((1, 2), np.int32)
    tiles, (weight, image) = cut(RGB, plan, 0)[None], cut_region(region, plan, 0, 4)
    schedule = schedule_for(preset, options)
    z_lr, z_hr = model.encode_lr({}, jnp.asarray(tiles) * 2 - 1), model.encode({}, jnp.asarray(image[None] * 2 - 1))
    draw = lambda k: noise.field(jax.random.fold_in(key, k), origins[0], z_lr.shape[1:])[None]  # noqa: E731
    for against, fit in (("hr", fit_reference), ("lr", lambda m: fit_lr_scale(m, "norm", schedule.variance_clipped))):
        program = compile_program(preset, options, False, against)
        reference = TileReference(weight[None], image[None], np.zeros(0), np.zeros(0))
        found = program({}, key, tiles, origins, reference)
        expected = measure(
            lambda x, step: jnp.sin(2 * x),
            schedule,
            z_lr,
            z_hr,
            draw,
            reference=against,
            mask=jnp.asarray(weight[None]),
        )
        for ours, theirs in zip(found, expected, strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=2e-4, atol=1e-3)
        whole = concatenate([expected])
        line = fit_lstsq(whole)
        wanted = (line.slope, line.offset) if against == "hr" else schedule.variance_clipped * weighted_median(whole)
        np.testing.assert_allclose(fit([Moments(*map(np.asarray, expected))]), wanted, rtol=1e-6)
    ones = np.ones(2)
    assert fit_lr_scale([expected], "step-norm", schedule.variance_clipped) == tuple(weighted_median(whole))
    assert fit_lr_scale([expected], "lstsq", ones) == tuple(fit_lstsq(whole, offset=False).slope)

"""Test presets of a calibration: their scales, the options that they were found with, and what they are not for."""

import warnings
from dataclasses import replace

import numpy as np
import pytest

from jaxsr.guidance.calibration_file import CalibrationError, describe_schedule
from jaxsr.options import Options
from jaxsr.upscaling.plan import schedule_for
from tests.guidance.parrots import HR, LEFT, LR, TILES
from tests.upscaling.small_calibration import BY_HAND, make_calibration


def test_a_preset_is_its_scales_with_what_they_were_found_with(pointwise, tmp_path):
    calibration = make_calibration(pointwise)
    calibration.write(tmp_path / "calibration.json")
    by_hand = {
        name: {"alpha": tuple(calibration.presets[name]["scale"]), "reference_variance": "marginal"}
        for name in ("vivid", "faithful")
    }
    results = {name: pointwise.upscale(LR, **options, **TILES) for name, options in by_hand.items()}
    assert (results["vivid"] != results["faithful"]).mean() > 0.3
    for given in (calibration, tmp_path / "calibration.json", str(tmp_path / "calibration.json")):
        vivid = pointwise.upscale(LR, preset="vivid", calibration=given, **TILES)
        np.testing.assert_array_equal(vivid, results["vivid"])
    beside = replace(pointwise, source=tmp_path / "model.safetensors")
    np.testing.assert_array_equal(beside.upscale(LR, preset="faithful", **TILES), results["faithful"])


def test_a_preset_of_zeros_is_the_plain_sampler_whatever_it_was_found_with(pointwise):
    presets = {"faithful": {"scale": [0.0, 0.0], **BY_HAND}}
    calibration = make_calibration(pointwise, presets=presets, through="state", reference_variance="marginal")
    result = pointwise.upscale(LR, preset="faithful", calibration=calibration, **TILES)
    np.testing.assert_array_equal(result, pointwise.upscale(LR, **TILES))


def test_a_preset_has_its_temperature_and_projection_and_options_go_before_them(pointwise):
    projected = {"scale": [0.3, 0.1], **BY_HAND, "projection": 0.5, "temperature": [1.0, 1.1]}
    calibration = make_calibration(pointwise, presets={"vivid": projected})
    for given, expected in ((None, 0.5), (1.0, 1.0), (0.0, 0.0)):
        options = pointwise.with_preset(Options(projection=given), "vivid", calibration)
        assert (options.projection, options.temperature) == (expected, (1.0, 1.1))
    assert pointwise.with_preset(Options(temperature=0.9), "vivid", calibration).temperature == 0.9
    with pytest.raises(CalibrationError, match=r"preset vivid needs a projection from 0 to 1, got 2"):
        make_calibration(pointwise, presets={"vivid": projected | {"projection": 2}})


@pytest.mark.parametrize(
    ("changes", "options", "message"),
    [
        ({"model_sha256": "0" * 64}, {}, "for other weights"),
        ({}, {"steps": 3}, "for 2 steps, not for 3"),
        ({}, {"sampler": "heun"}, "sampler ancestral"),
        ({}, {"preset": "balanced"}, "preset: .* no 'balanced'; it has vivid, faithful, fitted"),
        ({}, {"alpha": 0.1}, "^alpha: the preset gives it"),
        ({}, {"through": "state"}, "^through: the preset is for mean, not state"),
    ],
)
def test_a_calibration_for_something_else_is_refused(small_upscalers, changes, options, message):
    upscaler = small_upscalers["channel"]
    with pytest.raises(ValueError, match=message) as caught:
        upscaler.upscale(LR, **{"preset": "vivid", "calibration": make_calibration(upscaler, **changes)} | options)
    assert isinstance(caught.value, CalibrationError) or message.startswith("^")


def test_of_several_files_the_one_for_these_steps_and_this_sampler_is_taken(small_upscalers, tmp_path):
    upscaler = replace(small_upscalers["channel"], source=tmp_path / "model.safetensors")
    for sampler, steps in (("ancestral", 2), ("ancestral", 3), ("deterministic", 2)):
        schedule = describe_schedule(schedule_for(upscaler.preset, Options(steps=steps)))
        words = BY_HAND | {"temperature": [1.0] * steps}
        presets = {"vivid": {"scale": [0.1 * steps] * steps, **words}}
        numbers = {"slope": [0.0] * steps, "offset": [0.0] * steps}
        made = make_calibration(upscaler, schedule=schedule, sampler=sampler, presets=presets, reference=numbers)
        made.write(tmp_path / f"calibration-{sampler}-{steps}.json")
    for folder in (None, tmp_path):
        found = upscaler.find_calibration(Options(steps=3), folder)
        assert found.path == tmp_path / "calibration-ancestral-3.json"
    assert upscaler.find_calibration(Options(sampler="deterministic")).calibration.sampler == "deterministic"
    assert upscaler.with_preset(Options(steps=3), "vivid").alpha == (0.1 * 3,) * 3
    message = (
        r"with heun steps, .*\. There are presets for ancestral with 2, 3 steps .--thinning ends.; deterministic with 2"
    )
    with pytest.raises(CalibrationError, match=message):
        upscaler.with_preset(Options(sampler="heun"), "vivid")
    (tmp_path / "calibration-0.json").write_text('{"format_version": 1}')
    assert upscaler.with_preset(Options(steps=3), "vivid").alpha == (0.1 * 3,) * 3  # an old file beside it is no harm
    with pytest.raises(CalibrationError, match=r"calibration-0\.json: was made with another reading"):
        upscaler.with_preset(Options(sampler="heun"), "vivid")
    own = make_calibration(upscaler, presets={"fitted": {"scale": [0.5, 0.5], **BY_HAND}})
    own.write(tmp_path / "calibration-a.json")  # the first by name, for the same steps and sampler
    assert upscaler.with_preset(Options(), "vivid").alpha == (0.1 * 2,) * 2
    assert upscaler.with_preset(Options(), "fitted").alpha == (0.5, 0.5)
    with pytest.raises(CalibrationError, match=r"no .*none; check the name"):
        upscaler.with_preset(Options(), "vivid", tmp_path / "none")


def test_fitted_numbers_replace_the_fit_where_a_reference_is_given(pointwise):
    calibration = make_calibration(pointwise)
    known = {"reference": HR[:, :80], "reference_box": LEFT}
    numbers = {"reference_slope": (-0.5, -0.25), "reference_offset": (0.0, 0.125)}
    by_hand = {"alpha": (0.2, 0.0), "reference_variance": "marginal"}
    fitted = pointwise.upscale(LR, preset="fitted", calibration=calibration, **known, **TILES)
    np.testing.assert_array_equal(fitted, pointwise.upscale(LR, **by_hand, **numbers, **known, **TILES))
    without = pointwise.upscale(LR, preset="fitted", calibration=calibration, **TILES)
    np.testing.assert_array_equal(without, pointwise.upscale(LR, **by_hand, **TILES))
    for name, other in (("reference_slope", -1.0), ("reference_offset", 0.3)):
        changed = pointwise.upscale(LR, **by_hand, **(numbers | {name: other}), **known, **TILES)
        assert (changed != fitted).mean() > 0.1
    shifted = make_calibration(pointwise, reference_mean="shifted")
    other = pointwise.upscale(LR, preset="fitted", calibration=shifted, **known, **TILES)
    np.testing.assert_array_equal(
        other, pointwise.upscale(LR, **by_hand, **numbers, **known, **TILES, reference_mean="shifted")
    )
    with pytest.raises(ValueError, match=r"^reference_mean: the preset is for clean, not shifted"):
        pointwise.upscale(LR, preset="fitted", calibration=calibration, **known, reference_mean="shifted")
    with pytest.raises(ValueError, match=r"^reference_slope: the preset fitted gives it"):
        pointwise.upscale(LR, preset="fitted", calibration=calibration, reference_slope=-1.0, **known)


def test_an_alpha_beyond_the_calibrated_range_warns(pointwise, tmp_path):
    upscaler = replace(pointwise, source=tmp_path / "model.safetensors")
    closed = {"fidelity": "psnr", "perception": "swd", "constant_range": [[-0.1, 0.2]], "range": [[9, 9], [9, 9]]}
    calibration = make_calibration(upscaler, closed_loop=closed, reference_variance="posterior")
    calibration.write(tmp_path / "calibration.json")
    upscaler.upscale(LR, alpha=0.2, **TILES)
    with pytest.warns(UserWarning, match=r"alpha 0.3 lies outside of the calibrated range -0.1 to 0.2 \(ancestral, 2"):
        upscaler.upscale(LR, alpha=0.3, **TILES)
    known = {"reference": HR[:, :80], "reference_box": LEFT}
    with pytest.warns(UserWarning, match=r"the image was enlarged by a fit whose alpha .* range .*; give alpha to"):
        upscaler.upscale(LR, **known, **TILES)
    with warnings.catch_warnings(action="error"):  # what is given by hand is not fitted
        upscaler.upscale(LR, alpha=0.2, **known, **TILES)

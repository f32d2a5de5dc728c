"""Test presets of a calibration: their scales, the options that they were found with, and what they are not for."""

from dataclasses import replace

import numpy as np
import pytest

from jaxsr.guidance.calibration_file import CalibrationError
from tests.guidance.parrots import LR, TILES
from tests.upscaling.small_calibration import make_calibration


def test_a_preset_is_its_scales_with_what_they_were_found_with(pointwise, tmp_path):
    calibration = make_calibration(pointwise)
    calibration.write(tmp_path / "calibration.json")
    by_hand = {
        name: {"alpha": tuple(p["scale"]), "reference_variance": "marginal"} for name, p in calibration.presets.items()
    }
    results = {name: pointwise.upscale(LR, **options, **TILES) for name, options in by_hand.items()}
    assert (results["vivid"] != results["faithful"]).mean() > 0.3
    for given in (calibration, tmp_path / "calibration.json", str(tmp_path / "calibration.json")):
        vivid = pointwise.upscale(LR, preset="vivid", calibration=given, **TILES)
        np.testing.assert_array_equal(vivid, results["vivid"])
    beside = replace(pointwise, source=tmp_path / "model.safetensors")
    np.testing.assert_array_equal(beside.upscale(LR, preset="faithful", **TILES), results["faithful"])


def test_a_preset_of_zeros_is_the_plain_sampler_whatever_it_was_found_with(pointwise):
    presets = {"faithful": {"scale": [0.0, 0.0], "rule": "by hand"}}
    calibration = make_calibration(pointwise, presets=presets, through="state", reference_variance="marginal")
    result = pointwise.upscale(LR, preset="faithful", calibration=calibration, **TILES)
    np.testing.assert_array_equal(result, pointwise.upscale(LR, **TILES))


@pytest.mark.parametrize(
    ("changes", "options", "message"),
    [
        ({"model_sha256": "0" * 64}, {}, "for other weights"),
        ({}, {"steps": 3}, "for 2 steps, not for 3"),
        ({}, {"sampler": "heun"}, "sampler ancestral"),
        ({}, {"preset": "balanced"}, "preset: .* no 'balanced'; it has vivid, faithful"),
        ({}, {"alpha": 0.1}, "^alpha: the preset gives it"),
        ({}, {"through": "state"}, "^through: the preset is for mean, not state"),
    ],
)
def test_a_calibration_for_something_else_is_refused(small_upscalers, changes, options, message):
    upscaler = small_upscalers["channel"]
    with pytest.raises(ValueError, match=message) as caught:
        upscaler.upscale(LR, **{"preset": "vivid", "calibration": make_calibration(upscaler, **changes)} | options)
    assert isinstance(caught.value, CalibrationError) or message.startswith("^")

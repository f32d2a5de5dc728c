"""Test that the knob moves along the calibrated profile: through the presets, and straight between them."""

import json
from pathlib import Path

import numpy as np
import pytest

from jaxsr.guidance.calibration_file import Calibration
from jaxsr.options import Options
from jaxsr.studio.knob import Knob, find_knob, make_ticks
from jaxsr.upscaling.knob_presets import apply_knob_preset, beyond_range

ASSETS = Path(__file__).parents[2] / "jaxsr/assets"
BUNDLED = sorted(ASSETS.glob("*/calibration-*.json"))


def knob_of(file: Path) -> Knob:
    calibration = Calibration.read(file)
    return Knob(calibration, make_ticks(calibration), calibration.steps)


@pytest.mark.parametrize("file", BUNDLED, ids=lambda file: f"{file.parent.name}-{file.stem}")
def test_the_knob_passes_through_the_presets_of_every_bundled_calibration(file):
    knob = knob_of(file)
    assert knob.calibration is not None
    names = [name for tick in knob.ticks for name in tick.names]
    assert names == ["faithful", "balanced", "vivid"]
    if len(knob.ticks) == 1:
        pytest.skip("its presets are equal")
    for tick in knob.ticks:
        for name in tick.names:
            preset, turned = (
                apply_knob_preset(Options(steps=knob.steps), name, knob.calibration),
                knob.turned(Options(steps=knob.steps), tick.position),
            )
            assert turned.alphas == preset.alphas
            one = (1.0,) * knob.steps
            assert turned.numbers("temperature") or one == pytest.approx(preset.numbers("temperature") or one, abs=1e-4)
            assert turned.projection == pytest.approx(preset.projection, abs=1e-4)
            assert turned.gradient == preset.gradient


@pytest.mark.parametrize("file", BUNDLED, ids=lambda file: f"{file.parent.name}-{file.stem}")
def test_the_warning_begins_where_the_shade_of_the_calibrated_range_ends(file):
    if len(knob_of(file).ticks) == 1:
        pytest.skip("its presets are equal")
    told = knob_of(file).describe()
    low, high = told["calibrated"]
    assert low <= 0
    assert high >= 100
    for notch in told["notches"]:
        inside = low <= notch["position"] <= high
        assert inside == (notch["note"] is None)
        assert inside or "outside of the calibrated range" in notch["note"]


def test_between_two_ticks_the_numbers_lie_on_a_straight_line(calibrated):
    knob = find_knob(calibrated, Options())
    low, middle, high = (knob.turned(Options(), position) for position in (0.0, 25.0, 50.0))
    assert np.allclose(middle.alphas, (np.array(low.alphas) + high.alphas) / 2)
    assert low.numbers("temperature") == (1.0, 0.0)
    assert middle.numbers("temperature") == (1.0, 0.5)
    assert high.temperature is None  # 1 at every step
    assert (low.projection, middle.projection, high.projection) == (0.5, 0.25, 0.0)


def test_beyond_the_ends_only_the_scales_go_on(calibrated):
    knob = find_knob(calibrated, Options())
    end, beyond = knob.turned(Options(), 0.0), knob.turned(Options(), -50.0)
    assert beyond.alphas == pytest.approx((-0.5, -0.2))
    assert (beyond.temperature, beyond.projection) == (end.temperature, end.projection)
    assert knob.calibration is not None
    assert beyond_range(beyond, [beyond.alphas], knob.calibration)


def test_the_options_go_before_the_knob(calibrated):
    knob = find_knob(calibrated, Options())
    turned = knob.turned(Options(temperature=0.3, projection=1.0), 0.0)
    assert (turned.temperature, turned.projection) == (0.3, 1.0)
    with pytest.raises(ValueError, match="alpha: the knob gives it"):
        knob.turned(Options(alpha=0.1), 0.0)


@pytest.mark.parametrize("position", [-51.0, 151.0])
def test_a_position_beyond_the_knob_is_refused(calibrated, position):
    with pytest.raises(ValueError, match="knob: must be from -50 to 150"):
        find_knob(calibrated, Options()).turned(Options(), position)


def test_without_a_calibration_the_knob_is_one_number_and_says_so(calibrated):
    knob = find_knob(calibrated, Options(steps=3))
    told = knob.describe()
    assert told["calibrated"] is None
    assert told["ticks"] == []
    assert told["reason"] == "No calibration fits 3 steps of the sampler ancestral."
    assert [knob.turned(Options(), position).alphas for position in (-100.0, 0.0, 50.0)] == [(-0.2,), (0.0,), (0.1,)]


def test_equal_presets_share_a_tick(tmp_path):
    content = json.loads((ASSETS / "photo-x4/calibration-deterministic-8.json").read_text())
    content["presets"]["vivid"] = content["presets"]["balanced"]
    (tmp_path / "equal.json").write_text(json.dumps(content))
    ticks = knob_of(tmp_path / "equal.json").ticks
    assert [(tick.names, tick.position) for tick in ticks] == [(("faithful",), 0.0), (("balanced", "vivid"), 100.0)]

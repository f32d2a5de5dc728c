"""Test that the calibration file reads back as written, is never half-written, and is refused where it does not fit."""

import json
from dataclasses import replace
from pathlib import Path

import jaxtyping
import numpy as np
import pytest

from jaxsr.diffusion import exponential_schedule, thin
from jaxsr.guidance.calibration_file import FORMAT_VERSION, Calibration, CalibrationError, check, describe_schedule
from tests.mutations import spoilt

SCHEDULE = thin(exponential_schedule(15), 4)
VIVID = [0.35, 0.1, 0.05, 0.0]
CLOSED = {"psnr": [1.5, 2.5, 3.5], "range": [[-0.1, 0.3]] * 4, "constant_range": [[-0.1, 0.2]]}
WORDS = {"temperature": [1.0] * 4, "projection": 0.0, "rule": "r", "change": {}, "warning": ""}


def made(**changes) -> Calibration:
    base = {
        "model": "tiny-x4",
        "model_sha256": "ab" * 32,
        "schedule": describe_schedule(SCHEDULE),
        "sampler": "ancestral",
        "thinning": "ends",
        "precision": "fp32",
        "through": "mean",
        "reference_mean": "clean",
        "reference_variance": "posterior",
        "forward_ode": "diffusion",
        "objective": "norm",
        "candidates": [-0.5, 0.0, 0.5],
        "data": {"sha256": "cd" * 32, "pairs": 12, "crop": 64},
        "seed": 3,
        "presets": {"vivid": {"scale": VIVID, **WORDS}},
        "reference": {"slope": [0.0] * 4, "offset": [0.0] * 4},
        "open_loop": {"losses": [[1.0, 2.0, 3.0]] * 4},
    }
    return Calibration(**base | changes)


def test_what_was_written_is_read(tmp_path: Path) -> None:
    path = tmp_path / "calib.json"
    for calibration in (made(), made(closed_loop=CLOSED, reference_mean="shifted", seed=4)):
        calibration.write(path)
        assert Calibration.read(path) == calibration
        assert [file.name for file in tmp_path.iterdir()] == ["calib.json"]
    assert "scale > 0 leads away from the LR image" in json.loads(path.read_text())["sign_convention"]
    assert Calibration.read(str(path)).scale("vivid") == tuple(VIVID)


def test_a_file_from_before_the_projection_is_read(tmp_path: Path) -> None:
    path = tmp_path / "calib.json"
    made().write(path)
    content = json.loads(path.read_text())
    del content["presets"]["vivid"]["projection"], content["presets"]["vivid"]["temperature"]
    path.write_text(json.dumps(content | {"format_version": 2}))
    assert Calibration.read(path) == made()
    path.write_text('{"format_version": 2}')
    with pytest.raises(CalibrationError, match=r"calib\.json: is a damaged calibration .*; calibrate again"):
        Calibration.read(path)


def test_a_file_that_cannot_be_written_leaves_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "calib.json"
    made().write(path)
    before = path.read_bytes()
    with pytest.raises(
        CalibrationError, match=r"calib\.json: was not written because the calibration has numbers that are not finite"
    ):
        made(open_loop={"losses": [float("nan")]}).write(path)
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["calib.json"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "is not a calibration file, or is truncated"),
        ('{"format_version": 1, "mod', "is not a calibration file, or is truncated"),
        ("\udcff", "is not a calibration file, or is truncated"),
        ("[1, 2]", "is not a calibration; make one with python -m jaxsr.calibrate"),
        ('{"model": "x"}', "is not a calibration;"),
        ('{"format_version": 99}', "has calibration format 99 and this jaxsr reads format 3; update jaxsr"),
        ('{"format_version": 3}', "has missing or unknown keys: candidates, closed_loop"),
        ('{"format_version": 1}', "was made with another reading of Algorithm 1 .*; calibrate again with python -m"),
    ],
)
def test_another_file_is_refused_by_name(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "x.json"
    path.write_bytes(content.encode("utf-8", "surrogateescape"))
    with pytest.raises(CalibrationError, match=rf"x\.json: {message}"):
        Calibration.read(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"extra": 1}, "has missing or unknown keys: extra"),
        ({"presets": {}, "schedule": {}}, "the schedule needs eta, input_scaling, kappa, timestep_map"),
        (
            {"presets": {"vivid": {"scale": VIVID}}},
            "is a damaged calibration .*missing required field `temperature`.*; calibrate again",
        ),
        ({"presets": {"vivid": WORDS | {"scale": "high"}}}, "is a damaged calibration|needs a rule and 4 finite"),
        ({"reference": {"slope": [0.0], "offset": [0.0]}}, "reference needs 4 finite slopes and offsets"),
        ({"presets": 3}, "is a damaged calibration"),
        ({"schedule": 3}, "is a damaged calibration"),
        ({"through": "noise"}, "is a damaged calibration .through: Invalid enum value 'noise'.; calibrate again"),
    ],
)
def test_a_damaged_file_is_refused_by_name(monkeypatch, tmp_path: Path, change: dict, message: str) -> None:
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)  # it would raise before us
    path = tmp_path / "x.json"
    made().write(path)
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(CalibrationError, match=rf"x\.json: ({message}|preset vivid {message})"):
        Calibration.read(path)


def test_a_file_that_is_not_there_is_an_oserror(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"x\.json"):
        Calibration.read(tmp_path / "x.json")


VALUES = (None, "x", -1, 1e300, True, [], {}, [1] * 70, [[]], 1.5, {"a": 1})


def test_any_value_anywhere_is_read_or_refused_by_the_name_of_the_file(tmp_path: Path, monkeypatch) -> None:
    """Whatever is read can be used."""
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)  # it would raise before us
    path, refused = tmp_path / "x.json", 0
    made(closed_loop=CLOSED).write(path)
    whole = json.loads(path.read_text())
    places = [(key,) for key in whole]
    places += [
        (key, part) for key in ("schedule", "presets", "reference", "closed_loop", "data") for part in whole[key]
    ]
    places += [("presets", "vivid", part) for part in whole["presets"]["vivid"]]
    places += [("presets", "vivid", "scale", 0), ("closed_loop", "range", 1), ("closed_loop", "constant_range", 0)]
    for data in spoilt(whole, places, VALUES):
        path.write_text(json.dumps(data))
        try:
            found = Calibration.read(path)
        except CalibrationError as error:
            refused += 1
            assert str(error).startswith(f"{path}: "), error  # noqa: PT017
        else:
            assert all(isinstance(found.knob_range(steps), list | None) for steps in (1, 4))
            assert all(len(found.scale(name)) == 4 for name in found.presets)
    assert refused > 300


@pytest.mark.parametrize(
    ("name", "preset", "message"),
    [
        (
            "pretty",
            {"scale": VIVID, **WORDS},
            "'pretty' is not the name of a preset; use one of open-loop, fitted, faithful",
        ),
        ("vivid", WORDS | {"scale": VIVID[:3]}, "needs a rule and 4 finite scales"),
        ("vivid", WORDS | {"scale": [*VIVID[:3], float("inf")]}, "needs a rule and 4 finite scales"),
        ("vivid", WORDS | {"scale": VIVID, "rule": ""}, "needs a rule and 4 finite scales"),
        ("vivid", WORDS | {"scale": VIVID, "temperature": [1.0]}, "needs 4 temperatures of 0 or more, got .1.0."),
        ("vivid", WORDS | {"scale": VIVID, "temperature": [-1.0] * 4}, "needs 4 temperatures of 0 or more"),
        ("vivid", WORDS | {"scale": VIVID, "projection": 2}, "needs a projection from 0 to 1, got 2"),
    ],
)
def test_presets_are_checked(name: str, preset: dict, message: str) -> None:
    with pytest.raises(CalibrationError, match=message):
        made(presets={name: preset})


def test_a_preset_that_is_not_there_is_refused() -> None:
    with pytest.raises(CalibrationError, match="preset: this calibration has no 'balanced'; it has vivid"):
        made().scale("balanced")


def test_it_is_refused_for_another_model_schedule_or_sampler() -> None:
    check(made(), "ab" * 32, SCHEDULE, "ancestral")
    rounded = replace(SCHEDULE, eta=SCHEDULE.eta * (1 + 1e-14))  # as by another machine's power function
    check(made(), "ab" * 32, rounded, "ancestral")
    fifteen = exponential_schedule(15)
    for arguments, message in (
        (("ef" * 32, SCHEDULE, "ancestral"), r"other weights \(tiny-x4, sha256 abababababab\), not for these \(efef"),
        (("ab" * 32, fifteen, "ancestral"), "for 4 steps, not for 15: use --steps 4"),
        (("ab" * 32, thin(fifteen, 4, keep="released"), "ancestral"), "another schedule of 4 steps"),
        (("ab" * 32, replace(SCHEDULE, kappa=1.0), "ancestral"), "another schedule of 4 steps"),
        (("ab" * 32, replace(SCHEDULE, timestep_map=np.arange(4)), "ancestral"), "another schedule of 4 steps"),
        (("ab" * 32, replace(SCHEDULE, input_scaling="pixel"), "ancestral"), "another schedule of 4 steps"),
        (("ab" * 32, SCHEDULE, "heun"), "for the sampler ancestral, not for heun: use --sampler ancestral"),
    ):
        with pytest.raises(CalibrationError, match=message):
            check(made(), *arguments)


def test_the_format_and_the_version_are_recorded(tmp_path: Path) -> None:
    made().write(tmp_path / "c.json")
    content = json.loads((tmp_path / "c.json").read_text())
    assert content["format_version"] == FORMAT_VERSION
    assert content["jaxsr_version"]

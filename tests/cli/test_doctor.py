"""Test the doctor: what it finds on this machine, and that it sees a knob, weights or models that do not work."""

import json
from dataclasses import replace

import numpy as np
import pytest

from jaxsr.cli import doctor
from jaxsr.cli.commands import main
from jaxsr.runtime import compilation
from jaxsr.upscaling import knob_trial
from jaxsr.upscaling.knob_trial import ALPHAS, SIDE, KnobTrial, trial_picture, try_knob
from jaxsr.upscaling.upscaler import Upscaler

GOOD = KnobTrial((-0.1, 0.0, 0.1), (1.0, 2.0, 3.0), finite=True, zero_is_plain=True, zero_gap=0.0)


@pytest.fixture(autouse=True)
def quick(monkeypatch, tmp_path, small_upscalers):
    monkeypatch.setenv("JAXSR_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("JAXSR_CACHE", "off")
    monkeypatch.setattr("jaxsr.upscaling.loading.load", lambda name, *, accept_license: small_upscalers["channel"])
    monkeypatch.setattr(knob_trial, "try_knob", lambda upscaler: GOOD)


def found(capsys, code: int = 0, *words: str) -> dict[str, list[dict]]:
    assert main(["doctor", "--json", *words]) == code
    report = json.loads(capsys.readouterr().out)
    assert report["ok"] == (code == 0)
    by_name: dict[str, list[dict]] = {}
    for one in report["findings"]:
        by_name.setdefault(one["name"], []).append(one)
    return by_name


def test_this_installation_is_well(capsys):
    report = found(capsys)
    assert list(report) == ["versions", "machine", "devices", "onednn", "cache", "models", "weights", "knob"]
    assert "jax " in report["versions"][0]["text"]
    assert any(one["text"].startswith("photo-x4: ") for one in report["models"])
    assert "lpips-alex" in report["weights"][0]["text"]
    assert "alpha -0.1: 1.00, 0: 2.00, 0.1: 3.00" in report["knob"][0]["text"]
    assert main(["doctor"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1] == "nothing failed"
    assert lines[0].startswith("ok   versions   Python 3.")


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"finite": False}, "some pixels are not numbers"),
        ({"zero_is_plain": False}, "alpha = 0 does not give the bits of the plain sampler"),
        ({"zero_gap": 0.01}, "the guided program with a scale of 0 is not the plain sampler"),
        ({"residuals": (1.0, 1.0, 2.0)}, "a larger alpha does not lead farther away from the input"),
    ],
)
def test_a_knob_that_does_not_work_fails(wrong, said, monkeypatch, capsys):
    trial = replace(GOOD, **wrong)
    assert trial.problems == [said]
    monkeypatch.setattr(knob_trial, "try_knob", lambda upscaler: trial)
    assert said in found(capsys, 1)["knob"][0]["text"]
    assert main(["doctor"]) == 1
    assert capsys.readouterr().out.splitlines()[-1] == "failed: knob"


def test_a_check_that_breaks_is_a_failure_and_the_others_go_on(monkeypatch, capsys):
    def broken(args):
        raise OSError("no such thing")
        yield

    broken.__name__ = "_check_weights"
    checks = tuple(broken if check.__name__ == "_check_weights" else check for check in doctor.CHECKS)
    monkeypatch.setattr(doctor, "CHECKS", checks)
    report = found(capsys, 1)
    assert report["weights"] == [{"name": "weights", "status": "fail", "text": "OSError: no such thing"}]
    assert report["knob"][0]["status"] == "ok"


def test_a_damaged_bundled_model_is_seen(monkeypatch, capsys):
    monkeypatch.setattr("jaxsr.storage.sha256_file", lambda path: "0" * 64)
    models = found(capsys, 1)["models"]
    assert [one["status"] for one in models] == ["fail", "fail", "ok"]
    assert "damaged: install jaxsr again" in models[0]["text"]


def test_a_cache_is_looked_at_and_one_that_cannot_be_written_is_a_note(monkeypatch, capsys, tmp_path):
    assert "JAXSR_CACHE" in found(capsys)["cache"][0]["text"]
    monkeypatch.setenv("JAXSR_CACHE", "on")
    monkeypatch.setattr(compilation, "enable_compilation_cache", lambda *_: None)
    assert "0 files" in found(capsys)["cache"][0]["text"]
    (tmp_path / "file").touch()
    monkeypatch.setenv("JAXSR_CACHE_DIR", str(tmp_path / "file"))
    report = found(capsys)
    assert (report["cache"][0]["status"], report["knob"][0]["status"]) == ("note", "ok")


def test_a_model_that_needs_a_mask_has_no_such_trial(capsys):
    assert "needs a mask" in found(capsys, 1, "-n", "resshift-inpainting-face")["knob"][0]["text"].replace(
        "fills in the part of an image that a mask marks", "needs a mask"
    )


def test_the_trial_itself_on_the_small_network(pointwise):
    trial = try_knob(pointwise)
    assert trial.finite
    assert trial.zero_is_plain
    assert trial.zero_gap < 1e-5
    assert len(trial.residuals) == len(ALPHAS)
    assert len(set(trial.residuals)) == len(ALPHAS)
    picture = trial_picture()
    assert picture.shape == (SIDE, SIDE, 3)
    assert 0.05 <= picture.min() < picture.max() <= np.float32(0.95)


def test_a_trial_sees_numbers_that_are_none_and_guidance_that_does_nothing(pointwise, monkeypatch):
    def network(params, key, tiles, origins, guides=None):
        plain = tiles.repeat(4, axis=1).repeat(4, axis=2)
        return plain if guides is None else np.concatenate([plain] * len(ALPHAS), -1)

    monkeypatch.setattr(Upscaler, "compiled", lambda *_: network)
    trial = try_knob(pointwise)
    assert trial.problems == ["a larger alpha does not lead farther away from the input"]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["photo-x4", "tiny-x4"])
def test_the_knob_of_the_bundled_models_works(name, monkeypatch):
    monkeypatch.undo()
    from jaxsr.upscaling.loading import load

    assert try_knob(load(name)).problems == []

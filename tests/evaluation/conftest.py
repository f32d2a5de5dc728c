"""Fixtures of several test files: a model whose results depend on all the arguments of its calls, and a suite."""

from dataclasses import replace
from types import SimpleNamespace
from zlib import crc32

import numpy as np
import pytest

from jaxsr.cli import evaluate
from jaxsr.cli import evaluate_request as request
from jaxsr.evaluation import methods, suite
from jaxsr.upscaling import loading
from jaxsr.upscaling.upscaler import Upscaler
from tests.evaluation.pictures import picture, save


@pytest.fixture
def fake(small_upscalers, monkeypatch):
    """Replace the model with one whose results depend on all its arguments; return the list of these arguments."""
    calls = []

    def upscale(self, image, *, seed, reference=None, reference_box=None, **options):
        record = {"seed": seed, "box": reference_box} | options
        calls.append(record | {"shape": image.shape, "reference": reference})
        noise = np.random.default_rng(crc32(repr(record).encode())).uniform(-0.05, 0.05, (4, 4, 3))
        big = image.repeat(4, 0).repeat(4, 1)
        return np.clip(big + np.tile(noise, (image.shape[0], image.shape[1], 1)), 0, 1).astype(np.float32)

    def apply(options, preset, calibration, *, reference):
        return replace(options, alpha=0.1 * len(preset))

    upscaler = small_upscalers["channel"]
    monkeypatch.setattr(Upscaler, "upscale", upscale)
    monkeypatch.setattr(
        Upscaler, "find_calibration", lambda *_: SimpleNamespace(calibration=None, path=None, sha256=None)
    )
    monkeypatch.setattr(methods, "apply_knob_preset", apply)
    known = lambda self, options, alphas, preset, calibration: ["preset vivid lost 3 dB"] if preset == "vivid" else []  # noqa: E731
    monkeypatch.setattr(Upscaler, "knob_notes", known)
    monkeypatch.setattr(request, "load", lambda name, accept_license: upscaler)
    monkeypatch.setattr(loading, "load", lambda name, accept_license: upscaler)
    return calls


@pytest.fixture
def sets(tmp_path, monkeypatch, fake):
    """Return a function that runs the suite on two small sets, with a calibration of three presets."""
    for i in range(5):
        save(tmp_path / "data" / "set5" / f"{i}.png", picture(i))
        save(tmp_path / "data" / "set14" / f"{i}.png", picture(5 + i))
    monkeypatch.setattr(suite, "PROTOCOLS", dict.fromkeys(("set5", "set14"), "rgb"))
    presets = {name: {} for name in suite.PRESETS}
    found = SimpleNamespace(calibration=SimpleNamespace(presets=presets), path=None, sha256=None)
    monkeypatch.setattr(Upscaler, "find_calibration", lambda *_: found)

    def run_it(*more: object) -> int:
        words = ("suite", "--data", tmp_path / "data", "-o", tmp_path / "out", "--sets", "set5", "set14", "-m", "psnr")
        words += () if "-n" in more else ("-n", "m")
        return evaluate.main([str(word) for word in (*words, "--steps", 1, 2, "--limit", 2, *more)])

    return run_it

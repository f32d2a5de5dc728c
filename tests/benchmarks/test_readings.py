"""Test that the benchmarks of Algorithm 1 and of transfers compare what their tables say."""

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from benchmarks import readings, transfer
from jaxsr.evaluation.methods import bicubic_method
from jaxsr.evaluation.pairs import Item
from jaxsr.evaluation.protocol_files import load_protocol
from jaxsr.guidance.calibration_file import Calibration
from tests.small_model import enlarged
from tests.upscaling.small_calibration import make_calibration

OPEN_LOOP = {"norm": {"weighted_median": [0.01, 0.2]}, "step-norm": {"weighted_median": [0.9, 0.8]}}


def test_the_rows_are_both_readings_and_the_presets_at_the_models_steps(small_upscalers, tmp_path):
    upscaler = replace(small_upscalers["channel"], source=tmp_path / "model.safetensors")
    presets = {
        name: {
            "scale": [scale, 0.0],
            "temperature": [1.0, 1.2],
            "projection": 0.5,
            "rule": "by hand",
            "change": {},
            "warning": "",
        }
        for name, scale in (("balanced", 0.1), ("vivid", 0.3))
    }
    make_calibration(upscaler, open_loop=OPEN_LOOP, presets=presets).write(tmp_path / "calibration.json")
    found = {method.name: method.record["options"] for method in readings.methods(upscaler, "m", 2, "ancestral")}
    for name, options in found.items():
        whole = name in presets
        assert (options["temperature"], options["projection"]) == (
            (1.0, 1.2) if whole else None,
            0.5 if whole else None,
        )
    assert {name: options["alpha"] for name, options in found.items()} == {
        "plain": (0.0,),
        "printed": (0.01, 0.2),
        "step-norm": (0.9, 0.8),
        "balanced": (0.1, 0.0),
        "vivid": (0.3, 0.0),
    }


def test_rows_are_scored_once_and_resumed(small_upscalers, tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (16, 16, 3), np.uint8)
    Image.fromarray(enlarged(pixels)).save(tmp_path / "hr.png")
    made = []

    def make(pair, seed):
        made.append(pair.image)
        return pair.hr / 255

    row = replace(bicubic_method(4), name="copy", make=make)
    shared = {"items": [Item("a", target=tmp_path / "hr.png")], "data": "x", "make_lr": True}
    for _ in range(2):
        (found,) = readings.score_all([row], ("psnr",), tmp_path, "x-4", protocol=load_protocol("plain"), **shared)
        assert (found.name, found.images[0]["psnr"]) == ("copy", 100)
    assert made == ["a"]


@pytest.mark.slow
def test_a_fit_is_made_once_by_the_command_and_used_by_all_rows(small_checkpoints, tmp_path, capsys):
    pixels = np.random.default_rng(0).integers(0, 256, (16, 16, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "lr.png")
    Image.fromarray(enlarged(pixels)).save(tmp_path / "hr.png")
    item = Item("Canon_1", target=tmp_path / "hr.png", lr=tmp_path / "lr.png")
    model = str(small_checkpoints["channel"])
    files = {name: transfer.fit(item, name, model, tmp_path) for name in transfer.OBJECTIVES}
    changed = [file.stat().st_mtime_ns for file in files.values()]
    assert [transfer.fit(item, name, model, tmp_path).stat().st_mtime_ns for name in files] == changed
    saved = {name: Calibration.read(file) for name, file in files.items()}
    assert [one.objective for one in saved.values()] == ["lstsq", "norm"]
    upscaler = readings.jaxsr.load(model)
    rows = {method.name: method.record["options"] for method in transfer.methods(upscaler, model, files)}
    scales = {name: tuple(one.presets["fitted"]["scale"]) for name, one in saved.items()}
    assert rows["plain"]["alpha"] is rows["HR, fitted to each"]["alpha"] is None
    assert rows["fitted, least squares"]["alpha"] == rows["HR, A and B of the file"]["alpha"] == scales["lstsq"]
    assert rows["fitted, Algorithm 1 as printed"]["alpha"] == scales["norm"] != scales["lstsq"]
    assert rows["HR, A and B of the file"]["reference_slope"] == tuple(saved["lstsq"].reference["slope"])
    assert rows["fitted, least squares"]["reference_slope"] is None

"""Test that evaluation and study on several devices give the numbers of one."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from jaxsr.numerics.run import load_part
from tests.reliability.kills import COMMANDS, write_inputs

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_inputs(tmp_path_factory.mktemp("inputs") / "data")


def run(words: list[object], devices: int) -> None:
    variables = {"JAX_NUM_CPU_DEVICES": str(devices), "JAXSR_ONEDNN": "off", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", *map(str, words)]
    done = subprocess.run(command, env=os.environ | variables, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_an_evaluation(data, tmp_path):
    found = {}
    for devices in (1, 3):
        out = tmp_path / f"{devices}.json"
        words = ["jaxsr.evaluate", "-n", data / "model", "--dataset", data / "photos", "-m", "psnr", "ssim", "-o", out]
        run([*words, "--tile", 32, "--steps", 2], devices)
        found[devices] = json.loads(out.read_text())
    assert len(found[1]["images"]) == 6
    assert found[3]["images"] == found[1]["images"]
    assert found[3]["method"] == found[1]["method"]


def test_a_study(data, tmp_path):
    parts = {}
    for devices in (1, 3):
        run(COMMANDS["study"].words(data, tmp_path / str(devices)), devices)
        folder = tmp_path / str(devices) / "parts/dispersion"
        parts[devices] = {path.name: load_part(path) for path in sorted(folder.glob("*.npz"))}
    assert parts[1].keys() == parts[3].keys()
    assert len(parts[1]) > 3
    for name, values in parts[1].items():
        for key, value in values.items():
            np.testing.assert_allclose(parts[3][name][key], value, rtol=1e-5, atol=1e-6)

"""Test that commands killed at random moments resume to the same bytes, and that long runs start again quickly."""

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.reliability.kills import COMMANDS, kill_many

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_killed_at_random_moments_ends_as_if_it_had_not_been(name, tmp_path):
    counts = kill_many(name, 20, 0, tmp_path)
    assert counts["kills"] >= 20


def _run(words: list[object], folder: Path) -> tuple[float, str]:
    variables = os.environ | {"JAXSR_CACHE_DIR": str(folder / "cache"), "PYTHONPATH": str(ROOT)}
    began = time.perf_counter()
    command = [sys.executable, "-m", "jaxsr.sample", *map(str, words)]
    done = subprocess.run(command, env=variables, capture_output=True, text=True, check=True)
    return time.perf_counter() - began, done.stdout


@pytest.mark.slow
def test_ten_thousand_finished_files_are_passed_over_in_twenty_seconds(small_checkpoints, tmp_path):
    """All inputs have equal bytes, so that one result and its sidecar serve all of them."""
    source, output = tmp_path / "in", tmp_path / "out"
    source.mkdir()
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(source / "00000.png")
    words = ["-n", small_checkpoints["channel"], "-i", source, "-o", output]
    _run(words, tmp_path)
    seconds = {}
    for count in (1000, 10_000):
        for number in range(1, count):
            for folder, name in ((source, "00000.png"), (output, "00000.png"), (output, "00000.png.json")):
                if not (target := folder / name.replace("00000", f"{number:05}")).exists():
                    shutil.copy(folder / name, target)
        seconds[count], printed = _run(words, tmp_path)
        assert f"0 made, {count} there already" in printed
    assert seconds[10_000] < 20, seconds
    assert seconds[10_000] - seconds[1000] < 15 * max(seconds[1000], 1.0), seconds
    assert json.loads((output / "00042.png.json").read_text())["output_sha256"]

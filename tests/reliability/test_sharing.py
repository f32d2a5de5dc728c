"""Test that two processes on one folder share the work, and that nothing is made or measured twice."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.reliability.kills import COMMANDS, files_of, write_inputs

ROOT = Path(__file__).parents[2]


def _start(data: Path, out: Path, name: str = "study") -> subprocess.Popen:
    command = [sys.executable, "-m", *map(str, COMMANDS[name].words(data, out))]
    environment = os.environ | {"JAXSR_CACHE": "off", "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.mark.slow
def test_two_studies_measure_each_pair_once(tmp_path):
    data = write_inputs(tmp_path / "data")
    alone = _start(data, tmp_path / "whole/out")
    _, said = alone.communicate()
    assert alone.returncode == 0, said
    pairs = re.findall(r"^dispersion: (\S+) \(", said, re.MULTILINE)
    assert len(pairs) > 3
    both = [_start(data, tmp_path / "out") for _ in range(2)]
    said = [process.communicate()[1] for process in both]
    assert [process.returncode for process in both] == [0, 0], said
    measured = [re.findall(r"^dispersion: (\S+) \(", text, re.MULTILINE) for text in said]
    assert sorted(pair for some in measured for pair in some) == sorted(pairs)
    assert all(measured)  # each has had some
    assert files_of(tmp_path / "out", COMMANDS["study"]) == files_of(tmp_path / "whole/out", COMMANDS["study"])


@pytest.mark.slow
def test_two_samplings_make_each_result_once(tmp_path):
    data = write_inputs(tmp_path / "data")
    alone = _start(data, tmp_path / "whole/out", "sample")
    assert "6 made" in alone.communicate()[0]
    both = [_start(data, tmp_path / "out", "sample") for _ in range(2)]
    said = [process.communicate() for process in both]
    assert [process.returncode for process in both] == [0, 0], said
    made = [int(re.search(r"(\d+) made", out)[1]) for out, _ in said]
    assert sum(made) == 6
    assert files_of(tmp_path / "out", COMMANDS["sample"]) == files_of(tmp_path / "whole/out", COMMANDS["sample"])

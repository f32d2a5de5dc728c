"""Test commands on a computer without room, without a home, in the C locale: one sentence, nothing half-written."""

import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.reliability.kills import COMMANDS, write_inputs

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_inputs(tmp_path_factory.mktemp("inputs") / "data")


def run(name: str, data: Path, out: Path, before: str = "", **variables: str) -> subprocess.CompletedProcess:
    command = shlex.join([sys.executable, "-m", *map(str, COMMANDS[name].words(data, out))])
    environment = os.environ | {"JAXSR_CACHE": "off", "PYTHONPATH": str(ROOT)} | variables
    words = ["bash", "-c", f"{before} exec {command}"]
    return subprocess.run(words, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("name", ["sample", "evaluate"])
def test_a_full_disk(name, data, tmp_path):
    """No file may become larger than a block: as on a full disk, writing fails in the middle."""
    done = run(name, data, tmp_path / "out", "ulimit -f 1;")
    lines = done.stderr.splitlines()
    assert done.returncode in (1, 3), done.stderr
    assert lines
    assert all(line.startswith(("error: ", "failed: ")) and str(tmp_path / "out") in line for line in lines), lines
    assert not [path for path in (tmp_path / "out").rglob("*") if path.suffix in (".png", ".json", ".csv", ".tmp")]


@pytest.mark.parametrize("name", COMMANDS)
def test_a_folder_that_cannot_be_made(name, data):
    done = run(name, data, Path("/proc/out"))
    assert done.returncode in (1, 3)
    assert "/proc/" in done.stderr
    assert "Traceback" not in done.stderr
    assert all(line.startswith(("error: ", "failed: ")) for line in done.stderr.splitlines()[-1:])


def test_without_a_home_and_in_the_c_locale(data, tmp_path):
    (tmp_path / "é☃").mkdir()
    (tmp_path / "é☃/b.png").write_bytes((data / "photos/0.png").read_bytes())
    clean = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "HOME": "/nonexistent"}
    model, source, out = map(shlex.quote, map(str, (data / "model", tmp_path / "é☃", tmp_path / "out")))
    command = f"{sys.executable} -m jaxsr.sample -n {model} -i {source} -o {out} --recursive"
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)} | clean
    done = subprocess.run(["bash", "-c", command], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["b.png", "b.png.json"]

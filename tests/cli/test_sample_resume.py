"""Test repeated runs of the sample command: finished results are kept, and a stopped or killed run resumes."""

import os
import re
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from jaxsr.storage import _prefix, sha256_file
from jaxsr.upscaling.upscaler import Upscaler
from tests.cli.sampling import files, picture, read_pixels, run, sidecar, start
from tests.small_model import enlarged, nearest

pytestmark = pytest.mark.usefixtures("model")


def test_leftovers_of_a_killed_run_are_removed(exact, tmp_path):
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    leftover = tmp_path / f"out/{_prefix()}{process.pid}.abc.tmp/a.png"
    leftover.parent.mkdir(parents=True)
    leftover.touch()
    picture(tmp_path / "a.png")
    assert run("-i", tmp_path / "a.png", "-o", tmp_path / "out") == 0
    assert sorted(os.listdir(tmp_path / "out")) == ["a.png", "a.png.json"]


def test_finished_results_are_skipped_and_others_kept(exact, tmp_path, capsys):
    picture(tmp_path / "in/a.png", seed=0)
    picture(tmp_path / "in/b.png", seed=1)
    words = ["-i", tmp_path / "in", "-o", tmp_path / "out"]
    assert run(*words) == 0
    result = tmp_path / "out/a.png"
    before = result.stat().st_mtime_ns
    assert run(*words, "--batch", 3) == 0  # the batch does not change results
    assert result.stat().st_mtime_ns == before
    assert "0 made, 2 there already, 0 failed" in capsys.readouterr().out

    assert run(*words, "--seed", 1) == 3
    pixels = picture(tmp_path / "in/a.png", seed=2)
    assert run(*words) == 3
    out, err = capsys.readouterr()
    assert "0 made, 1 there already, 1 failed" in out
    assert err.count("--overwrite") == 3
    assert result.stat().st_mtime_ns == before

    assert run(*words, "--overwrite") == 0
    np.testing.assert_array_equal(read_pixels(result), enlarged(pixels))


def test_ctrl_c_stops_with_what_is_done(exact, tmp_path, monkeypatch, capsys):
    corners = [picture(tmp_path / f"in/{name}.png", seed=i)[0, 0] / 255 for i, name in enumerate("abc")]
    stopped = []

    def interrupted(params, key, tiles, origins):
        if not stopped and np.allclose(tiles[0, 0, 0], corners[1]):  # while b's call runs; a's has ended before it
            stopped.append(1)
            raise KeyboardInterrupt
        return nearest(params, key, tiles, origins)

    monkeypatch.setattr(Upscaler, "compiled", lambda self, options, *_: interrupted)
    words = ["-i", tmp_path / "in", "-o", tmp_path / "out"]
    assert run(*words) == 130
    assert "run the same command again" in capsys.readouterr().err
    assert files(tmp_path / "out") == ["a.png", "a.png.json"]
    assert run(*words) == 0
    assert "2 made" in capsys.readouterr().out


@pytest.mark.slow
def test_a_killed_run_goes_on_where_it_was(exact, tmp_path, small_checkpoints, tmp_path_factory, capsys):
    for number in range(40):
        picture(tmp_path / f"in/{number:02}.png", (60, 60), number)
    words = ["-i", str(tmp_path / "in"), "-o", str(tmp_path / "out"), "--tile", "32"]
    process = start(words, tmp_path_factory.getbasetemp(), small_checkpoints["channel"])
    while not (tmp_path / "out/01.png").exists() and process.poll() is None:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    output, _ = process.communicate()
    assert process.returncode == -signal.SIGKILL, output
    finished = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").glob("*.png")}
    assert 2 <= len(finished) < 40
    for path in finished:
        assert sidecar(path)["output_sha256"] == sha256_file(path)

    assert run(*words) == 0
    assert f"{40 - len(finished)} made" in capsys.readouterr().out
    names = [f"{number:02}.png" for number in range(40)]
    assert files(tmp_path / "out") == sorted([*names, *(f"{name}.json" for name in names)])
    assert {path: path.stat().st_mtime_ns for path in finished} == finished


@pytest.mark.slow
def test_two_processes_share_a_folder(tmp_path, small_checkpoints, tmp_path_factory):
    for number in range(40):
        picture(tmp_path / f"in/{number:02}.png", (60, 60), number)
    words = ["-i", str(tmp_path / "in"), "-o", str(tmp_path / "out"), "--tile", "32", "--overwrite"]
    both = [start(words, tmp_path_factory.getbasetemp(), small_checkpoints["channel"]) for _ in range(2)]
    outputs = [process.communicate()[0] for process in both]
    assert [process.returncode for process in both] == [0, 0], outputs
    counts = [re.search(r"(\d+) made.*, (\d+) there already, 0 failed", output) for output in outputs]
    assert sum(int(found[1]) for found in counts if found) == 40, outputs
    assert all(int(found[1]) + int(found[2]) == 40 for found in counts if found), outputs
    names = [f"{number:02}.png" for number in range(40)]
    assert files(tmp_path / "out") == sorted([*names, *(f"{name}.json" for name in names)])
    for name in names:
        assert sidecar(tmp_path / "out" / name)["output_sha256"] == sha256_file(tmp_path / "out" / name)

"""Test that devices, shards and processes share the images of a folder, and make the same bytes as one."""

import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.cli.sampling import run

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.usefixtures("model")


def write_folder(folder: Path, count: int = 6) -> Path:
    folder.mkdir()
    for number in range(count):
        pixels = np.random.default_rng(number).integers(0, 256, (20 + 9 * number, 40, 3), np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")
    return folder


def results(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.glob("*.png"))}


def start(checkpoint: Path, source: Path, out: Path, *words: object, devices: int = 1) -> subprocess.Popen:
    variables = {"JAX_NUM_CPU_DEVICES": str(devices), "PYTHONPATH": str(ROOT)}
    variables |= {"JAXSR_CACHE": "off", "JAXSR_ONEDNN": "off"}
    command = [sys.executable, "-m", "jaxsr.sample", "-n", checkpoint, "-i", source, "-o", out, "--tile", 32, *words]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen([*map(str, command)], env=os.environ | variables, **pipes)


def finish(process: subprocess.Popen) -> str:
    out, err = process.communicate()
    assert process.returncode == 0, err
    return out


@pytest.mark.slow
def test_eight_devices_make_the_bytes_of_one(small_checkpoints, tmp_path):
    source, checkpoint = write_folder(tmp_path / "in"), small_checkpoints["channel"]
    finish(start(checkpoint, source, tmp_path / "eight", devices=8))
    finish(start(checkpoint, source, tmp_path / "one", "--devices", 1, devices=8))
    assert len(results(tmp_path / "one")) == 6
    assert results(tmp_path / "eight") == results(tmp_path / "one")


def test_more_devices_than_there_are_are_refused(exact, tmp_path, capsys):
    write_folder(tmp_path / "in", 1)
    assert run("-i", tmp_path / "in", "-o", tmp_path / "out", "--devices", 99) == 1
    assert re.match(r"error: --devices: there are 1 of the kind cpu, not 99; give fewer", capsys.readouterr().err)
    assert not (tmp_path / "out").exists()


def test_shards_make_every_image_once(exact, tmp_path, capsys):
    source = write_folder(tmp_path / "in")
    counts = []
    for number in (1, 2, 3):
        assert run("-i", source, "-o", tmp_path / "out", "--shard", f"{number}/3") == 0
        counts.append(int(re.match(r"(\d+) made", capsys.readouterr().out)[1]))
    assert sum(counts) == 6
    assert max(counts) < 6
    assert len(results(tmp_path / "out")) == 6


@pytest.mark.parametrize("shard", ["0/3", "4/3", "2", "a/b", "1/0"])
def test_shards_that_are_none_are_refused(shard, tmp_path, capsys):
    with pytest.raises(SystemExit):
        run("-i", tmp_path, "--shard", shard)
    assert "must be I/N with I from 1 to N" in capsys.readouterr().err


def test_a_shard_of_a_shard_is_refused(tmp_path, capsys):
    with pytest.raises(SystemExit):
        run("-i", tmp_path, "--shard", "1/2", "--distributed")
    assert "--shard: the processes of --distributed share the images" in capsys.readouterr().err


@pytest.mark.slow
def test_two_processes_share_the_images_and_say_it_once(small_checkpoints, tmp_path):
    source, checkpoint = write_folder(tmp_path / "in"), small_checkpoints["channel"]
    with socket.socket() as free:
        free.bind(("localhost", 0))
        address = f"localhost:{free.getsockname()[1]}"
    hosts = ("--coordinator", address, "--num-processes", 2, "--process-id")
    both = [start(checkpoint, source, tmp_path / "out", *hosts, i, devices=2) for i in range(2)]
    said = [finish(process) for process in both]
    assert "all 2 processes: 6 made, 0 there already, 0 failed" in said[0]
    assert "all 2" not in said[1]
    assert sum(int(re.match(r"(\d+) made", text)[1]) for text in said) == 6
    finish(start(checkpoint, source, tmp_path / "alone", devices=2))
    assert results(tmp_path / "out") == results(tmp_path / "alone")

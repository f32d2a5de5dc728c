"""Test that two processes share a run as on two hosts, and that a killed one loses only its unfinished pictures."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from tests.reliability.kills import COMMANDS, files_of, write_inputs

ROOT = Path(__file__).parents[2]
NAMES = ("sample", "evaluate", "study")
pytestmark = pytest.mark.slow
_OWN = re.compile(rb" --coordinator \S+ --num-processes 2 --process-id \d")


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    return write_inputs(tmp_path_factory.mktemp("inputs") / "data")


@pytest.fixture(scope="module")
def alone(data, tmp_path_factory) -> dict[str, dict[str, bytes]]:
    """Return the files that each command writes in a process by itself."""
    found = {}
    for name in NAMES:
        out = tmp_path_factory.mktemp(name) / "out"
        (process,) = processes(name, data, out, 1)
        end([process])
        found[name] = found_in(name, out)
    return found


@pytest.fixture
def started() -> Iterator[list[subprocess.Popen]]:
    """Hold processes that end with the test."""
    held: list[subprocess.Popen] = []
    yield held
    for process in held:
        process.kill()
        process.communicate()


def processes(name: str, data: Path, out: Path, count: int) -> list[subprocess.Popen]:
    with socket.socket() as free:
        free.bind(("localhost", 0))
        address = f"localhost:{free.getsockname()[1]}"
    variables = {"JAX_NUM_CPU_DEVICES": "1", "PYTHONPATH": str(ROOT), "MPLBACKEND": "agg"}
    variables |= {"JAXSR_CACHE": "off", "JAXSR_ONEDNN": "off"}
    hosts = ("--coordinator", address, "--num-processes", count, "--process-id")
    words = COMMANDS[name].words(data, out)
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    commands = [[sys.executable, "-m", *map(str, [*words, *((*hosts, i) if count > 1 else ())])] for i in range(count)]
    return [subprocess.Popen(command, env=os.environ | variables, **pipes) for command in commands]


def end(running: list[subprocess.Popen]) -> list[str]:
    """Wait for processes to end well, and return what they have printed."""
    said = []
    for process in running:
        out, err = process.communicate()
        assert process.returncode == 0, err[-3000:]
        said.append(out)
    return said


def found_in(name: str, out: Path) -> dict[str, bytes]:
    return {file: _OWN.sub(b"", content) for file, content in files_of(out, COMMANDS[name]).items()}


def finished(name: str, out: Path) -> dict[str, object]:
    """Return what tells the finished pictures of a run apart, and whether they are made again."""
    if name == "evaluate":
        return {
            str(number) + path.name: line
            for path in out.glob("*.part*")
            for number, line in enumerate(path.read_bytes().splitlines(keepends=True))
            if b'"rows"' in line and line.endswith(b"\n")
        }
    pattern = "*.png.json" if name == "sample" else "parts/dispersion/*.npz"
    return {str(path): path.stat().st_mtime_ns for path in out.glob(pattern)}


def wait_for(condition: Callable[[], bool], running: list[subprocess.Popen]) -> None:
    until = time.monotonic() + 300
    while not condition():
        assert time.monotonic() < until
        assert all(process.poll() is None for process in running), running[0].communicate()
        time.sleep(0.005)


@pytest.mark.parametrize("name", NAMES)
def test_two_processes_make_what_one_makes(name, data, alone, tmp_path, started):
    started += processes(name, data, tmp_path / "out", 2)
    said = end(started)
    assert found_in(name, tmp_path / "out") == alone[name]
    told = {"sample": "all 2 processes: 6 made, 0 there already, 0 failed"} | dict.fromkeys(NAMES[1:], "written: ")
    assert told[name] in said[0]
    assert told[name] not in said[1]


@pytest.mark.parametrize("name", NAMES)
def test_a_killed_process_loses_only_its_unfinished_pictures(name, data, alone, tmp_path, started):
    out = tmp_path / "out"
    started += processes(name, data, out, 2)
    first, second = started
    wait_for(lambda: len(finished(name, out)) >= 1, started)
    second.kill()
    first.send_signal(signal.SIGSTOP)  # it would wait for the other until JAX gives up
    time.sleep(0.1)
    kept = finished(name, out)
    first.kill()
    for process in started:
        process.communicate()
    assert kept
    assert not (out / "r.json").exists()
    assert not (out / "report.html").exists()
    started[:] = processes(name, data, out, 2)
    said = end(started)
    assert found_in(name, out) == alone[name]
    if name == "sample":
        there = len(kept)
        assert f"all 2 processes: {6 - there} made, {there} there already, 0 failed" in said[0]
    elif name == "study":
        assert finished(name, out).items() >= kept.items()


def test_two_processes_train_one_model(data, tmp_path, started):
    runs = {count: tmp_path / str(count) for count in (1, 2)}
    for count, out in runs.items():
        said = end(processes("train", data, out, count))
        assert f"model: {out}" in said[0]
        assert all("model: " not in text for text in said[1:])
    one, two = ([json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()] for out in runs.values())
    assert [row["step"] for row in one] == [row["step"] for row in two]
    losses = [[row["loss"] for row in rows] for rows in (one, two)]
    np.testing.assert_allclose(losses[0][:3], losses[1][:3], rtol=1e-5)
    np.testing.assert_allclose(*losses, rtol=1e-2)  # AdamW makes much of the rounding of a sum over two processes
    names = [
        {str(path.relative_to(out)) for path in out.rglob("*") if path.suffix in (".png", ".json", ".safetensors")}
        for out in runs.values()
    ]
    assert names[0] == names[1]

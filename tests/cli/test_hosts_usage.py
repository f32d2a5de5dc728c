"""Test that the options of several processes are refused by every command that has them, unless they fit."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from jaxsr.cli import calibrate, evaluate, sample, study, train

ROOT = Path(__file__).parents[2]
COMMANDS = {
    "sample": (sample.main, ["photo.png"]),
    "evaluate": (evaluate.main, ["--pred", "a", "--target", "b", "-o", "result.json"]),
    "study": (study.main, ["--pairs", "a"]),
    "train": (train.main, ["--config", "config.py", "-o", "run"]),
    "calibrate": (calibrate.main, ["--pairs", "a", "-o", "calib.json"]),
}
ALL = ("--coordinator", "localhost:1234", "--num-processes", "2", "--process-id")


def refused(name: str, words: tuple[str, ...], capsys) -> str:
    """Return what a command says to words that it does not take."""
    main, needed = COMMANDS[name]
    with pytest.raises(SystemExit) as stopped:
        main([*needed, *words])
    assert stopped.value.code == 2
    return capsys.readouterr().err


@pytest.mark.parametrize("name", COMMANDS)
@pytest.mark.parametrize(
    ("words", "message"),
    [
        (ALL[:2], "belong together: give all three"),
        (ALL[2:4], "belong together: give all three"),
        ((*ALL[2:], "1"), "belong together: give all three"),
        ((*ALL, "2"), "argument --process-id: must be below --num-processes 2, not 2"),
        (("--coordinator", "node1", *ALL[2:], "0"), "argument --coordinator: must be HOST:PORT, such as node1:8476"),
        (("--coordinator", ":80", *ALL[2:], "0"), "argument --coordinator: must be HOST:PORT"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_processes_that_do_not_fit_are_refused(name, words, message, capsys):
    assert message in refused(name, words, capsys)


@pytest.mark.parametrize("name", ["sample", "evaluate", "study"])
@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--shard", "3/2"), "argument --shard: must be I/N with I from 1 to N, such as 3/8, not '3/2'"),
        (("--shard", "1/2", "--distributed"), "argument --shard: the processes of --distributed share the images"),
    ],
    ids=["range", "distributed"],
)
def test_shards_that_do_not_fit_are_refused(name, words, message, capsys):
    assert message in refused(name, words, capsys)


def test_without_a_cluster_a_sentence_says_what_to_give(tmp_path):
    command = [sys.executable, "-m", "jaxsr", "sample", ROOT / "examples/parrots.png", "-o", "out", "--distributed"]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "cpu"}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("error: --distributed: JAX finds no cluster here (")
    assert done.stderr.endswith("give --coordinator, --num-processes and --process-id.\n")
    assert list(tmp_path.iterdir()) == []

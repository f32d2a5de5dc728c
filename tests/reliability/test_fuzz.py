"""Test that damaged files of every kind are read or refused in one sentence, with little memory and in little time."""

import shutil
from pathlib import Path

import pytest

from tests.reliability.fuzz import Worker, fuzz
from tests.reliability.seeds import SEEDS

FOUND = sorted(Path(__file__).with_name("found").iterdir())
COUNTS = {"image": 5000, "torch": 2000, "model": 1500}


@pytest.mark.parametrize("kind", SEEDS)
def test_some_damaged_files(kind, tmp_path):
    counts, wrong = fuzz(kind, 104 if kind == "image" else 50, seed=11)
    assert wrong == {}
    assert counts["refused"] > counts.total() / 3 or kind == "journal"


@pytest.mark.slow
@pytest.mark.parametrize("kind", SEEDS)
def test_thousands_of_damaged_files(kind):
    counts, wrong = fuzz(kind, COUNTS.get(kind, 1000), seed=0)
    assert wrong == {}, counts


@pytest.mark.parametrize("path", FOUND, ids=lambda path: path.name)
def test_what_was_once_wrong_is_refused(path, tmp_path):
    """These files once gave a traceback, or a message of thousands of characters or of several lines."""
    copy = shutil.copy(path, tmp_path)
    worker = Worker(path.name.partition("-")[0])
    try:
        assert worker.ask(Path(copy)).startswith("refused: ")
    finally:
        worker.stop()


@pytest.mark.parametrize("kind", SEEDS)
def test_the_whole_files_are_read(kind, tmp_path):
    worker = Worker(kind)
    try:
        for name, data in SEEDS[kind](tmp_path / "seeds").items():
            (tmp_path / name).write_bytes(data)
            assert worker.ask(tmp_path / name) == "read", name
    finally:
        worker.stop()


def test_the_worker_knows_what_is_wrong(tmp_path):
    """A process that takes too much, ends or hangs is noticed: else the other tests could not fail."""
    worker = Worker("image")
    (tmp_path / "a.png").write_bytes(b"")
    assert worker.ask(tmp_path / "a.png").startswith("refused")
    assert worker.process is not None
    worker.process.kill()
    assert worker.ask(tmp_path / "a.png").startswith("wrong: the process ended")
    worker.stop()

"""Test that damaged files of every kind are read or refused in one sentence, with little memory and in little time."""

import shutil
import sys
from pathlib import Path

import pytest

from tests.reliability.fuzz import Worker, fuzz
from tests.reliability.seeds import SEEDS

FOUND = sorted(Path(__file__).with_name("found").iterdir())
COUNT = 5000
MORE = dict.fromkeys(SEEDS, 200 << 20) | {"image": 2 << 30}
"""Bytes of memory that damaged files may take beyond whole ones. A picture of many pixels may be read."""


@pytest.mark.parametrize("kind", SEEDS)
def test_some_damaged_files(kind):
    """Lengths that a damaged file states are not memory: it takes about as much as a whole one."""
    found = fuzz(kind, 104 if kind == "image" else 50, seed=11)
    assert found.wrong == {}
    assert found.counts["refused"] > found.counts.total() / 3 or kind == "journal"
    assert found.peak <= found.control + MORE[kind]
    if sys.platform == "linux":
        assert found.control > 10**7


@pytest.mark.slow
@pytest.mark.parametrize("kind", SEEDS)
def test_thousands_of_damaged_files(kind):
    found = fuzz(kind, COUNT, seed=0)
    assert found.wrong == {}, found.counts
    assert found.peak <= found.control + MORE[kind]


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

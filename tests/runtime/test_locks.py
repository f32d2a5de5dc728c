"""Test that two processes do not hold the lock of one file, and that no lock outlives its process."""

import os
import subprocess
import sys
import time
from threading import Timer

import pytest

from jaxsr.runtime import locks
from jaxsr.runtime.locks import NAME, Turns, locked, try_lock, unlock

HOLD = "import sys; from pathlib import Path; from jaxsr.runtime.locks import try_lock; "
HOLD += "print(*map(try_lock, map(Path, sys.argv[1:])), flush=True); sys.stdin.read()"


def hold(*paths):
    """Start a process that locks files and keeps the locks until its stdin is closed."""
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    process = subprocess.Popen([sys.executable, "-c", HOLD, *map(str, paths)], **pipes)
    assert process.stdout is not None
    return process, process.stdout.readline().split()


def test_one_holder_at_a_time(tmp_path):
    first, second = tmp_path / "new/a", tmp_path / "new/b"
    assert try_lock(first)
    assert not try_lock(first)
    process, answers = hold(first, second)
    assert answers == ["False", "True"]
    assert not try_lock(second)
    with pytest.raises(ValueError, match=r"^wait for it$"), locked(second, "wait for it"):
        pass
    unlock(first)
    assert os.listdir(first.parent) == [NAME]  # the other process still uses it
    process.communicate("")
    with locked(second, "wait for it"):
        assert os.listdir(first.parent) == [NAME]
    assert os.listdir(first.parent) == []


def test_a_killed_process_leaves_no_lock(tmp_path):
    process, answers = hold(tmp_path / "a")
    assert answers == ["True"]
    process.kill()
    process.communicate()
    assert os.listdir(tmp_path) == [NAME]
    assert try_lock(tmp_path / "a")
    unlock(tmp_path / "a")
    assert os.listdir(tmp_path) == []


def test_what_another_process_holds_comes_last(tmp_path):
    paths = [tmp_path / name for name in "abc"]
    process, _ = hold(paths[0], paths[2])
    with Turns(paths) as turns:
        assert turns.wait()
        assert [*turns] == [1]
        turns.free(1)
        process.communicate("")
        assert turns.wait()
        assert [*turns] == [0, 2]
        other, answers = hold(*paths)
        assert answers == ["False", "True", "False"]  # they are held until they are freed
        other.communicate("")
        for number in (0, 2, 2):  # the second time without effect
            turns.free(number)
        assert not turns.wait()
    assert os.listdir(tmp_path) == []


def test_turns_wait_for_another_process(tmp_path):
    process, _ = hold(tmp_path / "a")
    with Turns([tmp_path / "a"]) as turns:
        Timer(0.5, process.communicate, [""]).start()
        began = time.perf_counter()
        assert turns.wait()
        assert time.perf_counter() - began > 0.3
        assert [*turns] == [0]


def test_nobody_waits_for_others_while_it_holds_a_file(tmp_path):
    """Two processes that did so would wait for each other."""
    with Turns([tmp_path / "a", tmp_path / "b"]) as turns:
        assert turns.wait()
        next(iter(turns))
        with pytest.raises(RuntimeError, match="a must be freed"):
            turns.wait()


def test_a_lock_file_that_was_removed_meanwhile_is_made_anew(tmp_path, monkeypatch):
    """The last process of another run may remove the lock file between our opening and our locking it."""
    take, raced = locks.fcntl.lockf, []

    def race(descriptor, *args):
        if not raced:
            raced.append((tmp_path / NAME).unlink())
        return take(descriptor, *args)

    monkeypatch.setattr(locks.fcntl, "lockf", race)
    assert try_lock(tmp_path / "a")
    process, answers = hold(tmp_path / "a")
    assert answers == ["False"]
    process.communicate("")
    unlock(tmp_path / "a")


def test_a_planted_link_is_not_followed(tmp_path):
    (tmp_path / NAME).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="symbolic links"):
        try_lock(tmp_path / "a")
    assert not (tmp_path / "elsewhere").exists()
    with Turns([tmp_path / "a"]) as turns:
        assert turns.wait()
        assert [*turns] == [0]
        turns.free(0)
        assert not turns.wait()


def test_without_locks_every_lock_is_granted(tmp_path, monkeypatch):
    monkeypatch.setattr(locks, "fcntl", None)
    assert try_lock(tmp_path / "a")
    unlock(tmp_path / "a")
    assert os.listdir(tmp_path) == []

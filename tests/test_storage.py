"""Test that a file is written whole or not at all, and that the cache is where the environment says."""

import errno
import os
import re
from pathlib import Path

import pytest

from jaxsr.storage import cache_dir, whole_file, write_whole


def test_the_file_appears_with_its_folder_and_nothing_else(tmp_path):
    path = tmp_path / "new" / "a.txt"
    write_whole(path, "é")
    assert path.read_bytes() == b"\xc3\xa9"
    write_whole(path, os.fsdecode(b"name\xff"))  # a name that is no text
    assert path.read_bytes() == b"name\\udcff"
    write_whole(path, b"\x00")
    assert path.read_bytes() == b"\x00"
    assert list(path.parent.iterdir()) == [path]


def test_an_error_leaves_the_old_file_and_no_other(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")

    def write_half():
        with whole_file(path) as part:
            part.write_text("half")
            assert path.read_text() == "old"
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        write_half()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_what_was_never_written_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError), whole_file(tmp_path / "a.txt"):
        pass
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("own", "xdg", "expected"),
    [
        ("/own", "/xdg", "/own"),
        ("~/own", None, "/home/me/own"),
        (None, "/xdg", "/xdg/jaxsr"),
        (None, None, "/home/me/.cache/jaxsr"),
    ],
)
def test_cache_dir(monkeypatch, own, xdg, expected):
    monkeypatch.setenv("HOME", "/home/me")
    for name, value in (("JAXSR_CACHE_DIR", own), ("XDG_CACHE_HOME", xdg)):
        monkeypatch.setenv(name, value) if value else monkeypatch.delenv(name, raising=False)
    assert cache_dir() == Path(expected)


@pytest.mark.parametrize("number", [errno.EFBIG, errno.ENOSPC])
def test_an_error_of_a_write_names_the_file(tmp_path, number):
    target = tmp_path / "result.json"
    with pytest.raises(OSError, match=re.escape(str(target))), whole_file(target):
        raise OSError(number, os.strerror(number))
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(OSError, match=r"other\.png"), whole_file(target):
        raise OSError(number, os.strerror(number), "other.png")
    with pytest.raises(OSError, match=re.escape(str(target))), whole_file(target):
        pass  # nothing was written

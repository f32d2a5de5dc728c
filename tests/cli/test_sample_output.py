"""Test what the sample command prints: odd file names, the place of results, the plan of a dry run, progress."""

import os
import pty
import sys
import threading

import pytest

from tests.cli.sampling import files, picture, run

pytestmark = pytest.mark.usefixtures("model")


def test_names_that_are_no_text_are_shown(exact, tmp_path, capsys):
    name = os.fsdecode(b"caf\xe9.png")
    picture(tmp_path / "a.png")
    (tmp_path / "a.png").rename(tmp_path / name)
    words = ["-i", tmp_path / name, "-o", tmp_path / "out"]
    assert run(*words) == 0
    assert run(*words, "--dry-run") == 0
    assert r"caf\udce9.png: there already" in capsys.readouterr().out
    assert run(*words, "--seed", 1) == 3
    assert r"caf\udce9.png exists" in capsys.readouterr().err


def test_a_name_with_line_breaks_stays_one_line(model, tmp_path, capsys):
    picture(tmp_path / "in/a\nb\x1b[2J\u2028.png")
    words = ["-i", tmp_path / "in", "-o", tmp_path / "out"]
    shown = r"a\nb\x1b[2J\u2028.png"
    assert run(*words, "--dry-run") == 0
    first, _ = capsys.readouterr().out.splitlines()
    assert first.count(shown) == 2
    assert run(*words) == 0
    assert run(*words, "--dry-run") == 0
    assert capsys.readouterr().out.splitlines()[-2].endswith(f"{shown}: there already")
    assert run(*words, "--seed", 1) == 3
    out, err = capsys.readouterr()
    assert (len(out.splitlines()), len(err.splitlines())) == (1, 1)
    assert shown in err


def test_a_run_that_makes_nothing_names_no_place_of_results(exact, tmp_path, capsys):
    picture(tmp_path / "in/a.png")
    (tmp_path / "in/bad.png").touch()
    words = ["-o", tmp_path / "out"]
    assert run("-i", tmp_path / "in/bad.png", *words) == 3
    assert capsys.readouterr().out == "0 made, 0 there already, 1 failed\n"
    assert run("-i", tmp_path / "in", *words) == 3
    assert f"1 failed; results in {tmp_path / 'out'}\n" in capsys.readouterr().out


def test_a_dry_run_shows_the_plan_and_writes_nothing(model, tmp_path, capsys):
    picture(tmp_path / "in/a.png", (40, 30))
    picture(tmp_path / "in/b.png", (10, 10))
    (tmp_path / "in/bad.png").touch()
    words = ["-i", tmp_path / "in", "-o", tmp_path / "out", "--tile", "16x32"]
    assert run(*words, "--dry-run") == 3
    out, err = capsys.readouterr()
    first, second, total = out.splitlines()
    assert "a.png 40x30 -> " in first
    assert "a.png 160x120: 4 tiles of 16x32, " in first
    assert "1 tiles of 16x32, " in second
    assert " MB for the network, 0.2 MB for the image" in first  # 3 * 160 * 120 * 3 bytes
    assert total.startswith("2 to make in about ")
    assert "bad.png" in err
    assert not (tmp_path / "out").exists()

    assert run("-i", tmp_path / "in/b.png", *words[2:]) == 0
    before = files(tmp_path)
    assert run(*words, "--dry-run") == 3
    assert f"{tmp_path / 'out/b.png'}: there already" in capsys.readouterr().out
    assert run(*words, "--dry-run", "--seed", 5) == 3
    assert "was made from another input or with other options" in capsys.readouterr().err
    assert files(tmp_path) == before


def test_a_terminal_sees_tiles_and_a_rate(exact, tmp_path, monkeypatch):
    for name in ("A.png", "[b].png"):  # rich must not take the second for markup
        picture(tmp_path / f"in/{name}", (40, 40))
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    ours, theirs = pty.openpty()
    shown = bytearray()

    def read() -> None:
        try:
            while data := os.read(ours, 4096):
                shown.extend(data)
        except OSError:  # Linux raises this when the other end is closed
            pass

    reader = threading.Thread(target=read)
    reader.start()
    with os.fdopen(theirs, "w") as terminal, monkeypatch.context() as patch:
        patch.setattr(sys, "stderr", terminal)
        assert run("-i", tmp_path / "in", "-o", tmp_path / "out", "--tile", "32") == 0
    reader.join(10)
    os.close(ours)
    text = shown.decode()
    assert "images/s" in text
    assert "2/2" in text
    assert "[b].png" in text

"""Test the journal of a stopped run: it keeps what was measured, drops a torn line, and refuses other choices."""

import json

import numpy as np
import pytest

from jaxsr.calibration.journal import Journal
from jaxsr.runtime.journal import JournalFile

CHOICES = {"seed": 0, "candidates": [0.1, 0.2], "data": {"pairs": 4}}
ROWS = {0: {"psnr": [1.5, 2.5]}, 2: {"psnr": [3.5, 0.1 + 0.2]}}


@pytest.fixture
def path(tmp_path):
    file = tmp_path / "new" / "calib.json.part"
    with Journal(file, CHOICES) as journal:
        journal.append("closed", ROWS)
    return file


def test_rows_come_back_to_the_last_bit(path):
    with Journal(path, CHOICES) as journal:
        assert journal.done("closed") == {0, 2}
        assert journal.done("open") == set()
    np.testing.assert_array_equal(journal.stacked("closed", [2, 0])["psnr"], [[3.5, 1.5], [0.1 + 0.2, 2.5]])


def test_a_torn_line_is_dropped_and_the_next_row_is_whole(path):
    whole = path.read_bytes()
    for cut in (1, 5, len(whole.splitlines()[-1])):
        path.write_bytes(whole[:-cut])
        with Journal(path, CHOICES) as journal:
            assert journal.done("closed") == {0}
            journal.append("closed", {2: ROWS[2]})
        assert path.read_bytes() == whole


def test_a_run_killed_before_its_header_begins_anew(path):
    path.write_bytes(path.read_bytes()[:10])
    with Journal(path, CHOICES) as journal:
        assert journal.done("closed") == set()
    assert json.loads(path.read_text().partition(" ")[2]) == {"choices": CHOICES}


def test_other_choices_are_refused_by_name_and_can_be_dropped(path):
    before = path.read_bytes()
    with pytest.raises(
        ValueError, match=r"calib.json.part: holds a stopped calibration with another seed; .*--overwrite"
    ):
        Journal(path, CHOICES | {"seed": 1})
    assert path.read_bytes() == before
    with Journal(path, CHOICES, overwrite=True) as journal:
        assert journal.done("closed") == {0, 2}  # rows of the same choices are kept
    with Journal(path, CHOICES | {"seed": 1}, overwrite=True) as journal:
        assert journal.done("closed") == set()


def test_another_file_is_not_taken_for_a_stopped_run(path):
    path.write_text("notes of mine\n")
    with pytest.raises(ValueError, match="another format"):
        Journal(path, CHOICES)
    assert path.read_text() == "notes of mine\n"


def test_damaged_lines_are_measured_again(path, capsys):
    """No flip of a bit and no hole gives another number. What stands in the other lines is kept."""
    whole, first = path.read_bytes(), len(path.read_bytes().splitlines(keepends=True)[0])
    for place in range(first, len(whole) - 1):
        damaged = bytearray(whole)
        damaged[place] ^= 1 << place % 7
        path.write_bytes(damaged)
        with Journal(path, CHOICES) as journal:
            done = journal.done("closed")
            assert done or damaged.count(b"\n") < whole.count(b"\n"), place
            for pair in done:
                np.testing.assert_array_equal(journal.stacked("closed", [pair])["psnr"][:, 0], ROWS[pair]["psnr"])
    path.write_bytes(whole[: first + 30] + b"\0" * 40 + whole[first + 70 :])
    capsys.readouterr()
    with Journal(path, CHOICES) as journal:
        journal.append("closed", {pair: ROWS[pair] for pair in {0, 2} - journal.done("closed")})
    assert "damaged lines are left out" in capsys.readouterr().err
    with Journal(path, CHOICES) as journal:
        assert journal.done("closed") == {0, 2}
    assert capsys.readouterr().err == ""


def test_a_damaged_first_line_is_named_and_nothing_is_lost(path):
    damaged = b"0" + path.read_bytes()[1:]
    path.write_bytes(damaged)
    with pytest.raises(ValueError, match=r"calib.json.part: holds .* a damaged first line; .*--overwrite"):
        Journal(path, CHOICES)
    assert path.read_bytes() == damaged


def test_two_runs_do_not_share_a_file(path):
    with Journal(path, CHOICES), pytest.raises(ValueError, match=r"part: another calibration is writing it; wait"):
        Journal(path, CHOICES)
    with Journal(path, CHOICES) as journal:
        assert journal.done("closed") == {0, 2}


def test_it_goes_when_the_result_is_there(path):
    with Journal(path, CHOICES) as journal:
        journal.remove()
    assert list(path.parent.iterdir()) == []


def test_lines_of_other_processes_move_into_the_file_of_the_first(tmp_path):
    path, settings = tmp_path / "r.part", {"what": "evaluation", "each": True}
    with JournalFile(path, CHOICES, **settings) as journal:
        journal.write([{"image": "a"}])
    header, line = path.read_bytes().splitlines(keepends=True)
    (tmp_path / "r.part.1").write_bytes(line + b"12345678 torn")
    (tmp_path / "r.part.12").write_bytes(line)
    with JournalFile(path, CHOICES, **settings) as journal:
        assert journal.found == [{"image": "a"}] * 3
    assert [file.name for file in tmp_path.iterdir()] == ["r.part"]
    assert path.read_bytes() == header + 3 * line


def test_lines_of_other_processes_without_the_file_of_the_first_are_left_out(tmp_path):
    (tmp_path / "r.part.1").write_bytes(b"lines of a run whose choices nobody knows\n")
    with JournalFile(tmp_path / "r.part", CHOICES, what="evaluation", each=True) as journal:
        assert journal.found == []
    assert [file.name for file in tmp_path.iterdir()] == ["r.part"]

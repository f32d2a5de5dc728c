"""Test the journal of a stopped run: it keeps what was measured, drops a torn line, and refuses other choices."""

import json

import numpy as np
import pytest

from jaxsr.calibration.journal import Journal

CHOICES = {"seed": 0, "candidates": [0.1, 0.2], "data": {"pairs": 4}}
ROWS = {0: {"psnr": [1.5, 2.5]}, 2: {"psnr": [3.5, 0.1 + 0.2]}}


@pytest.fixture
def path(tmp_path):
    file = tmp_path / "new" / "calib.json.part"
    Journal(file, CHOICES).append("closed", ROWS)
    return file


def test_rows_come_back_to_the_last_bit(path):
    journal = Journal(path, CHOICES)
    assert journal.done("closed") == {0, 2}
    assert journal.done("open") == set()
    np.testing.assert_array_equal(journal.stacked("closed", [2, 0])["psnr"], [[3.5, 1.5], [0.1 + 0.2, 2.5]])


def test_a_torn_line_is_dropped_and_the_next_row_is_whole(path):
    whole = path.read_bytes()
    for cut in (1, 5, len(whole.splitlines()[-1])):
        path.write_bytes(whole[:-cut])
        journal = Journal(path, CHOICES)
        assert journal.done("closed") == {0}
        journal.append("closed", {2: ROWS[2]})
        assert path.read_bytes() == whole


def test_a_run_killed_before_its_header_begins_anew(path):
    path.write_bytes(path.read_bytes()[:10])
    assert Journal(path, CHOICES).done("closed") == set()
    assert json.loads(path.read_text()) == {"choices": CHOICES}


def test_other_choices_are_refused_by_name_and_can_be_dropped(path):
    before = path.read_bytes()
    with pytest.raises(
        ValueError, match=r"calib.json.part: holds a stopped calibration with another seed; .*--overwrite"
    ):
        Journal(path, CHOICES | {"seed": 1})
    assert path.read_bytes() == before
    assert Journal(path, CHOICES, overwrite=True).done("closed") == {0, 2}  # rows of the same choices are kept
    assert Journal(path, CHOICES | {"seed": 1}, overwrite=True).done("closed") == set()


def test_another_file_is_not_taken_for_a_stopped_run(path):
    path.write_text("notes of mine\n")
    with pytest.raises(ValueError, match="another format"):
        Journal(path, CHOICES)
    assert path.read_text() == "notes of mine\n"


def test_it_goes_when_the_result_is_there(path):
    Journal(path, CHOICES).remove()
    assert list(path.parent.iterdir()) == []

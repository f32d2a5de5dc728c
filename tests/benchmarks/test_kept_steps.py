"""Test the search for the trained steps to keep: it finds a known best subset, and a stopped one resumes."""

import numpy as np
import pytest
from PIL import Image

from benchmarks import kept_steps
from benchmarks.kept_steps import even_rows, every, part, search


def test_the_search_finds_the_best_subset_of_a_separable_loss():
    goal, asked = (3, 11, 20, 59), []

    def loss(rows):
        asked.append(rows)
        return sum(abs(a - b) for a, b in zip(rows, goal, strict=True))

    assert search(loss, even_rows(60, 4)) == goal
    assert all(rows[-1] == 59 and rows[0] >= 0 and len({*rows}) == 4 and sorted(rows) == [*rows] for rows in asked)


def test_rows_are_spread_evenly_from_the_first_to_the_last():
    assert even_rows(60, 4) == (0, 20, 39, 59)
    assert even_rows(60, 2) == (0, 59)


def test_the_validation_part_takes_no_part_in_the_search():
    columns = {"lpips": [*map(float, range(9))]}
    assert part(columns, True) == {"lpips": [0.0, 4.0, 8.0]}
    assert part(columns, False) == {"lpips": [1.0, 2.0, 3.0, 5.0, 6.0, 7.0]}


def test_every_subset_is_listed_with_the_lowest_lpips_of_the_search_first():
    def numbers(rows):
        lpips = [0.5, *[rows[0] / 10] * 3]  # the first photograph is held out
        return {"psnr": [30.0] * 4, "lpips": lpips, "dists": [0.2] * 4}

    listed = every({(2, 5), (1, 5)}, numbers)
    assert [row["rows"] for row in listed] == ["1, 5", "2, 5"]
    assert listed[0]["lpips"] == "0.1000"
    assert listed[0]["lpips, held out"] == "0.5000"


@pytest.mark.slow
def test_the_command_writes_both_parts_and_resumes(small_checkpoints, tmp_path, capsys, monkeypatch):
    (tmp_path / "hr").mkdir()
    rng = np.random.default_rng(0)
    for i in range(8):
        pixels = rng.integers(0, 256, (33, 33, 3), np.uint8)
        Image.fromarray(pixels).resize((264, 264), Image.Resampling.BICUBIC).save(tmp_path / f"hr/{i}.png")
    words = ["--model", str(small_checkpoints["channel"]), "--hr", str(tmp_path / "hr"), "--calls", "2"]
    words += ["-o", str(tmp_path / "out")]
    monkeypatch.setattr(kept_steps, "METRICS", ("psnr", "lpips"))
    assert kept_steps.main(words) == 0
    table = capsys.readouterr().out
    assert "| search |" in table
    assert "| validation |" in table
    assert "| lpips, held out |" in table
    lines = (tmp_path / "out/rows.jsonl").read_text()
    assert kept_steps.main(words) == 0
    assert (tmp_path / "out/rows.jsonl").read_text() == lines
    assert capsys.readouterr().out == table


@pytest.mark.parametrize(
    ("more", "said"), [(["--words", "speed=1"], "there is no 'speed'"), (["--limit", "1"], "needs 4 photographs")]
)
def test_what_does_not_fit_is_refused(tmp_path, capsys, more, said):
    (tmp_path / "hr").mkdir()
    Image.new("RGB", (264, 264)).save(tmp_path / "hr/a.png")
    assert kept_steps.main(["--hr", str(tmp_path / "hr"), "-o", str(tmp_path / "out"), *more]) == 1
    assert said in capsys.readouterr().err

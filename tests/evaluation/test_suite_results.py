"""Test the rows of other programs in the suite: their images, their tables, and how files find their images."""

import numpy as np
import pytest

from jaxsr.evaluation.pairs import Item, PairingError, attach_some
from jaxsr.evaluation.result import Result, restrict
from tests.evaluation.pictures import mean_square, noisy, outside, picture, rows_of, save


def test_results_of_other_programs_are_rows_beside_ours(sets, tmp_path):
    whole = outside(tmp_path, "0123456789", amount=3)
    assert sets("--results", whole, "--limit", 5) == 0
    set5, set14 = (tmp_path / "out/table.md").read_text().split("\n## ")[1:3]
    for part in (set5, set14):
        assert rows_of(part)[:2] == ["bicubic", "other 3"]
    result = Result.read(tmp_path / "out/set5/other-3.json")
    originals = [picture(i).astype(float) for i in range(5)]
    errors = [mean_square(noisy(picture(i), 3).astype(float), hr) for i, hr in enumerate(originals)]
    found = [row["psnr"] for row in result.images]
    np.testing.assert_allclose(found, 10 * np.log10(255**2 / np.array(errors)), rtol=1e-5)


def test_a_program_with_results_of_some_images_gets_a_table_of_these(sets, tmp_path):
    assert (
        sets("--results", outside(tmp_path, "04", subfolder="set5"), "--limit", 5, "-m", "psnr", "lr_consistency") == 0
    )
    tables = (tmp_path / "out/table.md").read_text().split("\n## ")[1:]
    few = next(table for table in tables if table.startswith("set5, 2 images"))
    others = rows_of(next(table for table in tables if table.startswith("set5, 5 images")))
    assert sorted(rows_of(few)) == sorted(["other 3", *others])
    assert tables.index(few) > 0  # after the table of all images
    assert "were not all made from the same LR images" not in few
    assert few.count("LR-PSNR") == 1
    bicubic = Result.read(tmp_path / "out/set5/bicubic.json")
    mean = np.mean([row["psnr"] for row in bicubic.images if row["image"] in "04"])
    assert f"| bicubic | {mean:.2f} " in few


def test_programs_with_results_of_the_same_images_share_a_table(sets, tmp_path):
    first, second = outside(tmp_path, "04", 3, "set5"), outside(tmp_path, "04", 6, "set5")
    assert sets("--results", first, second, "--limit", 5) == 0
    text = (tmp_path / "out/table.md").read_text()
    few = next(table for table in text.split("\n## ") if table.startswith("set5, 2 images"))
    assert len(rows_of(few)) == len(set(rows_of(few)))
    assert {"other 3", "other 6", "bicubic", "m, 1 step"} <= set(rows_of(few))
    assert "- other 6 has results of 2 of 5 images of set5; without 1, 2, 3." in text


def test_programs_with_results_of_other_images_are_not_mixed(sets, tmp_path):
    """The images 0, 1 and 2 of one program, and 1, 2 and 3 of another: neither has all of the other's."""
    first, second = outside(tmp_path, "012", 3, "set5"), outside(tmp_path, "1234", 6, "set5")
    assert sets("--results", first, second, "--limit", 5) == 0
    tables = (tmp_path / "out/table.md").read_text().split("\n## ")
    three, four = (next(t for t in tables if t.startswith(f"set5, {n} images")) for n in (3, 4))
    assert "other 6" not in rows_of(three)
    assert "other 3" not in rows_of(four)
    assert {"bicubic", "m, 1 step"} <= {*rows_of(three)} & {*rows_of(four)}
    with pytest.raises(ValueError, match=r"other 3 lacks 3, 4, which other 6 has"):
        restrict(*(Result.read(tmp_path / f"out/set5/other-{n}.json") for n in (3, 6)))


def test_a_name_itself_goes_before_one_with_an_ending(tmp_path):
    for name in ("baby", "baby_HR", "bird_out", "another"):
        save(tmp_path / "sr" / f"{name}.png", picture(0))
    found = attach_some([Item("baby"), Item("bird"), Item("head")], tmp_path / "sr", "--results")
    assert [(item.name, item.pred.stem) for item in found] == [("baby", "baby"), ("bird", "bird_out")]
    save(tmp_path / "sr/bird_sr.png", picture(0))
    with pytest.raises(PairingError, match=r"--results: .*bird_out.png and .*bird_sr.png are both of bird; rename"):
        attach_some([Item("bird")], tmp_path / "sr", "--results")
    (tmp_path / "empty").mkdir()
    assert attach_some([Item("bird")], tmp_path / "empty", "--results") == []

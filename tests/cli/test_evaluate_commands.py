"""Test the subcommands of evaluate beside the evaluation itself: table, compare, pin and protocols."""

import json

from jaxsr.cli import evaluate
from jaxsr.evaluation import tables
from tests.evaluation.pictures import folders, picture, save


def test_tables_and_comparisons_of_results(command, tmp_path, capsys):
    assert command("--name", "rough", output="rough.json") == 0
    folders(tmp_path, amounts=(2, 2, 2))
    assert command("--name", "fine", output="fine.json") == 0
    assert command("--name", "other", "--protocol", "rgb", output="other.json") == 0
    capsys.readouterr()
    names = [str(tmp_path / f"{name}.json") for name in ("rough", "fine", "other")]
    assert evaluate.main(["table", *names[:2], "--against", "rough"]) == 0
    one = capsys.readouterr().out
    assert one.count("## ") == 1
    assert "In parentheses: the mean difference to rough, and its 95 % interval by Student's t over images." in one
    assert evaluate.main(["table", *names]) == 0
    split = capsys.readouterr().out
    assert split.count("## ") == 2
    assert "may not be compared across tables: rough and other: colour y and rgb, border 4 and 0" in split
    assert command("--name", "rough", "--protocol", "rgb", output="same_name.json") == 0
    capsys.readouterr()
    assert evaluate.main(["table", names[0], str(tmp_path / "same_name.json")]) == 0
    assert "rough and rough" not in capsys.readouterr().out
    assert evaluate.main(["compare", *names[:2]]) == 0
    compared = capsys.readouterr().out
    assert "| 0 | 3 | 3 |" in compared
    assert evaluate.main(["compare", names[0], names[2]]) == 1
    assert "colour y and rgb" in capsys.readouterr().err
    assert evaluate.main(["table", names[0], "--against", "none"]) == 1
    for form, mark in (("latex", r"PSNR $\uparrow$"), ("csv", "table,method,PSNR ↑")):
        assert evaluate.main(["table", *names, "--format", form]) == 0
        assert mark in capsys.readouterr().out
    assert tables.FORMATS == ("md", "latex", "csv")


def test_a_file_that_is_no_result_is_refused(tmp_path, capsys):
    (tmp_path / "x.json").write_text(json.dumps({"name": "x"}))
    assert evaluate.main(["table", str(tmp_path / "x.json")]) == 1
    assert "is no result of an evaluation" in capsys.readouterr().err
    assert evaluate.main(["table", str(tmp_path / "y.json")]) == 1


def test_a_pinned_protocol_refuses_other_images(command, tmp_path, capsys):
    assert evaluate.main(["pin", "--dataset", str(tmp_path / "hr"), "-o", str(tmp_path / "mine.json")]) == 0
    assert command("--protocol", tmp_path / "mine.json") == 0
    assert evaluate.main(["pin", "--dataset", str(tmp_path / "hr"), "-o", str(tmp_path / "mine.json")]) == 1
    save(tmp_path / "hr" / "b.png", picture(7))
    assert command("--protocol", tmp_path / "mine.json", output="again.json") == 1
    assert "original b has other pixels than protocol mine" in capsys.readouterr().err
    assert not (tmp_path / "again.json").exists()


def test_protocols_are_listed(capsys):
    assert evaluate.main(["protocols"]) == 0
    assert {"plain", "set5", "paper-table2"} <= {line.split()[0] for line in capsys.readouterr().out.splitlines()}

"""Test repeated runs of the evaluate command: a stopped or killed run resumes, and results are kept."""

import signal
import time

import pytest

from jaxsr.cli import evaluate
from jaxsr.evaluation import run, sheet
from jaxsr.evaluation.result import Result
from jaxsr.evaluation.scoring import Scorer
from tests.cli.results import psnrs, read
from tests.evaluation.pictures import noisy, picture, save, start
from tests.runtime.test_locks import hold


def test_a_killed_run_goes_on_where_it_was(command, tmp_path, monkeypatch):
    words = ["--pred", tmp_path / "sr", "--target", tmp_path / "hr", "-m", "psnr", "--batch", "1"]
    process = start(60, [*map(str, words), "-o", str(tmp_path / "result.json")])
    part = tmp_path / "result.json.part"
    while process.poll() is None and not (part.exists() and part.read_bytes().count(b"\n") > 1):
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert part.read_bytes().count(b"\n") == 2  # the header and the first image
    with part.open("ab") as file:
        file.write(b'{"seed": 0, "im')  # torn
    scored, score = [], Scorer.score
    monkeypatch.setattr(
        Scorer, "score", lambda self, pairs: scored.extend(p.image for p in pairs) or score(self, pairs)
    )
    assert command("--batch", 1) == 0
    assert scored == ["b", "c"]
    resumed = read(tmp_path)
    assert command(output="whole.json") == 0
    whole = read(tmp_path, "whole.json")
    assert (resumed.images, resumed.protocol_sha256) == (whole.images, whole.protocol_sha256)
    assert not part.exists()


def stop(*args, **options):
    raise KeyboardInterrupt


def test_a_stopped_run_of_other_images_or_metrics_is_not_gone_on_with(command, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(run, "_result", stop)
    assert command() == 130
    assert "run the same command again to resume" in capsys.readouterr().err
    monkeypatch.undo()
    assert command("psnr_pyiqa") == 1
    assert "holds a stopped evaluation with another choice of metrics" in capsys.readouterr().err
    assert command("--limit", 2) == 1
    assert "another list of images" in capsys.readouterr().err
    for i, name in enumerate("abc"):
        save(tmp_path / "sr" / f"{name}.png", noisy(picture(i), 20))
    assert command() == 1
    assert "result.json.part: holds a stopped evaluation of other images; give them" in capsys.readouterr().err
    assert command("--overwrite") == 0
    new = psnrs(read(tmp_path))
    assert command(output="new.json") == 0
    assert new == psnrs(read(tmp_path, "new.json"))


def test_results_are_kept(command, tmp_path, capsys):
    assert command() == 0
    before = (tmp_path / "result.json").read_bytes()
    assert command("--protocol", "rgb") == 1
    assert "is there already; give another name or --overwrite" in capsys.readouterr().err
    assert (tmp_path / "result.json").read_bytes() == before
    assert command("--protocol", "rgb", "--overwrite") == 0
    assert (tmp_path / "result.json").read_bytes() != before
    (tmp_path / "folder").mkdir()
    assert command(output="folder") == 1


@pytest.mark.parametrize("killed_in", ["write_whole", "write_sheet", "write", "remove"])
def test_a_run_killed_near_its_end_leaves_nothing_undone(command, tmp_path, monkeypatch, killed_in):
    """The files beside the result come before it, and the journal stays until all are there."""
    words = ("--csv", tmp_path / "r.csv", "--worst", tmp_path / "w.png")
    places = {"write_whole": evaluate, "write_sheet": sheet, "write": Result, "remove": run.JournalFile}
    monkeypatch.setattr(places[killed_in], killed_in, stop)
    assert command(*words) == 130
    assert (tmp_path / "result.json.part").exists()
    monkeypatch.undo()
    scored = []
    monkeypatch.setattr(Scorer, "score", lambda self, pairs: scored.extend(pairs))
    assert command(*words) == 0
    assert scored == []
    assert not (tmp_path / "result.json.part").exists()
    monkeypatch.undo()
    names = {"result.json": "whole.json", "r.csv": "whole.csv", "w.png": "whole.png"}
    assert command("--csv", tmp_path / "whole.csv", "--worst", tmp_path / "whole.png", output="whole.json") == 0
    for name, same in names.items():
        ours, whole = ((tmp_path / one).read_bytes() for one in (name, same))
        assert ours.replace(b"result.json", b"x") == whole.replace(b"whole.json", b"x") or name == "result.json"
    assert read(tmp_path).images == read(tmp_path, "whole.json").images


def test_two_runs_do_not_write_one_file(command, tmp_path, capsys):
    process, answers = hold(tmp_path / "result.json.part")
    assert answers == ["True"]
    assert command() == 1
    assert "result.json.part: another evaluation is writing it; wait for its end" in capsys.readouterr().err
    process.communicate("")
    assert command() == 0

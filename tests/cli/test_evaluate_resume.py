"""Test repeated runs of the evaluate command: a stopped or killed run resumes, and results are kept."""

import signal
import time

from jaxsr.evaluation import run
from jaxsr.evaluation.scoring import Scorer
from tests.cli.results import psnrs, read
from tests.evaluation.pictures import noisy, picture, save, start


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

"""The command on folders: what it writes, its errors, going on after a kill, and every option."""

import csv
import json
import signal
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from jaxsr.cli import evaluate
from jaxsr.evaluation import metrics, run, tables
from jaxsr.evaluation.result import Result
from jaxsr.evaluation.scoring import Scorer
from jaxsr.hub import checkpoint
from jaxsr.metrics.lpips import lpips_shapes
from jaxsr.storage import sha256_file
from tests.evaluation.pictures import folders, noisy, picture, save, start


@pytest.fixture
def command(tmp_path):
    """Runs the command on three noisy pictures with more words; gives the exit code."""
    folders(tmp_path)

    def run_it(*more: object, output: str = "result.json", m: str = "psnr") -> int:
        words = ("--pred", tmp_path / "sr", "--target", tmp_path / "hr", "-o", tmp_path / output, "-m", m, *more)
        return evaluate.main([str(word) for word in words])

    return run_it


def read(tmp_path: Path, name: str = "result.json") -> Result:
    return Result.read(tmp_path / name)


def psnrs(result: Result) -> dict[str, float]:
    return {row["image"]: row["psnr"] for row in result.images}


def test_a_result_tells_everything(command, tmp_path, capsys):
    assert command("--protocol", "rgb", "--csv", tmp_path / "one.csv", "--name", "mine") == 0
    result = read(tmp_path)
    expected = {}
    for name in "abc":
        hr, sr = (np.asarray(Image.open(tmp_path / folder / f"{name}.png"), float) for folder in ("hr", "sr"))
        expected[name] = 10 * np.log10(255**2 / np.mean((hr - sr) ** 2))
    assert psnrs(result) == pytest.approx(expected, rel=1e-5)
    told = result.metrics["psnr"]
    assert told["mean"] == pytest.approx(np.mean(list(expected.values())))
    assert told["images"][0] < told["mean"] < told["images"][1]
    assert (told["n"], told["seeds"], told["variant"]) == (3, None, "PSNR, RGB, border 0, 8 bits")
    assert (result.name, result.seeds, result.failed) == ("mine", [0], [])
    assert (result.data["name"], result.method) == ("hr", {"kind": "files"})
    assert {"jax", "numpy", "jaxsr"} <= result.versions.keys()
    assert "--pred" in result.command
    rows = list(csv.DictReader((tmp_path / "one.csv").read_text().splitlines()))
    assert {row["image"]: float(row["psnr"]) for row in rows} == psnrs(result)
    out = capsys.readouterr().out
    assert result.protocol_sha256[:12] in out
    assert f"{told['mean']:.2f} [" in out
    assert sorted(path.name for path in tmp_path.glob("result*")) == ["result.json"]


def test_partners_are_of_one_name_and_not_of_one_place(command, tmp_path):
    assert command(output="plain.json") == 0
    for name, other in (("a", "z_sr"), ("b", "m_sr"), ("c", "f_sr")):
        (tmp_path / "sr" / f"{name}.png").rename(tmp_path / "sr" / f"{other}.png")
        (tmp_path / "hr" / f"{name}.png").rename(tmp_path / "hr" / f"{other[0]}.png")
    save(tmp_path / "sr" / "folder" / "m.png", picture(0)).unlink()
    assert command() == 0
    assert sorted(psnrs(read(tmp_path)).values()) == sorted(psnrs(read(tmp_path, "plain.json")).values())


def test_whatever_has_no_partner_is_listed_and_nothing_written(command, tmp_path, capsys):
    (tmp_path / "sr" / "b.png").rename(tmp_path / "sr" / "d.png")
    assert command() == 1
    error = capsys.readouterr().err
    assert "--pred: without one partner of the same name: b (no file)" in error
    assert "d.png" in error
    assert not list(tmp_path.glob("result*"))


def test_one_unreadable_image_does_not_lose_the_rest(command, tmp_path, capsys):
    whole = (tmp_path / "sr" / "b.png").read_bytes()
    (tmp_path / "sr" / "b.png").write_bytes(whole[:200])
    save(tmp_path / "sr" / "c.png", picture(2, 32, 44))
    assert command("--batch", 1) == 3
    result, error = read(tmp_path), capsys.readouterr().err
    assert list(psnrs(result)) == ["a"]
    assert error.count("failed: ") == 2
    assert "b.png: damaged or cut short" in error
    assert "c: the result has 44x32 pixels in place of 48x32" in error
    incomplete = result.protocol_sha256
    (tmp_path / "sr" / "b.png").write_bytes(whole)
    save(tmp_path / "sr" / "c.png", noisy(picture(2), 30))
    assert command("--overwrite") == 0
    assert list(psnrs(read(tmp_path))) == ["a", "b", "c"]
    assert read(tmp_path).protocol_sha256 != incomplete


def test_no_readable_image_is_an_error(command, tmp_path, capsys):
    for name in "abc":
        (tmp_path / "sr" / f"{name}.png").write_bytes(b"no")
    assert command() == 1
    assert "no image could be scored; the first: " in capsys.readouterr().err
    assert not (tmp_path / "result.json").exists()


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
    assert "run the same command again to go on" in capsys.readouterr().err
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


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--protocol", "no"), "--protocol: no 'no'"),
        (("--protocol", "set5"), "--protocol: the images are not those of set5: baby (missing), "),
        (("--protocol", "realsr"), "--protocol: no 'realsr' (did you mean realsr-sub?)"),
        (("-m", "psnt"), "--metrics: no 'psnt'"),
        (("-m", "lr_consistency"), "lr_consistency needs the LR images; give --lr"),
        (("--lr", "none"), "not a folder"),
        (("--worst", "w.png", "--worst-by", "ssim"), "--worst-by: ssim is not measured"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_bad_input_gets_one_sentence_and_writes_nothing(command, tmp_path, capsys, words, message):
    assert command(*words) == 1
    error = capsys.readouterr().err
    assert message in error
    assert (error.count("\n"), error[:7]) == (1, "error: ")
    assert not list(tmp_path.glob("result*"))


@pytest.mark.parametrize(
    "words",
    [
        ("--pred", "x", "-n", "y", "-o", "r"),
        ("-o", "r"),
        ("--pred", "x", "-o", "r", "--steps", "4"),
        ("--pred", "x", "-o", "r", "--dataset", "y"),
        ("--pred", "x", "-o", "r", "--data", "y"),
        ("-n", "y", "-o", "r", "--target", "x"),
        ("-n", "bicubic", "-o", "r", "--steps", "4"),
        ("-n", "y", "-o", "r", "--alpha", "0.1", "--preset", "vivid"),
        ("-n", "y", "-o", "r", "--calibration", "c.json"),
        ("--pred", "x", "-o", "r", "--worst-by", "psnr"),
        ("--pred", "x", "-o", "r", "--limit", "0"),
    ],
    ids=" ".join,
)
def test_wrong_usage_is_refused(words):
    with pytest.raises(SystemExit) as stopped:
        evaluate.main(list(words))
    assert stopped.value.code == 2


def test_options_change_what_is_found(command, tmp_path):
    assert command() == 0
    plain = read(tmp_path)
    assert command("--limit", 2, output="two.json") == 0
    assert list(psnrs(read(tmp_path, "two.json"))) == ["a", "b"]
    assert read(tmp_path, "two.json").protocol_sha256 != plain.protocol_sha256
    assert command("--protocol", "rgb", output="rgb.json") == 0
    assert psnrs(read(tmp_path, "rgb.json")) != psnrs(plain)
    for i in range(3):
        save(tmp_path / "lr" / f"{'abc'[i]}.png", picture(i)[::4, ::4])
    assert command("--lr", tmp_path / "lr", output="lr.json", m="lr_consistency") == 0
    assert read(tmp_path, "lr.json").data["lr_sha256"]
    assert read(tmp_path, "lr.json").protocol_sha256 == plain.protocol_sha256
    assert command("--keep", tmp_path / "kept", output="kept.json") == 0
    assert (
        np.asarray(Image.open(tmp_path / "kept/seed0/a_0.png")) == np.asarray(Image.open(tmp_path / "sr/a.png"))
    ).all()


def test_results_without_originals_can_be_scored(tmp_path):
    save(tmp_path / "sr" / "a.png", noisy(picture(0, 104, 200), 20))
    assert evaluate.main(["--pred", str(tmp_path / "sr"), "-o", str(tmp_path / "r.json")]) == 0
    assert list(read(tmp_path, "r.json").metrics) == ["niqe"]


def test_the_worst_are_shown_first(command, tmp_path):
    assert command("--worst", tmp_path / "worst.png") == 0
    sheet = np.asarray(Image.open(tmp_path / "worst.png"))
    from jaxsr.evaluation import sheet as module

    assert [bad.image for bad in module.worst(read(tmp_path), "psnr")] == ["c", "b", "a"]
    assert len(sheet) == 3 * (module.SIDE + module.LABEL + module.GAP)
    corner = sheet[module.LABEL + 1, module.SIDE + module.GAP]
    np.testing.assert_array_equal(corner, np.asarray(Image.open(tmp_path / "sr" / "c.png"))[0, 0])


def test_without_numbers_of_images_there_is_no_sheet(command, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(run, "why_missing", lambda name, protocol: "no weights" if name == "lpips" else None)
    assert command("--worst", tmp_path / "w.png", m="lpips") == 3
    assert "no contact sheet: there is no number" in capsys.readouterr().err
    assert command("psnr", "--worst", tmp_path / "w.png", "--worst-by", "lpips", m="lpips", output="b.json") == 3
    assert not (tmp_path / "w.png").exists()
    assert read(tmp_path).metrics["lpips"]["missing"] == "no weights"
    assert command("psnr", "--worst", tmp_path / "w.png", m="lpips", output="c.json") == 3
    assert (tmp_path / "w.png").exists()  # by the first that has numbers


def test_a_metric_that_cannot_be_had_is_told_and_not_replaced(command, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(run, "why_missing", lambda name, protocol: "no weights" if name == "lpips" else None)
    assert command("lpips") == 3
    assert read(tmp_path).metrics["lpips"]["missing"] == "no weights"
    out, error = capsys.readouterr()
    assert "LPIPS: no weights." in out
    assert "| – |" in out
    assert error.splitlines()[-1].startswith("without any number: lpips")


def test_a_library_that_is_not_there_can_be_asked_again(command, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("JAXSR_PYIQA_PYTHON", str(tmp_path / "none"))
    for _ in range(2):  # needs no --overwrite
        assert command("maniqa") == 3
        out, error = capsys.readouterr()
        assert "MANIQA: cannot run" in out.replace("maniqa has no scores: ", "")
        assert "result.json.part is kept, so that the same command goes on" in error.splitlines()[-1]
    assert read(tmp_path).without == ["maniqa"]


def test_lpips_is_computed_here_where_its_weights_are(command, tmp_path, monkeypatch):
    monkeypatch.setenv("JAXSR_METRICS_DIR", str(tmp_path / "metrics"))
    random = np.random.default_rng(0)
    params = {name: random.normal(0, 0.05, shape).astype(np.float32) for name, shape in lpips_shapes("alex").items()}
    path = checkpoint.save(tmp_path / "metrics" / "lpips-alex", {k: np.abs(v) for k, v in params.items()}, {})
    assert command("lpips") == 0
    told = read(tmp_path).metrics["lpips"]
    assert told["mean"] > 0
    assert told["variant"] == f"LPIPS 0.1, net alex, weights {sha256_file(path)[:12]}"


def test_an_external_metric_gets_the_compared_files_in_order(command, tmp_path, monkeypatch):
    class Told:
        variant, versions, weights_sha256, set_score = "pyiqa lpips(net=alex)", {"pyiqa": "9"}, "c" * 64, None
        values, problems, note = (0.3, None, 0.1), {}, ""

    def score_external(names, files, targets, variants, on_score):
        assert (names, variants) == (["lpips"], {"lpips": {}})
        for file, target, name in zip(files, targets, "abc", strict=True):
            assert (np.asarray(Image.open(file)) == np.asarray(Image.open(tmp_path / "sr" / f"{name}.png"))).all()
            assert (np.asarray(Image.open(target)) == np.asarray(Image.open(tmp_path / "hr" / f"{name}.png"))).all()
        return {"lpips": Told()}

    monkeypatch.setattr(run.elsewhere.external, "score_external", score_external)
    monkeypatch.setitem(metrics.METRICS, "lpips", metrics._external("lpips", "LPIPS", False))
    assert command("lpips", "--batch", 1) == 0
    told = read(tmp_path).metrics["lpips"]
    assert (told["mean"], told["n"], told["note"]) == (pytest.approx(0.2), 2, "of 2 of 3 images")
    assert told["variant"] == "pyiqa lpips(net=alex), pyiqa 9, weights cccccccccccc"
    assert not (tmp_path / "result.json.files").exists()


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


def test_set5_has_the_published_bicubic_numbers(shared, tmp_path):
    words = ["-n", "bicubic", "--protocol", "set5", "--data", str(shared / "data"), "-m", "psnr", "ssim"]
    assert evaluate.main([*words, "-o", str(tmp_path / "r.json")]) == 0
    found = read(tmp_path, "r.json").metrics
    assert found["psnr"]["mean"] == pytest.approx(28.42, abs=0.03)
    assert found["ssim"]["mean"] == pytest.approx(0.8104, abs=0.002)

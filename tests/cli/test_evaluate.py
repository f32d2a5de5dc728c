"""Test the evaluate command on folders: what a result records, which images it pairs, and the sheet of the worst."""

import csv

import numpy as np
import pytest
from PIL import Image

from jaxsr.cli import evaluate
from jaxsr.evaluation import run
from tests.cli.results import psnrs, read
from tests.evaluation.pictures import noisy, picture, save


def test_a_result_tells_everything(command, tmp_path, capsys):
    assert command("--protocol", "rgb", "--csv", tmp_path / "one.csv", "--name", "mine") == 0
    result = read(tmp_path)
    expected = {}
    for name in "abc":
        hr, sr = (np.asarray(Image.open(tmp_path / folder / f"{name}.png"), float) for folder in ("hr", "sr"))
        expected[name] = 10 * np.log10(255**2 / np.mean((hr - sr) ** 2))
    assert psnrs(result) == pytest.approx(expected, rel=1e-5)
    entry = result.metrics["psnr"]
    assert entry["mean"] == pytest.approx(np.mean(list(expected.values())))
    assert entry["images"][0] < entry["mean"] < entry["images"][1]
    assert (entry["n"], entry["seeds"], entry["variant"]) == (3, None, "PSNR, RGB, border 0, 8 bits")
    assert (result.name, result.seeds, result.failed) == ("mine", [0], [])
    assert (result.data["name"], result.method) == ("hr", {"kind": "files"})
    assert {"jax", "numpy", "jaxsr"} <= result.versions.keys()
    assert "--pred" in result.command
    rows = list(csv.DictReader((tmp_path / "one.csv").read_text().splitlines()))
    assert {row["image"]: float(row["psnr"]) for row in rows} == psnrs(result)
    out = capsys.readouterr().out
    assert result.protocol_sha256[:12] in out
    assert f"{entry['mean']:.2f} [" in out
    assert sorted(path.name for path in tmp_path.glob("result*")) == ["result.json"]


def test_partners_are_of_one_name_and_not_of_one_place(command, tmp_path):
    assert command(output="plain.json") == 0
    for name, other in (("a", "z_sr"), ("b", "m_sr"), ("c", "f_sr")):
        (tmp_path / "sr" / f"{name}.png").rename(tmp_path / "sr" / f"{other}.png")
        (tmp_path / "hr" / f"{name}.png").rename(tmp_path / "hr" / f"{other[0]}.png")
    save(tmp_path / "sr" / "folder" / "m.png", picture(0)).unlink()
    assert command() == 0
    assert sorted(psnrs(read(tmp_path)).values()) == sorted(psnrs(read(tmp_path, "plain.json")).values())


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
    assert not list(tmp_path.glob("*.json*"))
    assert not (tmp_path / "result.json").exists()


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
    assert (tmp_path / "w.png").exists()  # ordered by the first metric that has numbers


def test_set5_has_the_published_bicubic_numbers(shared, tmp_path):
    words = ["-n", "bicubic", "--protocol", "set5", "--data", str(shared / "data"), "-m", "psnr", "ssim"]
    assert evaluate.main([*words, "-o", str(tmp_path / "r.json")]) == 0
    found = read(tmp_path, "r.json").metrics
    assert found["psnr"]["mean"] == pytest.approx(28.42, abs=0.03)
    assert found["ssim"]["mean"] == pytest.approx(0.8104, abs=0.002)

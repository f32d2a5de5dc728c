"""Test the benchmark of photographs: its rivals, rows, front and pictures; and the statistics of degradations."""

import os
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image
from scipy.stats import chi2

from benchmarks import camera_pairs, degradations, lr_images, photo, picture, rivals
from benchmarks.rivals import __main__ as rival_command
from jaxsr.evaluation.images import Pair
from jaxsr.evaluation.pairs import Item
from jaxsr.evaluation.protocol_files import load_protocol
from jaxsr.evaluation.timing import told_seconds
from jaxsr.imaging.resize import downsample_bicubic_uint8
from jaxsr.models.residual_spectrum import PHOTO_RESIDUALS


def scene(side: int = 128, seed: int = 0) -> np.ndarray:
    y, x = np.mgrid[:side, :side][..., None]
    waves = np.sin(0.7 * x + np.arange(3) + seed) * np.cos(0.5 * y)
    return (127 + 90 * waves).astype(np.uint8)


def test_rivals_without_wheels_are_left_out(tmp_path):
    assert rivals.installed(None) == {}
    assert rivals.installed(tmp_path) == {}


def test_a_rival_enlarges_a_folder_once_and_wrong_folders_are_named(tmp_path, monkeypatch, capsys):
    calls = []
    copy = lambda lr: calls.append(lr) or lr.repeat(4, 0).repeat(4, 1) / 255  # noqa: E731
    monkeypatch.setitem(rivals.RIVALS, "copy", lambda wheels: copy)
    (tmp_path / "lr/set5").mkdir(parents=True)
    Image.fromarray(scene(8)).save(tmp_path / "lr/set5/a.png")
    words = ["--wheels", str(tmp_path), "--lr", str(tmp_path / "lr"), "-o", str(tmp_path / "out")]
    assert rival_command.main(["copy", *words]) == 0
    np.testing.assert_array_equal(
        np.asarray(Image.open(tmp_path / "out/set5/a.png")), scene(8).repeat(4, 0).repeat(4, 1)
    )
    assert [path.name for path in (tmp_path / "out/set5").iterdir()] == ["a.png"]
    (seconds,) = told_seconds(tmp_path / "out").items()
    assert seconds[0] == tmp_path / "out/set5/a.png"
    assert 0 <= seconds[1] < 5
    assert rival_command.main(["copy", *words]) == 0
    assert len(calls) == 2  # the first one is not timed
    assert "0 made, 1 there already" in capsys.readouterr().out
    refused = {
        "--output: .* holds results of copy; choose another": (["DAT-light"], {}),
        "--wheels: DAT-light needs its packages and its wheel": (["DAT-light"], {"-o": tmp_path / "new"}),
        "--lr: .* has no images; check the name": (["copy"], {"--lr": tmp_path / "none"}),
        "--output: .* lies in .*; choose another": (["copy"], {"-o": tmp_path / "lr/out"}),
    }
    for message, (rival, changes) in refused.items():
        choices = dict(zip(words[::2], words[1::2], strict=True)) | {key: str(value) for key, value in changes.items()}
        assert rival_command.main([*rival, *(word for pair in choices.items() for word in pair)]) == 1
        assert re.search(f"^error: {message}", capsys.readouterr().err)


def test_images_that_a_rival_cannot_take_are_named(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(rivals.RIVALS, "copy", lambda wheels: lambda lr: lr.repeat(4, 0).repeat(4, 1) / 255)
    (tmp_path / "lr").mkdir()
    words = ["copy", "--wheels", str(tmp_path), "--lr", str(tmp_path / "lr"), "-o", str(tmp_path / "out")]
    deep = tmp_path / "lr/deep.png"
    Image.fromarray(np.full((4, 4), 30000, np.uint16)).save(deep)
    assert rival_command.main(words) == 1
    assert "deep.png: has the mode I;16; give 8-bit" in capsys.readouterr().err
    deep.write_bytes(b"no image")
    assert rival_command.main(words) == 1
    assert "deep.png" in capsys.readouterr().err
    Image.fromarray(scene(8)).save(deep)
    Image.fromarray(scene(8)).save(tmp_path / "lr/deep.bmp")
    assert rival_command.main(words) == 1
    assert "would have one result; rename one" in capsys.readouterr().err


def test_a_rival_needs_no_jax():
    code = """
import sys
import benchmarks.rivals.__main__
sys.exit(bool({"jax", "jaxtyping", "jaxsr"} & sys.modules.keys()))
"""
    assert subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[2]).returncode == 0


def test_lr_images_are_those_that_the_suite_enlarges(tmp_path, monkeypatch):
    (tmp_path / "data/set5").mkdir(parents=True)
    Image.fromarray(scene(64)).save(tmp_path / "data/set5/a.png")
    monkeypatch.setattr(lr_images, "PROTOCOLS", {"set5": "plain"})
    words = ["--data", str(tmp_path / "data"), "--sets", "set5", "-o", str(tmp_path / "lr")]
    assert lr_images.main(words) == 0
    found = np.asarray(Image.open(tmp_path / "lr/set5/a.png"))
    np.testing.assert_array_equal(found, downsample_bicubic_uint8(scene(64), 4))


def test_a_rival_gets_8_bit_pixels():
    given = []
    method = photo.rival_method("copy", lambda lr: given.append(lr) or lr.repeat(4, 0).repeat(4, 1) / 255)
    lr = np.float32([[[0.0, 0.5, 1.0]]])
    result = method.make(Pair("a", 0, None, lr, None, False), 0)
    assert (given[0].dtype, given[0].tolist()) == (np.uint8, [[[0, 128, 255]]])
    assert result.shape == (4, 4, 3)
    assert not method.random


def test_what_decides_a_rival_is_recorded():
    assert photo.rival_method("a", lambda lr: lr, weights="x").record == {"kind": "rival", "name": "a", "weights": "x"}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--wheels", "none"), "--wheels: there is no folder none"),
    ],
)
def test_wrong_options_are_refused_before_any_work(tmp_path, monkeypatch, capsys, words, message):
    monkeypatch.chdir(tmp_path)
    assert photo.main(["--data", ".", "-o", "out", *words]) == 1
    assert capsys.readouterr().err.startswith(f"error: {message}")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("words", "expected"),
    [([], ["photo-x4", "tiny-x4"]), (["--beside"], ["photo-x4"]), (["--beside", "m"], ["photo-x4", "m"])],
)
def test_the_models_of_the_table_are_those_asked_for(monkeypatch, words, expected):
    def stop(**choices):
        raise ValueError(" ".join(choices["models"]))

    with monkeypatch.context() as patched:
        patched.setattr(photo.jaxsr, "load", lambda name: name)
        patched.setattr(photo, "Suite", stop)
        with pytest.raises(ValueError, match=f"^{' '.join(expected)}$"):
            photo.run(photo.make_parser().parse_args(["--data", ".", "-o", "out", *words]), "")


def test_results_without_both_metrics_are_not_on_the_front():
    assert photo._families([SimpleNamespace(name="a", metrics={"psnr": {"mean": 1.0}})]) == {}


def test_a_rival_with_steps_in_its_name_is_on_the_front(tmp_path):
    pytest.importorskip("matplotlib")
    metrics = {"psnr": {"mean": 25.0}, "lpips": {"mean": 0.3}}
    results = [SimpleNamespace(name=name, metrics=metrics) for name in ("SinSR 1 step", "photo-x4, 4 steps")]
    photo.draw_front(results, tmp_path / "front.png")
    assert (tmp_path / "front.png").exists()
    assert photo._families(results) == {
        "SinSR 1 step": {(25.0, 0.3): ["SinSR 1 step"]},
        "photo-x4": {(25.0, 0.3): ["4 steps"]},
    }


def test_rows_that_have_seen_the_original_are_not_on_the_front():
    metrics = {"psnr": {"mean": 50.0}, "lpips": {"mean": 0.01}}
    names = ["m, 4 steps", "m, HR guidance"]
    assert photo._families([SimpleNamespace(name=name, metrics=metrics) for name in names]) == {
        "m": {(50.0, 0.01): ["4 steps"]}
    }


def test_pictures_show_the_methods_in_order(tmp_path):
    Image.fromarray(scene()).save(tmp_path / "a.png")
    black, white = (
        photo.rival_method(name, lambda lr, v=v: np.full((4 * lr.shape[0], 4 * lr.shape[1], 3), v))
        for name, v in (("DAT-light", 0.0), ("Real-ESRGAN x4plus", 1.0))
    )
    items, protocol = [Item("a", target=tmp_path / "a.png")], load_protocol("plain")
    photo.draw_pictures([white, black], items, tmp_path / "sheet.png", protocol)
    sheet = np.asarray(Image.open(tmp_path / "sheet.png"))
    middle, width = sheet[18 + 60], photo.PART + 4
    assert middle[60].tolist() == [0, 0, 0]
    assert middle[width + 60].tolist() == [255, 255, 255]
    np.testing.assert_array_equal(sheet[18 : 18 + 128, 2 * width : 2 * width + 128], scene())


def test_pairs_have_the_photographs_and_lr_images_that_depend_on_the_seed(tmp_path):
    (tmp_path / "in").mkdir()
    Image.fromarray(scene(131)).save(tmp_path / "in" / "a.png")
    pairs = []
    for seed in (0, 0, 1):
        assert camera_pairs.main(["--photographs", str(tmp_path / "in"), "--seed", str(seed), "-o", str(tmp_path)]) == 0
        pairs.append([np.asarray(Image.open(tmp_path / name / "0000.png")) for name in ("HR", "LR")])
    np.testing.assert_array_equal(pairs[0][0], scene(131)[:128, :128])
    assert pairs[0][1].shape == (32, 32, 3)
    np.testing.assert_array_equal(pairs[0][1], pairs[1][1])
    assert (pairs[0][1] != pairs[2][1]).any()
    assert np.abs(pairs[0][1].mean((0, 1)) - scene(131).mean((0, 1))).max() < 12  # the same scene


def test_pairs_in_good_light_have_half_the_noise(tmp_path):
    (tmp_path / "in").mkdir()
    for seed in range(12):
        Image.fromarray(np.full((64, 64, 3), 120, np.uint8)).save(tmp_path / "in" / f"{seed:02}.png")
    spread = []
    for more in ([], ["--good-light"]):
        out = tmp_path / f"out{len(more)}"
        assert camera_pairs.main(["--photographs", str(tmp_path / "in"), "-o", str(out), *more]) == 0
        spread.append(np.mean([np.asarray(Image.open(path)).std() for path in sorted((out / "LR").iterdir())]))
    assert 0.35 < spread[1] / spread[0] < 0.65


def test_the_picture_shows_a_bicubic_reduction_or_what_a_camera_makes():
    hr = scene()
    np.testing.assert_array_equal(picture.make_lr(hr, None), downsample_bicubic_uint8(hr, 4))
    first, second, again = (picture.make_lr(hr, seed) for seed in (0, 1, 0))
    np.testing.assert_array_equal(first, again)
    assert (first != second).any()


def test_sharpness_of_a_bicubic_reduction_is_one_and_of_a_softer_one_less():
    hr = scene()
    sharp = downsample_bicubic_uint8(hr, 4)
    soft = np.asarray(Image.fromarray(hr).resize((32, 32), Image.Resampling.BILINEAR))
    assert degradations.statistics(sharp, hr)[0] == pytest.approx(1)
    assert degradations.statistics(soft, hr)[0] < 0.95


def test_noise_is_the_deviation_of_flat_parts():
    noisy = 127 + 5 * np.random.default_rng(0).normal(size=(256, 256))
    expected = 5 * np.sqrt(chi2.ppf(0.1, 15) / 16)  # of the deviations of 16 independent details
    assert degradations._noise(noisy) == pytest.approx(expected, rel=0.03)
    assert degradations._noise(np.tile(np.arange(256.0), (256, 1))) < 1e-9


def test_blocks_are_steps_at_every_eighth_column():
    ramp = np.tile(np.arange(64.0), (64, 1))
    assert degradations._blocks(ramp) == pytest.approx(1)
    assert degradations._blocks(ramp + 2 * (np.arange(64) // 8)) == pytest.approx(3)


def test_residuals_are_those_of_the_preset_in_kind():
    table = degradations.residuals([scene(192, seed) for seed in range(2)], 16, 0)
    assert table.shape == (8, 8, 3)
    np.testing.assert_allclose(table, table.transpose(1, 0, 2))
    stored = np.array(PHOTO_RESIDUALS).reshape(8, 8, 3)
    assert (np.diff(stored[0, 1:, 0]) < 0).all()  # in photographs, less and less
    np.testing.assert_array_equal(stored, stored.transpose(1, 0, 2))


@pytest.mark.slow
def test_the_command_makes_table_front_and_pictures(tmp_path, monkeypatch, capsys):
    """All of it on one small picture, with a rival, results of another program, and the bundled models."""
    pytest.importorskip("matplotlib")
    data, out = tmp_path / "data", tmp_path / "out"
    for folder in (data / "kodak24", tmp_path / "other"):
        folder.mkdir(parents=True)
        Image.fromarray(scene(128)).save(folder / "1.png")
    monkeypatch.setattr(photo, "installed", lambda wheels: {"DAT-light": lambda lr: lr.repeat(4, 0).repeat(4, 1)})
    words = ["--data", data, "--sets", "kodak", "--steps", "2", "1", "--metrics", "psnr", "lpips", "--runs", "1"]
    words += ["--pictures", "1", "--results", f"other={tmp_path / 'other'}", "-o", out]
    assert photo.main([str(word) for word in words]) == 0
    table = capsys.readouterr().out
    rows = (
        "bicubic",
        "other",
        "DAT-light",
        "photo-x4, 1 step",
        "photo-x4, 2 steps",
        "photo-x4, vivid",
        "tiny-x4, vivid",
    )
    for name in rows:
        assert f"| {name} |" in table, name
    assert "Time of" in table
    assert {"front-kodak.png", "pictures-kodak.png", "table.csv", "table.md", "table.tex"} <= set(os.listdir(out))

"""Test which results the sample command makes from files, with their names and sidecars."""

import shlex
from pathlib import Path

import numpy as np
import pytest

from jaxsr.cli.sample import main
from jaxsr.storage import sha256_file
from tests.cli.sampling import files, picture, read_pixels, run, sidecar
from tests.small_model import enlarged

pytestmark = pytest.mark.usefixtures("model")


def test_a_tree_of_files_is_mirrored(exact, tmp_path, capsys):
    names = ["a.png", "sub/b.jpg", "sub/deep/c.webp", "d.tif", "e.bmp"]
    pictures = {name: picture(tmp_path / "in" / name, (6, 5), seed) for seed, name in enumerate(names)}
    assert run("-i", tmp_path / "in", "-o", tmp_path / "out", "--recursive") == 0
    made = [name.replace(".bmp", ".png") for name in names]
    assert files(tmp_path / "out") == sorted([*made, *(f"{name}.json" for name in made)])
    for name, target in zip(names, made, strict=True):
        assert read_pixels(tmp_path / "out" / target).shape == (20, 24, 3)
        if Path(name).suffix in (".png", ".tif", ".bmp"):
            np.testing.assert_array_equal(read_pixels(tmp_path / "out" / target), enlarged(pictures[name]))
    out, err = capsys.readouterr()
    assert out.startswith("5 made (")
    assert "images/s), 0 there already, 0 failed" in out
    assert err == ""  # no terminal, no bar


def test_names_formats_and_samples(model, tmp_path):
    picture(tmp_path / "a.png", (9, 7))
    words = ["-i", tmp_path / "a.png", "-o", tmp_path / "out", "--tile", "32"]
    assert run(*words, "--suffix", "_x4", "--ext", "webp", "--n-samples", 2) == 0
    made = [tmp_path / "out" / f"a_x4_{sample}.webp" for sample in (0, 1)]
    assert files(tmp_path / "out") == sorted(f"{path.name}{end}" for path in made for end in ("", ".json"))
    assert np.abs(read_pixels(made[0]).astype(int) - read_pixels(made[1])).mean() > 1
    assert [sidecar(path)["options"]["sample"] for path in made] == [0, 1]
    assert run(*words, "--ext", "jpg", "--quality", 10, "--suffix", "_low") == 0
    assert run(*words, "--ext", "jpg", "--quality", 95) == 0
    assert (tmp_path / "out/a_low.jpg").stat().st_size < (tmp_path / "out/a.jpg").stat().st_size


def test_the_command_and_the_call_agree(model, tmp_path):
    pixels = picture(tmp_path / "a.png", (9, 7))
    assert run("-i", tmp_path / "a.png", "-o", tmp_path / "out", "--tile", "32", "--seed", "9") == 0
    np.testing.assert_array_equal(read_pixels(tmp_path / "out/a.png"), model.upscale(pixels, tile=32, seed=9))


def test_the_same_picture_under_another_name_gives_the_same_result(model, tmp_path):
    for name in ("b/z.png", "b/a.tif", "c.png"):
        picture(tmp_path / name, (9, 7))
    words = ["-o", tmp_path / "out", "--tile", "32"]
    assert run("-i", tmp_path / "b", tmp_path / "c.png", *words) == 0
    first = read_pixels(tmp_path / "out/z.png")
    np.testing.assert_array_equal(read_pixels(tmp_path / "out/a.tif"), first)
    np.testing.assert_array_equal(read_pixels(tmp_path / "out/c.png"), first)


def test_the_sidecar_tells_how_to_make_the_same_bytes_again(model, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    picture(Path("in/a photo.jpg"), (40, 9))
    settings = "--steps 2 --sampler ancestral --seed 7 --n-samples 2 --batch 3 --tile 32x16 --tile-noise fresh"
    settings += " --ext jpg --quality 80"
    assert run("-i", "in", *settings.split()) == 0
    record = sidecar(Path("out/a photo_1.jpg"))
    assert record["output_sha256"] == sha256_file(Path("out/a photo_1.jpg"))
    assert record["input_sha256"] == sha256_file(Path("in/a photo.jpg"))
    assert record["model_sha256"] == model.sha256
    assert (record["size"], record["tiles"], record["batch"], record["options"]["overlap"]) == ([160, 36], 2, 3, 16)
    python, m, module, *words = shlex.split(record["command"])
    assert (python, m, module) == ("python", "-m", "jaxsr.sample")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert main(words) == 0
    assert sha256_file(Path("out/a photo_1.jpg")) == record["output_sha256"]


def test_the_recorded_command_names_a_known_model_as_the_user_did(exact, tmp_path):
    picture(tmp_path / "a.png")
    for name in ("resshift-faceir", "resshift-faceir-s4"):
        assert run("-i", tmp_path / "a.png", "-o", tmp_path / name, "-n", name) == 0
        assert f"--model={name}" in shlex.split(sidecar(tmp_path / name / "a.png")["command"])


def test_the_recorded_command_finds_its_result_done(exact, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    picture(Path("a.png"))
    assert run("-i", "a.png") == 0
    assert main(shlex.split(sidecar(Path("out/a.png"))["command"])[3:]) == 0
    assert "0 made, 1 there already" in capsys.readouterr().out

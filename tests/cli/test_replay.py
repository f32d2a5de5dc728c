"""Test that a result is made again to the byte from its record, and that whatever differs is named."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from jaxsr.batch import replay as library
from jaxsr.cli.commands import main
from jaxsr.imaging.record import read_record
from jaxsr.storage import sha256_file
from jaxsr.upscaling import loading
from tests.cli.sampling import files, picture, read_pixels, sidecar

SETTINGS = "--steps 2 --seed 7 --tile 32x16 --tile-noise fresh --batch 2 --quality 80"


@pytest.fixture(autouse=True)
def folder(model, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    picture(tmp_path / "in/a.png", (40, 9))
    return tmp_path


def sample(*words: str, output: str = "out/b.png") -> Path:
    assert main(["sample", "in/a.png", "-o", output, *SETTINGS.split(), *words]) == 0
    return Path(output)


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp", "tif"])
@pytest.mark.parametrize("given", ["sidecar", "picture", "picture alone"])
def test_the_same_bytes(folder, suffix, given, capsys):
    result = sample(output=f"out/b.{suffix}")
    expected = sha256_file(result)
    if given == "picture alone":
        Path(f"{result}.json").unlink()
    before = files(folder)
    source = ["--input", "in/a.png"] if given == "picture alone" else []
    assert main(["replay", f"{result}.json" if given == "sidecar" else str(result), *source]) == 0
    out = capsys.readouterr().out.splitlines()[-1]
    assert out == f"{result}: the same bytes, SHA-256 {expected[:12]}..."
    assert files(folder) == before


@pytest.mark.parametrize(
    "words", [("--strip", "-0.1,0.2"), ("--alpha", "0.1,0.2"), ("--n-samples", "2"), ("--thinning", "1,3")]
)
def test_strips_scales_samples_and_kept_rows_too(words):
    assert main(["sample", "in/a.png", *SETTINGS.split(), *words]) == 0
    for result in Path("out").glob("*.png"):
        Path(f"{result}.json").unlink()
        assert main(["replay", str(result), "--input", "in/a.png"]) == 0


def test_a_result_that_is_gone_comes_back(capsys):
    result = sample()
    data = result.read_bytes()
    result.unlink()
    assert main(["replay", f"{result}.json"]) == 0
    assert result.read_bytes() == data
    assert "written: out/b.png" in capsys.readouterr().out
    assert main(["replay", f"{result}.json", "-o", "new/c.png"]) == 1  # there is no such folder
    assert main(["replay", f"{result}.json", "-o", "c.png"]) == 0
    assert Path("c.png").read_bytes() == data
    assert main(["replay", f"{result}.json", "-o", "c.png"]) == 1
    assert main(["replay", f"{result}.json", "-o", "c.png", "--overwrite"]) == 0


def test_the_input_is_found_beside_the_record_or_where_the_user_says(tmp_path, monkeypatch, capsys):
    result = sample()
    Path(f"{result}.json").unlink()
    (tmp_path / "far").mkdir()
    shutil.copy(result, "far/b.png")
    monkeypatch.chdir(tmp_path / "far")
    assert main(["replay", "b.png"]) == 3
    assert "b.png: its input a.png is not there; give --input" in capsys.readouterr().err
    assert main(["replay", "b.png", "--input", "../in/a.png"]) == 0
    shutil.copy("../in/a.png", "a.png")
    assert main(["replay", "b.png"]) == 0


@pytest.mark.parametrize("given", ["nothing.png", "other.png"])
def test_an_input_that_is_given_must_be_the_one(capsys, given):
    """Even where the recorded one is still in its place."""
    picture(Path("other.png"), seed=7)
    assert main(["replay", str(sample()), "--input", given]) == 3
    said = "--input: there is no file nothing.png" if given == "nothing.png" else "the input differs: other.png has"
    assert said in capsys.readouterr().err


def test_a_record_of_wrong_types_does_not_stop_the_others(capsys):
    record = sidecar(result := sample())
    for field in ("input_sha256", "model_sha256", "model", "output_sha256", "input"):
        Path("b.png.json").write_text(json.dumps(record | {field: 5}))
        assert main(["replay", "b.png.json", str(result)]) == 3
        said = capsys.readouterr()
        assert "failed: b.png.json: " in said.err
        assert field in said.err
        assert "the same bytes" in said.out


def test_another_input_and_another_model_are_named_before_any_work(model, monkeypatch, capsys):
    result = sample()
    other = replace(model, sha256="0" * 64)
    monkeypatch.setattr(loading, "load", lambda *_, **__: other)
    assert main(["replay", str(result)]) == 3
    error = capsys.readouterr().err
    assert f"the model differs: {model.source.name} has the SHA-256 000000000000..., " in error
    assert f"the record has {model.sha256[:12]}" in error
    picture(Path("in/a.png"), (40, 9), seed=1)
    assert main(["replay", str(result)]) == 3
    assert "the input differs: in/a.png has the SHA-256" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["jaxsr", "jax", "pillow", "device", "processor"])
def test_what_it_was_made_with_is_named_if_the_bytes_differ(name, model, monkeypatch, capsys):
    result = sample()
    record = sidecar(result) | {name: "9.9"}
    Path(f"{result}.json").write_text(json.dumps(record))
    assert main(["replay", str(result)]) == 0  # the bytes are the same nevertheless
    out = capsys.readouterr().out
    assert f"(made with {name} " in out
    assert ", not 9.9)" in out
    change = lambda self, options, *_: lambda params, key, tiles, *more: tiles.repeat(4, 1).repeat(4, 2) * 0.5  # noqa: E731
    monkeypatch.setattr(type(model), "compiled", change)
    assert main(["replay", str(result)]) == 3
    error = capsys.readouterr().err
    assert error.startswith("out/b.png: differs: ")
    assert "% of the values differ, by at most " in error
    assert error.rstrip().endswith(", not 9.9")


def test_a_file_that_alone_differs_is_told_from_pixels_that_do(monkeypatch, capsys):
    result = sample()
    monkeypatch.setattr(library, "surroundings", lambda: {"jaxsr": "9.9", "jax": "1", "pillow": "1", "device": "cpu"})
    from jaxsr.batch import sidecar as sidecar_module

    monkeypatch.setattr(sidecar_module, "surroundings", lambda: {"jaxsr": "9.9"})
    assert main(["replay", str(result)]) == 3
    assert "differs: the pixels are the same, the file is not; jaxsr 9.9, not " in capsys.readouterr().err


def test_a_result_that_was_changed_afterwards_differs(capsys):
    result = sample()
    data = read_pixels(result).copy()
    data[0, 0] ^= 1
    Image.fromarray(data).save(result)
    assert main(["replay", f"{result}.json"]) == 0  # the record's own bytes
    assert main(["replay", str(result)]) == 3  # the changed picture holds no record
    assert "holds no record of how it was made; give its sidecar, b.png.json." in capsys.readouterr().err


@pytest.mark.parametrize("level", ["minimal", "strip"])
def test_less_metadata_leaves_the_record_out(level):
    result = sample("--metadata", level)
    assert read_record(result) is None
    assert main(["replay", f"{result}.json"]) == 0


def test_the_record_inside_names_no_folder(tmp_path):
    result = sample(output="out/b.jpg")
    text = read_record(result)
    assert text is not None
    assert str(tmp_path) not in text
    assert json.loads(text)["input"] == "a.png"


def test_several_records_are_counted(capsys):
    one, two = sample(), sample("--alpha", "0.1", output="out/c.png")
    Path("x.json").write_text("{}")
    Path("y.json").write_text("[")
    assert main(["replay", str(one), str(two)]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "2 the same, 0 differ, 0 failed"
    assert main(["replay", str(one), "x.json", "y.json", "none.png", "in/a.png"]) == 3
    out, err = capsys.readouterr()
    assert out.splitlines()[-1] == "1 the same, 0 differ, 4 failed"
    for reason in ("x.json: is no sidecar", "y.json: its record cannot be read", "none.png: no such file", "no record"):
        assert reason in err


@pytest.mark.parametrize("option", ["-o", "-i"])
def test_one_file_is_for_one_record(option, capsys):
    with pytest.raises(SystemExit) as stopped:
        main(["replay", "a.json", "b.json", option, "c.png"])
    assert stopped.value.code == 2
    assert "is for a single record" in capsys.readouterr().err


def test_a_record_does_not_follow_a_picture_into_the_next(capsys):
    """An enlarged picture is an input too: its record is of the old pixels, and is no text that gets lost."""
    for suffix in ("png", "jpg", "tif", "webp"):
        first = sample(output=f"out/b.{suffix}")
        assert main(["sample", str(first), "-o", "out/twice.png", *SETTINGS.split(), "--overwrite"]) == 0
        text = read_record(Path("out/twice.png"))
        assert text is not None
        assert json.loads(text)["input"] == first.name
        assert sidecar(Path("out/twice.png"))["notes"] == []
    np.testing.assert_array_equal(read_pixels(Path("out/twice.png")).shape, (144, 640, 3))

"""Test where the sample command takes its inputs from: words, `-i`, or both; and a named output."""

import os
import threading
from contextlib import nullcontext

import numpy as np
import pytest
from PIL import Image

from jaxsr.cli.commands import main
from tests.cli.sampling import files, picture, read_pixels, sidecar
from tests.small_model import enlarged

pytestmark = pytest.mark.usefixtures("exact")


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for seed, name in enumerate(("a.png", "b.png", "in/c.png")):
        picture(tmp_path / name, seed=seed)
    return tmp_path


@pytest.mark.parametrize(
    ("words", "made"),
    [
        ("a.png", "a"),
        ("a.png b.png in", "abc"),
        ("a.png -o out b.png", "ab"),
        ("-o out a.png", "a"),
        ("-i a.png -o out", "a"),
        ("in -i a.png b.png -o out", "abc"),
        ("a.png a.png -i a.png", "a"),
        ("--alpha 0 a.png", "a"),
        ("-- a.png", "a"),
    ],
)
def test_files_and_folders_are_words_or_inputs_or_both(words, made, folder):
    assert main(["sample", *words.split()]) == 0
    assert [name for name in files(folder / "out") if name.endswith(".png")] == [f"{name}.png" for name in made]


def test_a_file_that_is_named_is_written_with_its_record(folder):
    pixels = picture(folder / "a.png", seed=5)
    assert main(["sample", "a.png", "-o", "new/out.tif"]) == 0
    assert files(folder / "new") == ["out.tif", "out.tif.json"]
    np.testing.assert_array_equal(read_pixels(folder / "new/out.tif"), enlarged(pixels))
    assert sidecar(folder / "new/out.tif")["format"] == "tif"


def test_a_named_file_of_another_format_is_of_that_format(folder):
    assert main(["sample", "a.png", "-o", "out.jpg"]) == 0
    with Image.open("out.jpg") as image:
        assert image.format == "JPEG"


def test_a_pipe_keeps_its_name_in_the_record(folder):
    content = (folder / "a.png").read_bytes()
    os.mkfifo(folder / "pipe.png")
    writer = threading.Thread(target=(folder / "pipe.png").write_bytes, args=(content,))
    writer.start()
    (folder / "link.png").symlink_to(folder / "pipe.png")
    assert main(["sample", "link.png", "-o", "out.png"]) == 0
    writer.join()
    assert f"--input={folder / 'link.png'} " in sidecar(folder / "out.png")["command"]


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        ("", 2, "give at least one image or folder"),
        ("-o out", 2, "give at least one image or folder"),
        ("a.png b.png -o out.png", 1, "out.png is one file, but there would be 2 results"),
        ("a.png -o a.png", 1, "would replace an input"),
        ("missing.png", 1, "missing.png: there is no such file or folder"),
    ],
)
def test_what_cannot_be_meant_is_refused(words, code, message, folder, capsys):
    before = files(folder)
    with pytest.raises(SystemExit) if code == 2 else nullcontext() as stopped:
        assert main(["sample", *words.split()]) == code
    assert stopped is None or stopped.value.code == code
    assert message in capsys.readouterr().err
    assert files(folder) == before

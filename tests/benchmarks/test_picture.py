"""Test how the panels of a picture of the documents are laid out."""

import sys

import numpy as np
import pytest
from PIL import Image

from benchmarks import picture

COLOURS = {"LR": (200, 0, 0), "plain": (0, 200, 0), "original": (0, 0, 200)}


@pytest.mark.parametrize(
    ("words", "size", "places"),
    [
        ([], (3 * 20 + 2 * 8, 26 + 20), {"LR": (0, 0), "plain": (1, 0), "original": (2, 0)}),
        (["--columns", "2"], (2 * 20 + 8, 2 * (26 + 20)), {"LR": (0, 0), "plain": (1, 0), "original": (0, 1)}),
        (["--columns", "1"], (20, 3 * (26 + 20)), {"LR": (0, 0), "plain": (0, 1), "original": (0, 2)}),
    ],
)
def test_panels_lie_in_rows(tmp_path, monkeypatch, words, size, places):
    Image.new("RGB", (32, 32)).save(tmp_path / "hr.png")
    versions = {name: Image.new("RGB", (32, 32), colour) for name, colour in COLOURS.items()}
    monkeypatch.setattr(picture, "panels", lambda hr, lr, args: versions)
    given = ["--hr", str(tmp_path / "hr.png"), "--box", "0,0,10,10", "--zoom", "2", "-o", str(tmp_path / "out.png")]
    monkeypatch.setattr(sys, "argv", ["picture", *given, *words])
    picture.main()
    sheet = np.asarray(Image.open(tmp_path / "out.png"))
    assert sheet.shape == (size[1], size[0], 3)
    for name, (column, row) in places.items():
        left, top = column * (20 + 8), row * (20 + 26) + 26
        assert (sheet[top : top + 20, left : left + 20] == COLOURS[name]).all()
        assert (sheet[top - 26 : top, left : left + 20] != 255).any(), "the name of the panel stands above it"

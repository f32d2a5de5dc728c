"""Test the pictures of a calibration, with and without matplotlib."""

import sys

import numpy as np
import pytest
from PIL import Image

from jaxsr.calibration import plots
from jaxsr.calibration.candidates import Numbers, plain_numbers
from jaxsr.calibration.plan import Choices
from jaxsr.calibration.run import CalibrationRun, calibrate, example_images
from jaxsr.data.pairs import open_pairs
from tests.calibration.fake import compile_once, fake_upscaler, install, write_photos


@pytest.fixture
def made(tmp_path, monkeypatch):
    install(monkeypatch)
    compile_once(monkeypatch)
    monkeypatch.setattr(plots, "example_images", lambda run, scales: np.full((len(scales), 64, 64, 3), 0.5, np.float32))
    pairs = open_pairs(str(write_photos(tmp_path / "hr")), scale=4, crop=16)
    choices = Choices(candidates=(-0.2, 0.0, 0.2, 0.4), metrics=("psnr", "swd"))
    one = CalibrationRun(upscaler=fake_upscaler(), name="smooth", pairs=pairs, choices=choices)
    return one, calibrate(one, tmp_path / "calib.json"), tmp_path / "calib.json"


def test_two_pictures_are_written_beside_the_file(made):
    pytest.importorskip("matplotlib", reason="extra check: needs the notebooks extra")
    written = plots.write_plots(*made)
    assert [path.name for path in written] == ["calib.json.loss.png", "calib.json.front.png"]
    for path in written:
        with Image.open(path) as image:
            assert len(set(image.convert("L").resize((64, 64)).tobytes())) > 10  # something is drawn


def test_example_images_are_of_the_first_pair_and_differ_by_scale(tmp_path, monkeypatch):
    install(monkeypatch)
    pairs = open_pairs(str(write_photos(tmp_path / "hr")), scale=4, crop=16)
    one = CalibrationRun(upscaler=fake_upscaler(), name="smooth", pairs=pairs, choices=Choices(candidates=(0.0,)))
    scales = [plain_numbers([scale] * 3) for scale in (0.0, 0.4, 0.0)]
    images = example_images(one, [*scales, scales[0]._replace(projection=1.0), Numbers((0.0,) * 3, (1.5,) * 3)])
    assert images.shape == (5, 64, 64, 3)
    assert min(np.abs(images[i] - images[0]).max() for i in (3, 4)) > 0.003
    assert np.abs(images[1] - images[0]).max() > 0.01
    np.testing.assert_allclose(images[2], images[0], atol=1e-6)
    nearest = pairs[0][0].repeat(4, 0).repeat(4, 1) / 255
    assert np.abs(images[0] - nearest).mean() < 0.15  # they show that picture


def test_without_matplotlib_a_line_says_so(made, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    assert plots.write_plots(*made) == []
    assert "pip install '.[notebooks]'" in capsys.readouterr().err
    assert not list(made[2].parent.glob("*.png"))

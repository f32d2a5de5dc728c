"""Test strips whose panels are presets, `plain` and numbers: their pixels, labels, records, and what is refused."""

import shlex
from pathlib import Path

import numpy as np
import pytest

from jaxsr.batch.strip import GAP, panels
from jaxsr.cli.commands import main as jaxsr
from jaxsr.cli.sample import main
from jaxsr.upscaling import upscaler as upscaler_module
from tests.cli.guided import PIXELS, guided_folder, guided_model, pixels, run, sidecar  # noqa: F401
from tests.small_model import enlarged
from tests.upscaling.small_calibration import BY_HAND, make_calibration

NAMES = "--strip plain,vivid,-0.5"
MEANS = (0.0, 0.2, -0.5)  # of alpha over the steps, which the fake network multiplies by


@pytest.fixture(name="calibration")
def calibration_beside_the_model(model, folder):
    make_calibration(model).write(model.source.with_name("calibration-2.json"))


def shown(alpha: float, colour: np.ndarray = PIXELS) -> np.ndarray:
    return np.clip(enlarged(colour.astype(float) * (1 - alpha)), 0, 255)


@pytest.mark.usefixtures("calibration")
def test_every_panel_is_what_its_name_says(folder, capsys):
    assert run(NAMES) == 0
    strip, record = pixels("out/a_strip.png"), sidecar("out/a_strip.png")
    assert strip.shape == (48 + 14, 3 * (80 + GAP), 3)
    for i, alpha in enumerate(MEANS):
        np.testing.assert_allclose(panels(np.array(strip), 3)[:, :, i], shown(alpha), atol=0.51)
    labels = [strip[:14, i * 84 : i * 84 + 80] for i in range(3)]
    assert all(label.min() < 100 for label in labels)
    assert not np.array_equal(labels[0], labels[1])
    made = record["options"]["panels"]
    assert [panel["label"] for panel in made] == ["plain", "vivid", "alpha -0.5"]
    assert [panel["options"]["alpha"] for panel in made] == [0.0, [0.3, 0.1], -0.5]
    assert len(record["lr_consistency_db"]) == 3
    capsys.readouterr()
    assert run(NAMES) == 0
    assert main(shlex.split(record["command"])[3:]) == 0
    assert capsys.readouterr().out.count("0 made, 1 there already") == 2
    assert run("--strip plain,vivid,-0.4") == 3
    assert run("--strip plain,faithful,-0.5") == 3


@pytest.mark.usefixtures("calibration")
def test_names_with_spaces_and_a_dry_run_and_a_crop_and_a_size(folder, capsys, monkeypatch):
    monkeypatch.setattr(upscaler_module, "cost", lambda program, arguments: (0.1, 1e6))
    assert run("--strip plain vivid -0.5 --crop 0,0,8,6 --scale 2 --alpha-map map.png --dry-run") == 0
    assert "a_strip.png 60x26: 1 tiles" in capsys.readouterr().out
    assert run("--strip plain vivid -0.5 --crop 0,0,8,6") == 0
    strip = pixels("out/a_strip.png")
    np.testing.assert_allclose(panels(np.array(strip), 3)[:, :, 1], shown(0.2, PIXELS[:6, :8]), atol=0.51)


@pytest.mark.usefixtures("calibration")
def test_a_strip_with_names_is_replayed(folder, capsys):
    assert run(NAMES) == 0
    assert jaxsr(["replay", "out/a_strip.png.json"]) == 0
    Path("out/a_strip.png.json").unlink()
    Path("calibration-2.json").unlink()  # the record has the numbers
    assert jaxsr(["replay", "out/a_strip.png"]) == 0


def test_a_temperature_of_the_user_goes_before_that_of_a_preset(folder, model):
    warm = {"vivid": {"scale": [0.3, 0.1], **BY_HAND, "temperature": [1.2, 1.1], "projection": 0.5}}
    make_calibration(model, presets=warm).write("c.json")
    assert run("--strip plain,vivid --calibration c.json") == 0
    plain, vivid = sidecar("out/a_strip.png")["options"]["panels"]
    assert (plain["options"]["temperature"], vivid["options"]["temperature"]) == (1.0, [1.2, 1.1])
    assert (plain["options"]["projection"], vivid["options"]["projection"]) == (0.0, 0.5)
    words = shlex.split(sidecar("out/a_strip.png")["command"])[3:]
    assert main(words) == 0
    assert run("--strip plain,vivid --calibration c.json --temperature 0.9 --projection 0.25 --overwrite") == 0
    for panel in sidecar("out/a_strip.png")["options"]["panels"]:
        assert (panel["options"]["temperature"], panel["options"]["projection"]) == (0.9, 0.25)


@pytest.mark.usefixtures("calibration")
def test_a_map_leaves_the_plain_panel_alone(folder):
    assert run("--strip plain,1 --alpha-map map.png") == 0
    strip = panels(np.array(pixels("out/a_strip.png")), 2)
    np.testing.assert_array_equal(strip[:, :, 0], enlarged(PIXELS))
    factors = pixels("map.png")[..., None] / 255
    np.testing.assert_allclose(strip[:, :, 1], enlarged(PIXELS * (1 - factors)), atol=0.51)


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        ("--strip plain,none", 1, "none"),
        ("--strip plain,vivid --calibration missing.json", 1, "missing.json"),
        ("--strip plain,vivid --alpha 0.1", 2, "--strip: gives alpha, as --alpha does"),
        ("--strip plain,vivid --preset vivid", 2, "--strip: gives alpha, as --preset does"),
        ("--strip 0,0.1 --calibration c.json", 2, "--calibration: say which of its presets to use"),
        ("--strip plain,photo.jpg", 2, "--strip: must be numbers"),
    ],
)
@pytest.mark.usefixtures("calibration")
def test_what_is_no_panel_is_refused(words, code, message, folder, capsys):
    if code == 2:
        with pytest.raises(SystemExit):
            run(words)
    else:
        assert run(words) == code
    assert message in capsys.readouterr().err
    assert not (folder / "out").exists()


def test_without_a_calibration_only_presets_are_refused(folder, capsys):
    assert run("--strip plain,0.5") == 0
    assert run("--strip plain,vivid --overwrite") == 1
    assert "calibration*.json; make one with" in capsys.readouterr().err

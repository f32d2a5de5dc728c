"""Test the sample command with guidance: usage, sidecars, when a job is done, strips, presets, LR-consistency."""

import json
import shlex
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from jaxsr.batch.strip import GAP, panels
from jaxsr.cli.sample import main
from jaxsr.storage import sha256_file
from jaxsr.upscaling import upscaler as upscaler_module
from jaxsr.upscaling.upscaler import Upscaler
from tests.small_model import enlarged, nearest
from tests.upscaling.small_calibration import make_calibration

PIXELS = np.random.default_rng(0).integers(0, 256, (12, 20, 3), np.uint8)


@pytest.fixture(autouse=True)
def model(small_upscalers, monkeypatch) -> Upscaler:
    """Replace the network with `nearest` times 1 + alpha, and fit every reference with a scale of -1."""

    def guided(params, key, tiles, origins, guides=None):
        plain = nearest(params, key, tiles, origins)
        if guides is None:
            return plain
        rows = guides.scale.reshape(-1, guides.scale.shape[-1])
        strength = 1 if guides.weight is None else guides.weight.repeat(4, 1).repeat(4, 2)
        panels = [plain * (1 - strength * row.mean()) for row in rows]
        if guides.hr:
            inside = guides.hr.weight.repeat(4, 1).repeat(4, 2)
            panels = [panel * (1 - inside) + guides.hr.image * inside for panel in panels]
        return np.concatenate(panels, -1)

    upscaler = small_upscalers["channel"]
    monkeypatch.setattr(upscaler_module, "load", lambda name, *, accept_license: upscaler)
    monkeypatch.setattr(Upscaler, "compiled", lambda *_: guided)
    monkeypatch.setattr(upscaler_module, "measure_tiles", lambda *_: [])
    monkeypatch.setattr(upscaler_module, "fit_reference", lambda moments: ((-1.0, -0.5), (0.0, 0.125)))
    monkeypatch.setattr(
        upscaler_module, "fit_lr_scale", lambda moments, objective: (0.5, 0.25 if objective == "norm" else 0.0)
    )
    return upscaler


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Image.fromarray(PIXELS).save("a.png")
    Image.fromarray(enlarged(PIXELS)[:, :40]).save("hr.png")
    Image.fromarray(np.tile(np.uint8([[0, 255]]), (12, 10))).save("map.png")
    mask = np.zeros((12, 20), np.uint8)
    mask[:, :10] = 255
    Image.fromarray(mask).save("mask.png")
    return tmp_path


def _run(words: str) -> int:
    return main(f"-i a.png {words}".split())


def _pixels(path: str) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image)


def _sidecar(path: str) -> dict:
    return json.loads(Path(f"{path}.json").read_text())


BOX = "--reference hr.png --reference-box 0,0,10,12"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--alpha much", "--alpha: must be numbers"),
        ("--alpha 0.1,inf", "--alpha: must be numbers"),
        ("--strip 1;2", "--strip: must be numbers"),
        ("--alpha 0.1 --preset vivid", "--preset: gives alpha, as --alpha does"),
        ("--alpha 0.1 --strip 1", "--strip: gives alpha, as --alpha does"),
        ("--strip 1 --preset vivid", "--strip: gives alpha, as --preset does"),
        ("--calibration c.json", "--calibration: say which of its presets"),
        ("--calibration c.json --alpha 0.1", "--calibration: say which of its presets"),
        ("--reference-box 0,0,1,1", "--reference-box: needs --reference"),
        ("--reference-mask mask.png", "--reference-mask: needs --reference"),
        ("--feather 2", "--feather: needs --reference"),
        ("--objective norm", "--objective: needs --reference"),
        (f"{BOX} --objective norm --alpha 0.1", "--objective: is for an alpha that is fitted"),
        ("--reference hr.png", "--reference: say where it lies"),
        (f"{BOX} --reference-mask mask.png", "--reference: say where it lies"),
        ("--reference hr.png --reference-box 0,0,10", "--reference-box: must be X,Y,WIDTH,HEIGHT"),
        (f"{BOX} --feather -1", "--feather"),
        ("--through state", "--through: there is nothing that guides"),
        ("--through state --alpha 0", "--through: there is nothing that guides"),
        ("--reference-variance marginal", "--reference-variance: there is nothing"),
        ("--reference-mean shifted --alpha 0.1", "--reference-mean: needs --reference"),
        ("--alpha-map map.png", "--alpha-map: multiplies alpha"),
        ("--alpha-map map.png --alpha 0,0", "--alpha-map: multiplies alpha"),
    ],
)
def test_what_does_not_go_together_is_refused_before_any_work(words, message, capsys, monkeypatch):
    monkeypatch.setattr(upscaler_module, "load", lambda *_, **__: pytest.fail("the model was loaded"))
    with pytest.raises(SystemExit) as stopped:
        _run(words)
    assert stopped.value.code == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--alpha 0.1,0.2,0.3", "alpha: must be one number or 2"),
        ("--alpha 0.1 --alpha-map no.png", "no.png: no such file"),
        ("--reference no.png --reference-box 0,0,10,12", "no.png: no such file"),
        ("--preset vivid", "calibration.json; make one with"),
        ("--preset vivid --calibration a.png", "a.png"),
        (f"{BOX} a.png hr.png".replace("--ref", "-i a.png hr.png --ref", 1).rsplit(" a.png", 1)[0], "one image"),
    ],
)
def test_what_cannot_be_done_is_one_sentence(folder, words, message, capsys):
    assert _run(words) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    assert message in error
    assert not (folder / "out").exists()


@pytest.mark.parametrize("words", ["--alpha 0.1 --alpha-map hr.png", "--reference hr.png --reference-box 0,0,9,12"])
def test_files_that_do_not_fit_the_image_cost_that_image(folder, words, capsys):
    assert _run(words) == 3
    assert "must be" in capsys.readouterr().err
    assert _run(f"{words} --dry-run") == 3


GUIDED = {
    "--alpha 0.5": {"alpha": [0.5, 0.5]},
    "--alpha -0.5,0.25": {"alpha": [-0.5, 0.25]},
    "--alpha .5 --alpha-map map.png": {"alpha": [0.5, 0.5], "alpha_map": "map.png"},
    "--strip -0.5,0,0.5": {"alpha": [[-0.5, -0.5], [0, 0], [0.5, 0.5]]},
    BOX: {
        "alpha": [0.5, 0.0],
        "reference_scale": [-1.0, -0.5],
        "reference_offset": [0.0, 0.125],
        "reference": "hr.png",
    },
    f"{BOX} --objective norm": {"alpha": [0.5, 0.25], "reference": "hr.png"},
    f"{BOX} --alpha 0.25 --feather 0": {"alpha": [0.25, 0.25], "reference": "hr.png"},
    f"{BOX} --strip -0.5,0.5": {"alpha": [[-0.5, -0.5], [0.5, 0.5]], "reference": "hr.png"},
    f"{BOX} --reference-mean shifted": {"alpha": [0.5, 0.0], "reference": "hr.png"},
    "--reference hr.png --reference-mask mask.png": {"reference": "hr.png", "reference_mask": "mask.png"},
}


@pytest.mark.parametrize("words", GUIDED)
def test_the_sidecar_tells_the_guidance_and_the_recorded_command_finds_it_done(folder, words, capsys):
    assert _run(words) == 0
    name = "out/a_strip.png" if "strip" in words else "out/a.png"
    record = _sidecar(name)
    guidance = record["guidance"]
    assert GUIDED[words].items() <= guidance.items()
    for key in ("alpha_map", "reference", "reference_mask"):
        if key in guidance:
            assert guidance[f"{key}_sha256"] == sha256_file(folder / guidance[key])
    recorded = shlex.split(record["command"])[3:]
    capsys.readouterr()
    assert main([word for word in recorded if word != "--suffix"]) == 0
    assert "0 made, 1 there already" in capsys.readouterr().out


def test_results_of_other_guidance_are_neither_done_nor_replaced(folder, capsys):
    choices = ["", "--alpha 0.5", "--alpha 0.5 --alpha-map map.png", "--alpha 0.5 --alpha-map mask.png", BOX]
    choices += [f"{BOX} --feather 2", f"{BOX} --objective norm", f"{BOX} --alpha 0", "--alpha 0.5 --through state"]
    for words in choices:
        assert _run(f"{words} --overwrite") == 0
        assert [_run(other) for other in choices] == [0 if other == words else 3 for other in choices], words
    before = capsys.readouterr() and _sidecar("out/a.png")
    assert _run("--strip 0,1") == 0
    assert _run("--strip 0,2") == 3  # another strip lies beside the result
    assert _sidecar("out/a.png") == before


def test_maps_and_references_reach_their_places(folder):
    assert _run("--alpha 0.5 --alpha-map map.png") == 0
    factors = _pixels("map.png")[..., None] / 255
    wanted = enlarged(PIXELS * (1 - 0.5 * factors))
    np.testing.assert_allclose(_pixels("out/a.png"), wanted, atol=0.51)
    assert _run(f"{BOX} --alpha 0.5 --feather 0 --overwrite") == 0
    result = _pixels("out/a.png")
    np.testing.assert_array_equal(result[:, :40], enlarged(PIXELS)[:, :40])
    np.testing.assert_allclose(result[:, 40:], enlarged(PIXELS * 0.5)[:, 40:], atol=0.51)


@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA"])
def test_a_strip_shows_its_panels_under_their_numbers(folder, mode, monkeypatch, capsys):
    Image.fromarray(PIXELS).convert(mode).save("a.png")
    monkeypatch.setattr(upscaler_module, "cost", lambda program, arguments: (0.1, 1e6 * arguments[-1].scale.size))
    assert _run("--strip -0.5,0,0.5 --dry-run") == 0
    assert "a_strip.png 252x62: 1 tiles of 64, 6 MB for the network, 0.1 MB" in capsys.readouterr().out
    assert _run("--strip -0.5,0,0.5") == 0
    strip, record = _pixels("out/a_strip.png"), _sidecar("out/a_strip.png")
    assert strip.shape == (48 + 14, 3 * (80 + GAP), 3)
    assert record["size"] == [strip.shape[1], strip.shape[0]]
    shown, colour = panels(np.array(strip), 3), np.asarray(Image.open("a.png").convert("RGB"))
    for i, alpha in enumerate((-0.5, 0, 0.5)):
        wanted = np.clip(enlarged(colour.astype(float) * (1 - alpha)), 0, 255)
        np.testing.assert_allclose(shown[:, :, i], wanted, atol=0.51)
    labels = [strip[:14, i * 84 : i * 84 + 80] for i in range(3)]
    assert all(label.min() < 100 and label.max() == 255 for label in labels)
    assert not np.array_equal(labels[0], labels[2])
    assert len(record["lr_consistency_db"]) == 3
    assert record["lr_consistency_db"][1] == max(record["lr_consistency_db"])


def test_the_consistency_with_the_input_is_recorded_and_printed(folder, capsys):
    assert _run("") == 0
    alone = _sidecar("out/a.png")["lr_consistency_db"]
    assert f"LR-consistency: {alone:.2f} dB on average" in capsys.readouterr().out
    assert _run("--alpha 0.5 --overwrite") == 0
    assert _sidecar("out/a.png")["lr_consistency_db"] < alone
    Image.new("L", (4, 4), 0).save("a.png")
    assert _run("--overwrite") == 0
    assert _sidecar("out/a.png")["lr_consistency_db"] is None  # equal images: infinite, which JSON cannot hold


def test_a_preset_is_recorded_with_its_file(folder, model):
    make_calibration(model).write("c.json")
    assert _run("--preset vivid --calibration c.json") == 0
    guidance = _sidecar("out/a.png")["guidance"]
    assert (guidance["preset"], guidance["calibration"], guidance["alpha"]) == ("vivid", "c.json", [0.3, 0.1])
    assert guidance["calibration_sha256"] == sha256_file(Path("c.json"))
    assert _run("--preset faithful --calibration c.json") == 3
    make_calibration(model, model_sha256="0" * 64).write("d.json")
    assert _run("--preset vivid --calibration d.json") == 1

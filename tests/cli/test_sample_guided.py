"""Test the sample command with guidance: usage, sidecars, when a job is done, strips, LR-consistency."""

import shlex

import numpy as np
import pytest
from PIL import Image

from jaxsr.batch.strip import GAP, panels
from jaxsr.cli.sample import main
from jaxsr.storage import sha256_file
from jaxsr.upscaling import loading
from jaxsr.upscaling import upscaler as upscaler_module
from tests.cli.guided import BOX, PIXELS, guided_folder, guided_model, pixels, run, sidecar  # noqa: F401
from tests.small_model import enlarged


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
        ("--reference-slope -1", "--reference-slope: needs --reference"),
        (f"{BOX} --reference-slope high", "--reference-slope: must be numbers"),
        ("--save-calibration c.json --alpha 0.1", "--save-calibration: keeps what is fitted to a reference"),
        (f"{BOX} --save-calibration c.json --alpha 0.1", "--save-calibration: keeps what is fitted"),
        (f"{BOX} --save-calibration c.json --reference-slope -1", "--save-calibration: keeps what is fitted"),
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
    monkeypatch.setattr(loading, "load", lambda *_, **__: pytest.fail("the model was loaded"))
    with pytest.raises(SystemExit) as stopped:
        run(words)
    assert stopped.value.code == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--alpha 0.1,0.2,0.3", "alpha: must be one number or 2"),
        (f"{BOX} --reference-slope 1,2,3", "reference_slope: must be one number or 2"),
        (f"{BOX} --save-calibration a.png", "--save-calibration: a.png is there already"),
        ("--alpha 0.1 --alpha-map no.png", "no.png: no such file"),
        ("--reference no.png --reference-box 0,0,10,12", "no.png: no such file"),
        ("--preset vivid", "calibration*.json; make one with"),
        ("--preset vivid --calibration a.png", "a.png"),
        (f"{BOX} a.png hr.png".replace("--ref", "-i a.png hr.png --ref", 1).rsplit(" a.png", 1)[0], "one image"),
    ],
)
def test_what_cannot_be_done_is_one_sentence(folder, words, message, capsys):
    assert run(words) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    assert message in error
    assert not (folder / "out").exists()


@pytest.mark.parametrize("words", ["--alpha 0.1 --alpha-map hr.png", "--reference hr.png --reference-box 0,0,9,12"])
def test_files_that_do_not_fit_the_image_cost_that_image(folder, words, capsys):
    assert run(words) == 3
    assert "must be" in capsys.readouterr().err
    assert run(f"{words} --dry-run") == 3


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
        "fit_r2": [0.25, 0.5],
    },
    f"{BOX} --reference-slope -0.75 --reference-offset 0.1,0.2": {
        "reference_scale": [-0.75, -0.75],
        "reference_offset": [0.1, 0.2],
        "alpha": [0.5, 0.0],
    },
    f"{BOX} --objective norm": {"alpha": [0.5, 0.25], "reference": "hr.png"},
    f"{BOX} --alpha 0.25 --feather 0": {"alpha": [0.25, 0.25], "reference": "hr.png"},
    f"{BOX} --strip -0.5,0.5": {"alpha": [[-0.5, -0.5], [0.5, 0.5]], "reference": "hr.png"},
    f"{BOX} --reference-mean shifted": {"alpha": [0.5, 0.0], "reference": "hr.png"},
    "--reference hr.png --reference-mask mask.png": {"reference": "hr.png", "reference_mask": "mask.png"},
}


@pytest.mark.parametrize("words", GUIDED)
def test_the_sidecar_tells_the_guidance_and_the_recorded_command_finds_it_done(folder, words, capsys):
    assert run(words) == 0
    name = "out/a_strip.png" if "strip" in words else "out/a.png"
    record = sidecar(name)
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
        assert run(f"{words} --overwrite") == 0
        assert [run(other) for other in choices] == [0 if other == words else 3 for other in choices], words
    before = capsys.readouterr() and sidecar("out/a.png")
    assert run("--strip 0,1") == 0
    assert run("--strip 0,2") == 3  # another strip lies beside the result
    assert sidecar("out/a.png") == before


def test_maps_and_references_reach_their_places(folder):
    assert run("--alpha 0.5 --alpha-map map.png") == 0
    factors = pixels("map.png")[..., None] / 255
    wanted = enlarged(PIXELS * (1 - 0.5 * factors))
    np.testing.assert_allclose(pixels("out/a.png"), wanted, atol=0.51)
    assert run(f"{BOX} --alpha 0.5 --feather 0 --overwrite") == 0
    result = pixels("out/a.png")
    np.testing.assert_array_equal(result[:, :40], enlarged(PIXELS)[:, :40])
    np.testing.assert_allclose(result[:, 40:], enlarged(PIXELS * 0.5)[:, 40:], atol=0.51)


@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA"])
def test_a_strip_shows_its_panels_under_their_numbers(folder, mode, monkeypatch, capsys):
    Image.fromarray(PIXELS).convert(mode).save("a.png")
    monkeypatch.setattr(upscaler_module, "cost", lambda program, arguments: (0.1, 1e6 * arguments[-1].scale.size))
    assert run("--strip -0.5,0,0.5 --dry-run") == 0
    assert "a_strip.png 252x62: 1 tiles of 32, 6 MB for the network, 0.1 MB" in capsys.readouterr().out
    assert run("--strip -0.5,0,0.5") == 0
    strip, record = pixels("out/a_strip.png"), sidecar("out/a_strip.png")
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
    assert run("") == 0
    alone = sidecar("out/a.png")["lr_consistency_db"]
    assert f"LR-consistency: {alone:.2f} dB on average" in capsys.readouterr().out
    assert run("--strip=0,0.5") == 0
    panels_alone = [f"{number:.2f}" for number in sidecar("out/a_strip.png")["lr_consistency_db"]]
    assert f"LR-consistency: panel by panel, {', '.join(panels_alone)} dB on average" in capsys.readouterr().out
    assert run("--alpha 0.5 --overwrite") == 0
    assert sidecar("out/a.png")["lr_consistency_db"] < alone
    Image.new("L", (4, 4), 0).save("a.png")
    assert run("--overwrite") == 0
    assert sidecar("out/a.png")["lr_consistency_db"] is None  # equal images: infinite, which JSON cannot hold

"""Test the sample command with calibrations: presets, fits kept for other images, and notes about bad choices."""

from pathlib import Path

import pytest
from PIL import Image

from jaxsr.cli.sample import main
from jaxsr.guidance.calibration_file import Calibration
from jaxsr.storage import sha256_file
from tests.cli.guided import BOX, PIXELS, guided_folder, guided_model, run, sidecar  # noqa: F401
from tests.small_model import enlarged
from tests.upscaling.small_calibration import make_calibration


def test_a_preset_is_recorded_with_its_file(folder, model):
    make_calibration(model).write("c.json")
    assert run("--preset vivid --calibration c.json") == 0
    guidance = sidecar("out/a.png")["guidance"]
    assert (guidance["preset"], guidance["calibration"], guidance["alpha"]) == ("vivid", "c.json", [0.3, 0.1])
    assert guidance["calibration_sha256"] == sha256_file(Path("c.json"))
    assert run("--preset faithful --calibration c.json") == 3
    make_calibration(model, model_sha256="0" * 64).write("d.json")
    assert run("--preset vivid --calibration d.json") == 1


def test_what_was_fitted_to_one_image_serves_others(folder, model):
    assert run(f"{BOX} --save-calibration c.json") == 0
    saved = Calibration.read("c.json")
    assert saved.presets["fitted"]["scale"] == [0.5, 0.0]
    assert saved.reference == {"slope": [-1.0, -0.5], "offset": [0.0, 0.125]}
    assert saved.open_loop == {"fit": {"r2": [0.25, 0.5]}}
    assert saved.data["input_sha256"] == sha256_file(Path("a.png"))
    assert saved.data["reference_sha256"] == sha256_file(Path("hr.png"))
    Image.fromarray(PIXELS[::-1]).save("b.png")
    Image.fromarray(enlarged(PIXELS[::-1])[:, :40]).save("hr_b.png")
    assert main(["-i", "b.png", "--preset", "fitted", "--calibration", "c.json"]) == 0
    assert sidecar("out/b.png")["guidance"]["alpha"] == [0.5, 0.0]
    words = f"-i b.png --preset fitted --calibration c.json {BOX.replace('hr', 'hr_b')} --overwrite"
    assert main(words.split()) == 0
    guidance = sidecar("out/b.png")["guidance"]
    assert (guidance["reference_scale"], guidance["reference_offset"]) == ([-1.0, -0.5], [0.0, 0.125])
    assert "fit_r2" not in guidance


def test_a_fit_with_kept_rows_serves_these_rows_only(folder, capsys):
    assert run(f"{BOX} --thinning 1,3 --save-calibration c.json") == 0
    assert Calibration.read("c.json").thinning == "1,3"
    again = "--preset fitted --calibration c.json --overwrite"
    assert run(f"{again} --thinning 1,3") == 0
    assert run(f"{again} --thinning 0,2") == 1
    assert "--thinning 1,3" in capsys.readouterr().err


def test_a_fit_is_not_saved_over_a_file_nor_for_a_finished_result(folder, capsys):
    assert run(BOX) == 0
    assert run(f"{BOX} --save-calibration c.json") == 1
    assert "--save-calibration: out/a.png is there already, so nothing would be fitted" in capsys.readouterr().err
    assert not Path("c.json").exists()
    assert run(f"{BOX} --save-calibration c.json --overwrite") == 0
    before = Path("c.json").read_bytes()
    assert run(f"{BOX} --save-calibration c.json --suffix _2") == 1
    assert "c.json is there already" in capsys.readouterr().err
    assert Path("c.json").read_bytes() == before


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        ("--save-calibration none/c.json", 1, "--save-calibration: there is no folder none"),
        ("--save-calibration . --overwrite", 1, "--save-calibration: . is a folder; give the name of a file"),
        ("--save-calibration c.json --n-samples 2", 2, "keeps the fit of one result; leave --n-samples out"),
        ("--save-calibration c.json --dry-run", 2, "keeps the fit of one result; leave --dry-run out"),
        ("--reference-offset 1", 2, "--reference-offset: belongs to --reference-slope"),
    ],
)
def test_a_fit_that_could_not_be_kept_is_refused_before_the_work(folder, capsys, words, code, message):
    if code == 2:
        with pytest.raises(SystemExit):
            run(f"{BOX} {words}")
    else:
        assert run(f"{BOX} {words}") == code
    assert message in capsys.readouterr().err
    assert not (folder / "out").exists()


def test_a_choice_that_its_calibration_knows_to_be_bad_gets_a_note(folder, model, capsys):
    closed = {"fidelity": "psnr", "perception": "swd", "constant_range": [[-0.1, 0.2]], "range": [[0, 0.3], [0, 0.1]]}
    bad = {
        "vivid": {
            "scale": [2.0, 2.0],
            "temperature": [1.0, 1.0],
            "projection": 0.0,
            "rule": "by hand",
            "change": {},
            "warning": "lost 12 dB of psnr",
        }
    }
    settings = {"closed_loop": closed, "presets": bad, "reference_variance": "posterior"}
    make_calibration(model, **settings).write(model.source.with_name("calibration-2.json"))
    notes = {
        "--alpha 0.2": "",
        "--alpha 0.3": "alpha 0.3 lies outside of the calibrated range -0.1 to 0.2 (ancestral, 2 steps)",
        "--alpha 0.3,0.2": "alpha 0.2 at t = 2 lies outside of the calibrated range 0 to 0.1",
        "--strip 0,0.1,-0.2": "alpha -0.2 lies outside",
        "--preset vivid": "preset vivid lost 12 dB of psnr",
        "--alpha 0.3 --sampler heun": "",  # nothing is known of it
        "--alpha 0.3 --reference-variance marginal": "",
    }
    for words, note in notes.items():
        assert run(f"{words} --overwrite") == 0, words
        error = capsys.readouterr().err
        assert (f"note: {note}" in error) if note else ("note: " not in error), words
    assert run(f"{BOX} --overwrite") == 0
    note = "1 image was enlarged by a fit whose alpha 0.5 at t = 1 lies outside of the calibrated range 0 to 0.3"
    assert f"note: {note}" in capsys.readouterr().out
    assert "was enlarged by a fit" in sidecar("out/a.png")["notes"][0]

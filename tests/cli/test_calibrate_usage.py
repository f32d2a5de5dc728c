"""Test what the calibrate command refuses, and that it then writes nothing."""

import pytest

from jaxsr.cli import calibrate
from tests.cli.test_calibrate import CLOSED, fake

__all__ = ["fake"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--candidates", "1:2"), "--candidates: must be"),
        (("--multiples", "1:2"), "--multiples: must be"),
        (("--crop", "20"), "--crop: must be a multiple of 8"),
        (("--steps", "9"), "steps: this model's schedule has 4 steps"),
        (("--closed-loop", "psnr"), "--closed-loop: needs a metric of perception"),
        (("--closed-loop", "psnr,maniqa"), "metric: no 'maniqa'"),
        ((*CLOSED, "--profile", "none"), "--profile: no 'none'"),
        ((*CLOSED, "--losses", "0.25"), "--losses: needs two numbers"),
        ((*CLOSED, "--losses=-1,0"), "--losses: must be two numbers of 0 or more"),
        ((*CLOSED, "--rule", "best"), "rule: 'best' is not understood"),
        ((*CLOSED, "--rule", "min niqe"), "--rule: niqe is not measured"),
        (("--closed-loop", "psnr,niqe"), "--crop: LR crops of 16 pixels are too small for niqe: images of 64 x 64"),
        (("--lr-pairs", "missing"), "no such folder"),
        (("--crop", "64"), "gives 0 photographs"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_bad_input_gets_one_sentence_and_writes_nothing(fake, tmp_path, capsys, words, message):
    assert calibrate.main(fake(*words)) == 1
    error = capsys.readouterr().err
    assert message in error
    assert (error.count("\n"), error[:7]) == (1, "error: ")
    assert list(tmp_path.glob("calib*")) == []


@pytest.mark.parametrize("words", [(), ("--overwrite",)], ids=str)
def test_a_folder_as_the_output_is_refused_at_once(fake, tmp_path, capsys, words):
    (tmp_path / "calib.json").mkdir()
    assert calibrate.main(fake(*words)) == 1
    assert "calib.json is a folder; give the name of a file" in capsys.readouterr().err
    assert not (tmp_path / "calib.json.part").exists()


@pytest.mark.parametrize(
    "words",
    [
        ("--rule", "max fidelity"),
        ("--losses", "0,0.25"),
        ("--profile", "last"),
        ("--search", "2"),
        (*CLOSED, "--search", "0"),
        ("--batch", "0"),
        ("--coordinator", "localhost:1"),
    ],
    ids=" ".join,
)
def test_wrong_usage_is_refused(fake, words):
    with pytest.raises(SystemExit) as stopped:
        calibrate.main(fake(*words))
    assert stopped.value.code == 2

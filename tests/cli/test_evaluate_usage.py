"""Test what the evaluate command refuses: wrong usage, and folders that do not match."""

import pytest

from jaxsr.cli import calibrate, evaluate


def test_whatever_has_no_partner_is_listed_and_nothing_written(command, tmp_path, capsys):
    (tmp_path / "sr" / "b.png").rename(tmp_path / "sr" / "d.png")
    assert command() == 1
    error = capsys.readouterr().err
    assert "--pred: without one partner of the same name: b (no file)" in error
    assert "d.png" in error
    assert not list(tmp_path.glob("result*"))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--protocol", "no"), "--protocol: no 'no'"),
        (("--protocol", "set5"), "--protocol: the images are not those of set5: baby (missing), "),
        (("--protocol", "realsr"), "--protocol: no 'realsr' (did you mean realsr-sub?)"),
        (("-m", "psnt"), "--metrics: no 'psnt'"),
        (("-m", "lr_consistency"), "lr_consistency needs the LR images; give --lr"),
        (("--lr", "none"), "no such folder"),
        (("--worst", "w.png", "--worst-by", "ssim"), "--worst-by: ssim is not measured"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_bad_input_gets_one_sentence_and_writes_nothing(command, tmp_path, capsys, words, message):
    assert command(*words) == 1
    error = capsys.readouterr().err
    assert message in error
    assert (error.count("\n"), error[:7]) == (1, "error: ")
    assert not list(tmp_path.glob("result*"))


SAMPLING = {
    "--steps": "4",
    "--thinning": "released",
    "--tile": "off",
    "--overlap": "0",
    "--blend": "mean",
    "--tile-noise": "fresh",
    "--like": "resshift",
    "--through": "state",
    "--reference-variance": "marginal",
    "--alpha": "0",
    "--temperature": "1",
    "--projection": "1",
}


@pytest.mark.parametrize("option", SAMPLING)
@pytest.mark.parametrize("method", [("--pred", "x"), ("-n", "bicubic")], ids=" ".join)
def test_options_of_sampling_are_for_a_model_that_samples(capsys, method, option):
    with pytest.raises(SystemExit) as stopped:
        evaluate.main([*method, "-o", "r", option, SAMPLING[option]])
    assert stopped.value.code == 2
    assert f"argument {option}: " in capsys.readouterr().err


@pytest.mark.parametrize(
    "words",
    [
        ("--pred", "x", "-n", "y", "-o", "r"),
        ("-o", "r"),
        ("--pred", "x", "-o", "r", "--dataset", "y"),
        ("--pred", "x", "-o", "r", "--data", "y"),
        ("-n", "y", "-o", "r", "--target", "x"),
        ("-n", "y", "-o", "r", "--alpha", "0.1", "--preset", "vivid"),
        ("-n", "y", "-o", "r", "--calibration", "c.json"),
        ("-n", "y", "-o", "r", "--like", "resshift", "--tile", "64"),
        ("-n", "y", "-o", "r", "--through", "state"),
        ("--pred", "x", "-o", "r", "--worst-by", "psnr"),
        ("--pred", "x", "-o", "r", "--limit", "0"),
    ],
    ids=" ".join,
)
def test_wrong_usage_is_refused(words):
    with pytest.raises(SystemExit) as stopped:
        evaluate.main(list(words))
    assert stopped.value.code == 2


@pytest.mark.parametrize("name", ["photo.png", "results", "r.csv"])
@pytest.mark.parametrize("command", [evaluate, calibrate])
def test_a_result_is_named_as_json(tmp_path, capsys, command, name):
    (tmp_path / "photo.png").write_bytes(b"a photograph")
    words = ["--pred", tmp_path, "--target", tmp_path] if command is evaluate else ["--pairs", tmp_path]
    assert command.main([*map(str, words), "-o", str(tmp_path / name), "--overwrite"]) == 1
    assert f"--output: {tmp_path / name} gets JSON; give a name that ends in .json" in capsys.readouterr().err
    assert (tmp_path / "photo.png").read_bytes() == b"a photograph"


def test_a_file_is_no_data_set(tmp_path, capsys):
    (tmp_path / "p.png").touch()
    assert evaluate.main(["-n", "bicubic", "--dataset", str(tmp_path / "p.png"), "-o", str(tmp_path / "r.json")]) == 1
    assert f"--dataset: {tmp_path / 'p.png'} is a file; give the folder that holds it" in capsys.readouterr().err

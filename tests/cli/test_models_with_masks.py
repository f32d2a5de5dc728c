"""Test that commands refuse a model that needs a mask before they download it, and that the list says what it needs."""

import pytest

from jaxsr.cli import calibrate, evaluate, sample, study
from jaxsr.hub.cards import check_can_run
from tests.cli.sampling import picture

COMMANDS = {
    "sample": (sample, "-i {0}/0.png -o {0}/out"),
    "evaluate": (evaluate, "--dataset {0} -o {0}/out.json"),
    "evaluate suite": (evaluate, "suite --data {0} --sets set5 -o {0}/out"),
    "calibrate": (calibrate, "--pairs {0} -o {0}/out.json"),
    "study": (study, "--pairs {0} -o {0}/out"),
}


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("name", ["resshift-inpainting-imagenet-s4", "resshift-inpainting-face"])
def test_a_model_that_needs_a_mask_is_refused_before_its_download(command, name, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("JAXSR_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr("jaxsr.hub.download.fetch", lambda *_, **__: pytest.fail("a download began"))
    picture(tmp_path / "0.png", (64, 64))
    module, words = COMMANDS[command]
    assert module.main([*words.format(tmp_path).split(), "-n", name, "--accept-license"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"error: model: {name.removesuffix('-s4')}-s4 fills in the part")
    assert "give the mask with --mask of python -m jaxsr.sample" in line
    assert [path.name for path in tmp_path.iterdir()] == ["0.png"]


def test_a_mask_or_another_model_or_a_path_passes():
    check_can_run("resshift-inpainting-face", mask=True)
    for name in ("resshift-faceir-s4", "tiny-x4", "./resshift-inpainting-face-s4", "unknown"):
        check_can_run(name, mask=False)


def test_a_mask_for_a_model_that_takes_none_is_refused_before_its_download():
    with pytest.raises(ValueError, match="model: resshift-realsr-s4-v3 takes no mask; leave --mask out"):
        check_can_run("resshift-realsr-s4-v3", mask=True)


def test_the_list_says_which_models_need_a_mask(capsys):
    assert sample.main(["--list-models"]) == 0
    needing = [line.split()[0] for line in capsys.readouterr().out.splitlines() if "; needs --mask; " in line]
    assert needing == ["resshift-inpainting-imagenet-s4", "resshift-inpainting-face-s4"]

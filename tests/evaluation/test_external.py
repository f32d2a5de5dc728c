"""Test scores that another Python interpreter computes, with a stand-in for pyiqa there."""

import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from jaxsr.evaluation.external import PYTHON_VARIABLE, VARIANTS, ExternalScores, identify, score_external

STAND_IN = """
import os, random, sys
import numpy as np
from PIL import Image

def pixels(path):
    return np.asarray(Image.open(path), float)

class Metric:
    lower_better = False

    def __init__(self, name, options):
        self.name, self.options = name, options
        print("loading", name)  # as pyiqa does, on stdout

    def __call__(self, pred, target=None):
        print("scoring", pred)
        if self.name == "fid":
            return sum(pixels(os.path.join(pred, f)).mean() for f in os.listdir(pred)) + 1000 * len(os.listdir(target))
        if self.name == "clipiqa":
            sys.stderr.write("out of memory\\n")
            os._exit(7)
        if self.name.startswith("maniqa"):
            return random.random() + len(self.name)
        if target is None:
            return pixels(pred).max()
        return abs(pixels(pred) - pixels(target)).mean() + 100 * self.options.get("test_y_channel", False)

def create_metric(name, **options):
    if name == "lpips":
        raise OSError("no network to fetch the weights " + options["net"])
    return Metric(name, options)
"""


@pytest.fixture
def pyiqa(tmp_path, monkeypatch):
    """Install a stand-in package `pyiqa`, version 9.9, where the child process finds it; return its folder."""
    folder = tmp_path / "site"
    (folder / "pyiqa-9.9.dist-info").mkdir(parents=True)
    (folder / "pyiqa-9.9.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: pyiqa\nVersion: 9.9\n")
    (folder / "pyiqa.py").write_text(STAND_IN)
    monkeypatch.setenv("PYTHONPATH", str(folder))
    return folder


@pytest.fixture
def pairs(tmp_path) -> tuple[list[Path], list[Path]]:
    """Write three pairs of flat images: 10, 20, 30 beside 7, 7, 7."""
    for kind in ("pred", "target"):
        (tmp_path / kind).mkdir()
    for k, value in enumerate((10, 20, 30)):
        Image.fromarray(np.full((4, 4, 3), value, np.uint8)).save(tmp_path / "pred" / f"{k}.png")
        Image.fromarray(np.full((4, 4, 3), 7, np.uint8)).save(tmp_path / "target" / f"{k}.png")
    return sorted((tmp_path / "pred").iterdir()), sorted((tmp_path / "target").iterdir())


def scores(result: ExternalScores | str) -> ExternalScores:
    assert isinstance(result, ExternalScores), result
    return result


def test_scores_come_in_the_order_of_the_files_with_what_made_them(pyiqa, pairs):
    seen = []
    found = score_external(["psnr", "ssim", "niqe", "fid"], *pairs, on_score=lambda *event: seen.append(event))
    assert list(found) == ["psnr", "ssim", "niqe", "fid"]
    psnr, ssim, niqe, fid = map(scores, found.values())
    assert psnr.values == (3, 13, 23)
    assert ssim.values == (103, 113, 123)  # of Y, unlike the PSNR
    assert niqe.values == (10, 20, 30)
    assert (fid.set_score, fid.values) == (3060, ())
    assert psnr.variant == "pyiqa psnr(test_y_channel=False)"
    assert psnr.versions["pyiqa"] == "9.9"
    assert psnr.versions["python"] == ".".join(map(str, sys.version_info[:3]))
    assert (psnr.lower_is_better, psnr.weights_sha256, psnr.problems) == (False, None, {})
    by = identify(psnr.variant, psnr.versions, psnr.weights_sha256)
    assert seen[:3] == [("psnr", pairs[0][k], 3 + 10 * k, by) for k in range(3)]
    assert (psnr.note, "biased" in fid.note) == ("", True)


def test_a_variant_is_another_metric_or_has_other_options(pyiqa, pairs):
    changes = {"psnr": {"test_y_channel": True}, "maniqa": {"metric": "maniqa-pipal"}}
    plain = score_external(["psnr", "maniqa"], *pairs)
    changed = score_external(["psnr", "maniqa"], *pairs, changes)
    assert scores(changed["psnr"]).variant == "pyiqa psnr(test_y_channel=True)"
    assert scores(changed["psnr"]).values == (103, 113, 123)
    assert scores(changed["maniqa"]).variant == "pyiqa maniqa-pipal()"
    assert scores(changed["maniqa"]).values[0] == pytest.approx(scores(plain["maniqa"]).values[0] + 6)


def test_random_crops_are_the_same_for_every_file_and_run(pyiqa, pairs):
    (values,) = {scores(score_external(["maniqa"], *pairs)["maniqa"]).values for _ in range(2)}
    assert len(set(values)) == 1


def test_one_unreadable_image_does_not_lose_the_rest(pyiqa, pairs):
    pairs[0][1].write_bytes(b"no image")
    found = scores(score_external(["psnr"], *pairs)["psnr"])
    assert found.values == (3, None, 23)
    assert list(found.problems) == [pairs[0][1]]
    assert "cannot identify image" in found.problems[pairs[0][1]]


def test_what_cannot_be_had_is_said_and_nothing_takes_its_place(pyiqa, pairs):
    found = score_external(["psnr", "lpips", "clipiqa", "dists"], *pairs)
    assert scores(found["psnr"]).values == (3, 13, 23)
    assert "lpips has no scores: pyiqa lpips(net=alex, version=0.1) failed (OSError: no network" in found["lpips"]
    for name in ("clipiqa", "dists"):  # the process died in the first, before the second
        assert found[name] == f"{name} has no scores: pyiqa stopped with code 7 (out of memory)"


def test_without_targets_only_what_needs_none_is_scored(pyiqa, pairs):
    found = score_external(["psnr", "niqe", "fid"], pairs[0], None)
    assert scores(found["niqe"]).values == (10, 20, 30)
    assert found["psnr"] == "psnr compares with an original: give the targets"
    assert found["fid"] == "fid compares with an original: give the targets"


def test_an_interpreter_without_pyiqa_is_named_with_the_way_out(pyiqa, pairs, monkeypatch):
    (pyiqa / "pyiqa.py").write_text("raise ImportError('no pyiqa here')")
    found = score_external(["psnr"], *pairs)["psnr"]
    assert f"cannot be imported in {sys.executable} (ImportError: no pyiqa here): run " in found
    assert "non-commercial" in found
    assert PYTHON_VARIABLE in found


def test_the_interpreter_is_the_argument_or_the_variable(pyiqa, pairs, tmp_path, monkeypatch):
    monkeypatch.setenv(PYTHON_VARIABLE, str(tmp_path / "none" / "python"))
    assert f"cannot run {tmp_path / 'none' / 'python'}" in score_external(["psnr"], *pairs)["psnr"]
    assert scores(score_external(["psnr"], *pairs, python=sys.executable)["psnr"]).values == (3, 13, 23)


def test_wrong_requests_are_refused(pairs):
    for names, preds, targets, problem in (
        (["psnr", "musiq"], *pairs, "'musiq' is not known"),
        (["psnr"], [], [], "no images"),
        (["psnr"], pairs[0], pairs[1][:2], "3 predictions and 2 targets"),
    ):
        with pytest.raises(ValueError, match=problem):
            score_external(names, preds, targets)


def test_all_metrics_of_the_papers_table_are_there():
    assert list(VARIANTS) == ["psnr", "ssim", "lpips", "dists", "niqe", "maniqa", "clipiqa", "fid"]

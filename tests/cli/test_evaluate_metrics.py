"""Test metrics of the evaluate command that need weights or another library: computed, or reported as missing."""

import numpy as np
import pytest
from PIL import Image

from jaxsr.evaluation import run
from jaxsr.hub import checkpoint
from jaxsr.metrics.catalogue import METRICS, external_metric
from jaxsr.metrics.lpips import lpips_shapes
from jaxsr.storage import sha256_file
from tests.cli.results import read


def test_a_metric_that_cannot_be_had_is_told_and_not_replaced(command, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(run, "why_missing", lambda name, protocol: "no weights" if name == "lpips" else None)
    assert command("lpips") == 3
    assert read(tmp_path).metrics["lpips"]["missing"] == "no weights"
    out, error = capsys.readouterr()
    assert "LPIPS: no weights." in out
    assert "| – |" in out
    assert error.splitlines()[-1].startswith("not computed: lpips")


def test_a_library_that_is_not_there_can_be_asked_again(command, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("JAXSR_PYIQA_PYTHON", str(tmp_path / "none"))
    for _ in range(2):  # needs no --overwrite
        assert command("maniqa") == 3
        out, error = capsys.readouterr()
        assert "MANIQA: cannot run" in out.replace("maniqa has no scores: ", "")
        assert "result.json.part is kept, so that the same command resumes" in error.splitlines()[-1]
    assert read(tmp_path).without == ["maniqa"]


def test_lpips_is_computed_here_where_its_weights_are(command, tmp_path, monkeypatch):
    monkeypatch.setenv("JAXSR_METRICS_DIR", str(tmp_path / "metrics"))
    random = np.random.default_rng(0)
    params = {name: random.normal(0, 0.05, shape).astype(np.float32) for name, shape in lpips_shapes("alex").items()}
    path = checkpoint.save(tmp_path / "metrics" / "lpips-alex", {k: np.abs(v) for k, v in params.items()}, {})
    assert command("lpips") == 0
    entry = read(tmp_path).metrics["lpips"]
    assert entry["mean"] > 0
    assert entry["variant"] == f"LPIPS 0.1, net alex, weights {sha256_file(path)[:12]}"


def test_an_external_metric_gets_the_compared_files_in_order(command, tmp_path, monkeypatch):
    class Told:
        variant, versions, weights_sha256, set_score = "pyiqa lpips(net=alex)", {"pyiqa": "9"}, "c" * 64, None
        values, problems, note = (0.3, None, 0.1), {}, ""

    def score_external(names, files, targets, variants, on_score):
        assert (names, variants) == (["lpips"], {"lpips": {}})
        for file, target, name in zip(files, targets, "abc", strict=True):
            assert (np.asarray(Image.open(file)) == np.asarray(Image.open(tmp_path / "sr" / f"{name}.png"))).all()
            assert (np.asarray(Image.open(target)) == np.asarray(Image.open(tmp_path / "hr" / f"{name}.png"))).all()
        return {"lpips": Told()}

    monkeypatch.setattr(run.external_scoring.external, "score_external", score_external)
    monkeypatch.setitem(METRICS, "lpips", external_metric("lpips", "LPIPS", False))
    assert command("lpips", "--batch", 1) == 0
    entry = read(tmp_path).metrics["lpips"]
    assert (entry["mean"], entry["n"], entry["note"]) == (pytest.approx(0.2), 2, "of 2 of 3 images")
    assert entry["variant"] == "pyiqa lpips(net=alex), pyiqa 9, weights cccccccccccc"
    assert not (tmp_path / "result.json.files").exists()

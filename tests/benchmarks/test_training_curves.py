"""Test the picture of training curves: it divides terms by their weights, joins parts, and refuses an empty folder."""

import json

import numpy as np
from PIL import Image

from benchmarks import training_curves
from tests.training.tiny_run import write_config


def write_log(path, **terms):
    rows = [{"step": step, **{name: value * step for name, value in terms.items()}} for step in (1, 2, 4)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def test_terms_lose_their_weights(tmp_path):
    write_log(tmp_path / "log_part1.jsonl", error=0.5, perceptual=0.1, loss=0.6)
    config = write_config(tmp_path / "part1.py", hr_size=40, perceptual="lpips-alex", perceptual_weight=0.2)
    updates, curves = training_curves.read_part(tmp_path / "log_part1.jsonl", config)
    assert updates == 4
    assert curves.keys() == {"error", "perceptual"}
    np.testing.assert_array_equal(curves["error"], [[1, 2, 4], [0.5, 1, 2]])
    np.testing.assert_allclose(curves["perceptual"][1], [0.5, 1, 2])


def test_smoothing_keeps_a_constant_and_its_ends():
    np.testing.assert_allclose(training_curves.smooth(np.full(9, 3.0)), 3)
    np.testing.assert_allclose(training_curves.smooth(np.arange(9.0))[4], 4)


def test_all_parts_are_drawn_and_a_folder_without_logs_is_refused(tmp_path, capsys):
    words = ["--logs", str(tmp_path), "--configs", str(tmp_path), "-o", str(tmp_path / "out/curves.png")]
    assert training_curves.main(words) == 1
    assert "--logs: there is no log_part*.jsonl in" in capsys.readouterr().err
    for part in (1, 2):
        write_log(tmp_path / f"log_part{part}.jsonl", error=0.5)
        write_config(tmp_path / f"part{part}.py")
    assert training_curves.main(words) == 0
    red = (np.asarray(Image.open(tmp_path / "out/curves.png").convert("RGB")) == [214, 39, 40]).all(-1)
    columns = np.flatnonzero(red.any(0))
    assert columns.max() - columns.min() > 150  # both parts, side by side

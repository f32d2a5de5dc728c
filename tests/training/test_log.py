"""Test the log: rows on disk, how rows of an interrupted run are dropped, TensorBoard, and what a row holds."""

import importlib.machinery
import json
import sys
import time
import types

import clu
import jax.numpy as jnp
import pytest

from jaxsr.training.log import Meter, RunLog


def rows(folder) -> list[dict]:
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


def test_rows_are_appended(tmp_path):
    for first in (0, 2):
        log = RunLog(tmp_path, first)
        for step in (first + 1, first + 2):
            log.write({"step": step, "loss": step / 8})
    assert rows(tmp_path) == [{"step": step, "loss": step / 8} for step in (1, 2, 3, 4)]


@pytest.mark.parametrize("tail", ['{"step": 4, "lo', "{}", "7", ""])
def test_rows_after_the_checkpoint_and_broken_ones_are_dropped(tmp_path, tail):
    (tmp_path / "log.jsonl").write_text("".join(f'{{"step": {step}}}\n' for step in (1, 2, 3)) + tail)
    RunLog(tmp_path, 2).write({"step": 3, "loss": 0.5})
    assert rows(tmp_path) == [{"step": 1}, {"step": 2}, {"step": 3, "loss": 0.5}]
    assert [path.name for path in tmp_path.iterdir()] == ["log.jsonl"]


class Board:
    """A stand-in for clu's writer, which needs TensorFlow."""

    def __init__(self, folder):
        self.folder, self.written, self.flushed = folder, [], 0

    def write_scalars(self, step, scalars):
        self.written.append((step, scalars))

    def flush(self):
        self.flushed += 1


def test_tensorboard_where_tensorflow_is_installed(tmp_path, monkeypatch):
    tensorflow, boards = types.ModuleType("tensorflow"), []
    tensorflow.__spec__ = importlib.machinery.ModuleSpec("tensorflow", None)
    monkeypatch.setitem(sys.modules, "tensorflow", tensorflow)

    def make_board(folder):
        boards.append(Board(folder))
        return boards[-1]

    monkeypatch.setattr(clu, "metric_writers", types.SimpleNamespace(SummaryWriter=make_board), raising=False)
    RunLog(tmp_path, 0).write({"step": 7, "loss": 0.5, "grad_norm": 2.0})
    assert [(b.folder, b.written, b.flushed) for b in boards] == [
        (str(tmp_path / "tensorboard"), [(7, {"loss": 0.5, "grad_norm": 2.0})], 1)
    ]
    assert rows(tmp_path) == [{"step": 7, "loss": 0.5, "grad_norm": 2.0}]


def test_no_tensorboard_without_tensorflow(tmp_path, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    monkeypatch.setitem(sys.modules, "clu.metric_writers", None)  # importing it now fails
    RunLog(tmp_path, 0).write({"step": 1})
    assert [path.name for path in tmp_path.iterdir()] == ["log.jsonl"]


def test_a_row_is_about_the_updates_since_the_last(monkeypatch):
    clock = iter([10.0, 14.0, 14.0, 24.0, 24.0])
    monkeypatch.setattr(time, "perf_counter", lambda: next(clock))
    meter = Meter(batch_size=8)
    for loss in (1.0, 2.0, 6.0):
        meter.add({"loss": jnp.float32(loss), "error": jnp.float32(loss)})
    assert meter.row(3, jnp.float32(0.5)) == {"step": 3, "loss": 3.0, "grad_norm": 0.5, "images_per_s": 6.0}
    meter.add({"loss": jnp.float32(7.0), "error": jnp.float32(7.0)})
    assert meter.row(4, jnp.float32(0.25)) == {"step": 4, "loss": 7.0, "grad_norm": 0.25, "images_per_s": 0.8}


def test_a_row_has_the_terms_of_a_loss_with_several():
    meter = Meter(batch_size=8)
    for error, perceptual in ((1.0, 3.0), (2.0, 5.0)):
        terms = {"error": jnp.float32(error), "perceptual": jnp.float32(perceptual)}
        meter.add({"loss": jnp.float32(error + perceptual), **terms})
    row = meter.row(2, jnp.float32(0.5))
    assert (row["loss"], row["error"], row["perceptual"]) == (5.5, 1.5, 4.0)


@pytest.mark.parametrize(("losses", "norm"), [([1.0, float("nan"), 1.0], 1.0), ([float("inf")], 1.0), ([1.0], jnp.inf)])
def test_a_row_that_is_not_finite_is_an_error(losses, norm):
    meter = Meter(batch_size=8)
    for loss in losses:
        meter.add({"loss": jnp.float32(loss), "error": jnp.float32(loss)})
    with pytest.raises(FloatingPointError, match=r"^step 9: the loss is .* lower learning_rate"):
        meter.row(9, jnp.float32(norm))

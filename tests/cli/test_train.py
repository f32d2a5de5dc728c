"""Test the train command on a fake model: overrides, resuming, stopping, and messages to the user."""

import io
import json
import sys
from collections.abc import Callable
from dataclasses import replace

import jax
import numpy as np
import pytest

from jaxsr.cli.train import LONG, main
from jaxsr.data import sources
from jaxsr.hub import checkpoint
from jaxsr.models.model import Model
from jaxsr.runtime import compilation
from jaxsr.training import loop
from jaxsr.training.config import TrainConfig, load_config
from jaxsr.training.step import make_update
from tests.training.tiny_run import (
    PIXEL,
    Fake,
    log_rows,
    make_config,
    model_bytes,
    results,
    silent,
    sine_noise,
    steps_kept,
    write_config,
    write_photos,
)

UPDATES: dict[TrainConfig, Callable] = {}


def compile_once(model: Model, config: TrainConfig) -> Callable:
    """Return the same function for runs that differ only in their data, so that `jax.jit` compiles it once."""
    config = replace(config, data="")
    UPDATES[config] = UPDATES.get(config) or make_update(model, config)
    return UPDATES[config]


@pytest.fixture
def fake_run(tmp_path, monkeypatch):
    """Return a function that makes the command's arguments, for a model that compiles quickly."""
    monkeypatch.setattr(loop, "Model", Fake)
    monkeypatch.setattr(loop, "make_update", compile_once)
    monkeypatch.setattr(jax.random, "normal", sine_noise)
    photos = write_photos(tmp_path / "photos")

    def arguments(*more: object, **changed: object) -> list[str]:
        file = write_config(tmp_path / "run.py", data=str(photos), **changed)
        return [str(a) for a in ("--config", file, "-o", tmp_path / "out", *more)]

    return arguments


@pytest.mark.parametrize(("steps", "kept"), [(LONG - 1, True), (LONG, False)])
def test_long_runs_call_onednn_instead_of_keeping_programs(fake_run, monkeypatch, steps, kept):
    calls = []
    monkeypatch.setattr(compilation, "enable_compilation_cache", lambda *args: calls.append(args))
    assert main(fake_run("--steps", steps, stop_at=1)) == 0
    assert bool(calls) == kept


def test_fewer_steps_than_the_warm_up_of_the_config_shorten_it(fake_run, tmp_path):
    assert main(fake_run("--steps", 20, steps=400, warmup=100)) == 0
    stored = json.loads((tmp_path / "out" / "config.json").read_text())
    assert (stored["steps"], stored["warmup"]) == (20, 2)


def test_overrides_replace_the_config_and_another_config_is_refused(fake_run, tmp_path, capsys):
    more = write_photos(tmp_path / "more")
    assert main(fake_run("--data", more, "--steps", 5, "--seed", 3, steps=12)) == 0
    stored = json.loads((tmp_path / "out" / "config.json").read_text())
    assert (stored["data"], stored["steps"], stored["seed"]) == (str(more), 5, 3)
    assert [row["step"] for row in log_rows(tmp_path / "out")] == [1, 2, 3, 4, 5]
    _, metadata = checkpoint.load(tmp_path / "out" / "model")
    assert metadata["training"]["seed"] == 3
    capsys.readouterr()
    assert main(fake_run("--data", more, "--steps", 5, "--seed", 4, steps=12)) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith(f"error: --output: {tmp_path / 'out'} holds a run of another config")
    assert json.loads((tmp_path / "out" / "config.json").read_text()) == stored


def test_a_run_from_before_a_field_existed_goes_on(fake_run, tmp_path):
    assert main(fake_run(steps=4)) == 0
    file = tmp_path / "out" / "config.json"
    stored = json.loads(file.read_text())
    del stored["codec_checkpoint"], stored["start_from"]
    file.write_text(json.dumps(stored))
    assert main(fake_run(steps=4)) == 0


def test_a_run_starts_from_the_parameters_of_a_checkpoint(fake_run, tmp_path):
    start = {name: np.full((1, 1, 1, 1), 0.25, np.float32) for name in Fake(PIXEL).shapes()}
    checkpoint.save(tmp_path / "start", start, {})
    # The rate is too small to change a float32 number, so the run returns the parameters that it started from.
    assert main(fake_run(start_from=str(tmp_path / "start"), learning_rate=1e-30)) == 0
    params, _ = checkpoint.load(tmp_path / "out" / "model")
    assert params == start
    trained = fake_run("-o", tmp_path / "trained", start_from=str(tmp_path / "start"))
    assert main(trained) == 0
    params, _ = checkpoint.load(tmp_path / "trained" / "model")
    assert all(abs(params[name] - start[name]) > 1e-3 for name in start)


def test_ctrl_c_leaves_a_run_that_goes_on(fake_run, tmp_path):
    assert main(fake_run("-o", tmp_path / "whole")) == 0
    config, output = load_config(tmp_path / "run.py"), tmp_path / "out"

    def interrupt(line: str) -> None:
        if line.startswith("step 5/"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        loop.train(config, output, silent, interrupt)
    assert steps_kept(output) == ["3"]
    for line in ("resuming from step 3", "resuming from step 12"):  # a finished run only writes its model again
        (output / "model" / checkpoint.FILE_NAME).unlink(missing_ok=True)
        lines: list[str] = []
        loop.train(config, output, lines.append, silent)
        assert lines == [line]
        assert results(output) == results(tmp_path / "whole")
        assert model_bytes(output) == model_bytes(tmp_path / "whole")


def test_precision_reaches_the_model(fake_run, tmp_path, monkeypatch):
    dtypes = []
    monkeypatch.setattr(loop, "make_update", lambda model, c: dtypes.append(model.dtype) or compile_once(model, c))
    for precision in ("fp32", "bf16"):
        assert main(fake_run("-o", tmp_path / precision, precision=precision, steps=3)) == 0
    assert dtypes == [np.float32, jax.numpy.bfloat16]


def test_a_reader_that_has_gone_ends_the_run_as_head_does(fake_run, monkeypatch):
    class Gone(io.StringIO):
        def write(self, text: str) -> int:
            raise BrokenPipeError

    command = fake_run()
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", Gone())
        code = main(command)
        sys.stdout.close()  # the command's own, which takes what Python still has to say
    assert code == 141


@pytest.mark.parametrize(("fast", "chosen"), [(True, "bf16"), (False, "fp32")])
def test_the_faster_precision_is_chosen_once(fake_run, tmp_path, monkeypatch, fast, chosen):
    output = tmp_path / "out"
    monkeypatch.setattr(loop, "fast_bfloat16", lambda: fast)
    assert main(fake_run("-o", output, precision="auto", stop_at=3)) == 0
    assert json.loads((output / "config.json").read_text())["precision"] == chosen
    monkeypatch.setattr(loop, "fast_bfloat16", lambda: not fast)  # on another machine
    assert loop.with_precision(make_config(precision="auto"), output).precision == chosen
    assert loop.with_precision(make_config(precision="auto"), tmp_path / "new").precision != chosen


def test_a_run_can_stop_early_on_its_schedule(fake_run, tmp_path):
    assert main(fake_run("-o", tmp_path / "whole")) == 0
    assert main(fake_run(stop_at=5)) == 0
    assert results(tmp_path / "out") == results(tmp_path / "whole")[:5]
    assert steps_kept(tmp_path / "out") == ["3", "5"]
    assert (tmp_path / "out" / "model" / checkpoint.FILE_NAME).exists()


def test_rows_come_every_so_often_and_before_each_checkpoint(fake_run, tmp_path):
    assert main(fake_run(steps=155, checkpoint_every=50)) == 0  # a row every 3 steps
    steps = [row["step"] for row in log_rows(tmp_path / "out")]
    assert steps == sorted({*range(3, 155, 3), 50, 100, 150, 155})


def test_a_loss_that_is_not_finite_stops_the_run(fake_run, tmp_path, capsys):
    assert main(fake_run(warmup=0, learning_rate=1e38, checkpoint_every=1)) == 1
    err = capsys.readouterr().err
    assert err.startswith("error: step 2: the loss is ")
    assert err.count("\n") == 1
    assert steps_kept(tmp_path / "out") == ["1"]
    assert not (tmp_path / "out" / "model").exists()


def test_wrong_input_is_one_sentence_and_leaves_nothing(fake_run, tmp_path, capsys):
    def refused(arguments: list[str]) -> str:
        assert main(arguments) == 1
        assert not (tmp_path / "out").exists()
        captured = capsys.readouterr()
        assert captured.out == ""
        assert captured.err.count("\n") == 1
        return captured.err

    (tmp_path / "empty").mkdir()
    assert f"error: {tmp_path / 'empty'}: no image" in refused(fake_run("--data", tmp_path / "empty"))
    assert f"{tmp_path / 'nowhere'}: no such folder" in refused(fake_run("--data", tmp_path / "nowhere"))
    assert "there is no file" in refused(fake_run("--config", tmp_path / "none.py"))
    (tmp_path / "no_config.py").write_text("x = 1")
    assert "must define `config" in refused(fake_run("--config", tmp_path / "no_config.py"))
    assert "steps: must be at least 1" in refused(fake_run("--steps", 0))
    assert "seed: must be 0 or more, got -1" in refused(fake_run("--seed", -1))


def test_a_batch_that_the_devices_cannot_share_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(jax, "device_count", lambda: 2)
    sentence = r"^batch_size: 6 is not a multiple of 2 devices times accumulate 2; change one of them\.$"
    with pytest.raises(ValueError, match=sentence):
        loop.train(make_config(batch_size=6, accumulate=2), tmp_path / "out", silent, silent)
    assert not (tmp_path / "out").exists()


def test_data_and_degradation_are_those_of_the_config(tmp_path, monkeypatch):
    photos, asked = str(write_photos(tmp_path / "photos")), []
    bicubic, blind = (loop.make_dataset(make_config(data=photos, degradation=d)) for d in ("bicubic", "real_esrgan"))
    assert (bicubic.batch(0)["hr"] == blind.batch(0)["hr"]).all()
    assert (bicubic.batch(0)["lr"] != blind.batch(0)["lr"]).any()
    images = [np.zeros((20, 20, 3), np.uint8)]
    monkeypatch.setattr(sources, "load_tfds", lambda *args: asked.append(args) or images)
    loop.make_dataset(make_config(data="tfds:div2k/bicubic_x4/train"))
    assert asked == [("div2k/bicubic_x4", "train")]


def stub_train(monkeypatch, behave):
    monkeypatch.setattr(loop, "train", lambda config, output, report, progress: behave(report, progress) or output)


def test_ctrl_c_is_one_sentence(fake_run, monkeypatch, capsys):
    def interrupt(report, progress):
        raise KeyboardInterrupt

    stub_train(monkeypatch, interrupt)
    assert main(fake_run()) == 130
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == "stopped; run the same command again to resume\n"


def test_lines_are_printed_as_they_are_and_progress_passes_on_a_terminal(fake_run, tmp_path, monkeypatch, capsys):
    long = "| " + "[a] " * 40

    def talk(report, progress):
        report(long)
        progress("step 1/9  loss 0.5")
        progress("step 2/9  loss 0.4")

    stub_train(monkeypatch, talk)
    end = f"model: {tmp_path / 'out'}\n"
    assert main(fake_run()) == 0
    assert capsys.readouterr().out == f"{long}\nstep 1/9  loss 0.5\nstep 2/9  loss 0.4\n{end}"
    monkeypatch.setenv("FORCE_COLOR", "1")  # makes rich act as on a terminal
    assert main(fake_run()) == 0
    out = capsys.readouterr().out
    assert long in out
    assert "\nstep" not in out
    assert "\x1b[2K" in out  # the last line of progress is erased
    assert out.endswith(end)


def test_hosts_join_only_when_asked_to(fake_run, monkeypatch):
    joined = []
    monkeypatch.setattr(jax.distributed, "initialize", lambda *cluster: joined.append("before"))
    monkeypatch.setattr(jax.distributed, "shutdown", lambda: joined.append("after"))
    stub_train(monkeypatch, lambda report, progress: joined.append("train"))
    assert main(fake_run()) == 0
    assert joined == ["train"]
    assert main(fake_run("--distributed")) == 0
    assert joined == ["train", "before", "train", "after"]

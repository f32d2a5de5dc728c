"""Whole runs: exact resume after kill -9 and Ctrl-C, devices, a frozen codec, overrides, and what the user is told."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import jax
import numpy as np
import pytest
from jax.experimental.compilation_cache import compilation_cache
from PIL import Image
from tiny_run import LATENT, PIXEL, Fake, make_config, write_config, write_photos

from jaxsr import checkpoint
from jaxsr.model import Model
from jaxsr.models.presets import preset_from_dict
from jaxsr.train import main
from jaxsr.training import loop
from jaxsr.training.step import make_update

ROOT = Path(__file__).parents[2]
# Appended to a config file: the run stops dead in the middle, where the test kills it.
HANG = """
import time
from jaxsr.training.log import RunLog
write = RunLog.write
RunLog.write = lambda self, row: (write(self, row), time.sleep(600 if row["step"] == 8 else 0))
"""


def silent(line: str) -> None:
    """Takes a line of progress."""


def log_rows(output: Path) -> list[dict]:
    return [json.loads(line) for line in (output / "log.jsonl").read_text().splitlines()]


def results(output: Path) -> list[tuple]:
    return [(row["step"], row["loss"], row["grad_norm"]) for row in log_rows(output)]


def steps_kept(output: Path) -> list[str]:
    return sorted(path.name for path in (output / "checkpoints").iterdir())


def load_state(output: Path, config) -> list[np.ndarray]:
    """All leaves of the last checkpoint: parameters, EMA and the optimizer's moments."""
    model = Model(config.preset)
    state = loop.init_state(model, loop.make_optimizer(config), jax.random.key(9))
    with loop._checkpointer(output) as checkpoints:
        assert checkpoints.latest is not None
        return [np.asarray(leaf) for leaf in jax.tree.leaves(checkpoints.load(checkpoints.latest.step, state))]


def command(*args: object, cache: Path, **env: str) -> subprocess.Popen:
    environment = os.environ | {"JAXSR_CACHE": "", "JAXSR_CACHE_DIR": str(cache), "PYTHONPATH": str(ROOT)} | env
    arguments = [sys.executable, "-m", "jaxsr.train", *map(str, args)]
    return subprocess.Popen(
        arguments, cwd=ROOT, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )


def wait_for(condition, process: subprocess.Popen) -> None:
    while not condition():
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A folder with photographs and an uninterrupted run; its compiled programs serve the other runs too."""
    folder = tmp_path_factory.mktemp("runs")
    photos = write_photos(folder / "photos")
    before = jax.config.jax_compilation_cache_dir, jax.config.jax_persistent_cache_min_compile_time_secs
    jax.config.update("jax_compilation_cache_dir", str(folder / "cache" / "xla"))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    compilation_cache.reset_cache()
    config = make_config(data=str(photos), sample_every=6)
    loop.train(config, folder / "whole", silent, silent)
    yield folder, config
    jax.config.update("jax_compilation_cache_dir", before[0])
    jax.config.update("jax_persistent_cache_min_compile_time_secs", before[1])
    compilation_cache.reset_cache()


def model_bytes(output: Path) -> bytes:
    return (output / "model" / checkpoint.FILE_NAME).read_bytes()


def test_an_uninterrupted_run_leaves_log_checkpoints_samples_and_a_model(runs):
    folder, _ = runs
    output = folder / "whole"
    assert [row["step"] for row in log_rows(output)] == list(range(1, 13))
    assert all(row["images_per_s"] > 0 for row in log_rows(output))
    assert steps_kept(output) == ["12", "9"]
    assert sorted(path.name for path in (output / "samples").iterdir()) == ["0000006.png", "0000012.png"]
    params, metadata = checkpoint.load(output / "model")
    preset = preset_from_dict(metadata["preset"])
    assert preset == PIXEL
    checkpoint.check_params(params, Model(preset).shapes())
    assert metadata["training"]["steps"] == 12
    assert {value.dtype for value in params.values()} == {np.dtype("float32")}
    losses = [row["loss"] for row in log_rows(output)]
    assert np.mean(losses[-3:]) < np.mean(losses[:3])


def test_a_sample_sheet_shows_lr_sample_and_hr(runs):
    folder, config = runs
    sheet = np.asarray(Image.open(folder / "whole" / "samples" / "0000012.png"))
    batch = loop.make_dataset(config).batch(11)
    assert sheet.shape == (4 * 16, 3 * 16, 3)
    np.testing.assert_array_equal(sheet[:, 32:], batch["hr"].reshape(64, 16, 3))
    np.testing.assert_array_equal(sheet[::2, :16:2], batch["lr"].reshape(32, 8, 3))
    np.testing.assert_array_equal(sheet[1::2, 1:16:2], batch["lr"].reshape(32, 8, 3))
    assert sheet[:, 16:32].std() > 1


def test_a_run_killed_in_the_middle_resumes_exactly(runs):
    folder, config = runs
    output, cache = folder / "killed", folder / "cache"
    file = write_config(folder / "run.py", data=config.data, sample_every=6)
    hanging = folder / "hanging.py"
    hanging.write_text(file.read_text() + HANG)
    process = command("--config", hanging, "-o", output, cache=cache)
    try:
        wait_for(lambda: (output / "log.jsonl").exists() and len(log_rows(output)) == 8, process)
        wait_for(lambda: (output / "checkpoints" / "6").exists(), process)
    finally:
        process.send_signal(signal.SIGKILL)
        process.communicate()
    assert not (output / "model").exists()
    leftover = output / "checkpoints" / "9.orbax-checkpoint-tmp"
    leftover.mkdir()
    (leftover / "half").write_text("written")

    process = command("--config", file, "-o", output, cache=cache)
    out, err = process.communicate()
    assert process.returncode == 0, err
    assert "going on from step 6\n" in out
    assert "step 7/12  loss" in out
    assert "step 6/12" not in out
    assert f"model: {output / 'model'}\n" in out
    assert results(output) == results(folder / "whole")
    assert steps_kept(output) == ["12", "9"]
    for mine, whole in zip(load_state(output, config), load_state(folder / "whole", config), strict=True):
        np.testing.assert_array_equal(mine, whole)
    assert model_bytes(output) == model_bytes(folder / "whole")


def test_ctrl_c_leaves_a_run_that_goes_on(runs):
    folder, config = runs
    output = folder / "interrupted"

    def interrupt(line: str) -> None:
        if line.startswith("step 5/"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        loop.train(config, output, silent, interrupt)
    assert steps_kept(output) == ["3"]
    lines: list[str] = []
    loop.train(config, output, lines.append, silent)
    assert lines == ["going on from step 3"]
    assert results(output) == results(folder / "whole")
    assert model_bytes(output) == model_bytes(folder / "whole")
    # A finished run only writes its model again.
    (output / "model" / checkpoint.FILE_NAME).unlink()
    loop.train(config, output, silent, silent)
    assert model_bytes(output) == model_bytes(folder / "whole")
    assert results(output) == results(folder / "whole")


def test_four_devices_make_the_same_run_as_one(runs):
    folder, config = runs
    file = write_config(folder / "four.py", data=config.data, sample_every=6)
    process = command("--config", file, "-o", folder / "four", cache=folder / "cache", JAX_NUM_CPU_DEVICES="4")
    _, err = process.communicate()
    assert process.returncode == 0, err
    np.testing.assert_allclose(results(folder / "four"), results(folder / "whole"), rtol=1e-4)
    sheet = np.asarray(Image.open(folder / "four" / "samples" / "0000006.png"))
    whole = np.asarray(Image.open(folder / "whole" / "samples" / "0000006.png"))
    assert sheet.shape == (16, 48, 3)  # the first device's share of the batch
    np.testing.assert_array_equal(sheet[:, 32:], whole[:16, 32:])


def write_codec(folder: Path, seed: int = 0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    shapes = {name: shape for name, shape in Model(LATENT).shapes().items() if name.startswith("codec.")}
    params = {name: np.float32(0.1) * rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}
    checkpoint.save(folder, params, {})
    return params


def test_a_latent_preset_trains_on_a_frozen_codec(runs, tmp_path, monkeypatch):
    _, config = runs
    codec, models = write_codec(tmp_path / "vq"), []
    monkeypatch.setattr(
        loop, "make_update", lambda model, config: (models.append(model), make_update(model, config))[1]
    )
    config = make_config(
        LATENT, data=config.data, steps=3, sample_every=3, codec_checkpoint=str(tmp_path / "vq"), precision="bf16"
    )
    output = tmp_path / "out"
    loop.train(config, output, silent, silent)
    assert [np.dtype(model.dtype).name for model in models] == ["bfloat16"]
    params, metadata = checkpoint.load(output / "model")
    checkpoint.check_params(params, Model(preset_from_dict(metadata["preset"])).shapes())
    for name, value in codec.items():
        np.testing.assert_array_equal(params[name], value)
    network = {name for name in params if name.startswith("network.")}
    assert len(load_state(output, config)) > 3 * len(network)  # every leaf has its place without the codec
    assert (output / "samples" / "0000003.png").exists()


def test_a_checkpoint_to_train_on_must_fit(tmp_path):
    codec = write_codec(tmp_path / "vq")
    config = make_config(LATENT, codec_checkpoint="unused here")
    assert loop.load_part(config, "codec", None) == {}
    assert loop.load_part(config, "codec", str(tmp_path / "vq")).keys() == codec.keys()
    checkpoint.save(tmp_path / "more", codec | {"network.bias": np.zeros(1, np.float32)}, {})
    assert loop.load_part(config, "codec", str(tmp_path / "more")).keys() == codec.keys()
    removed = codec.popitem()[0]
    checkpoint.save(tmp_path / "less", codec, {})
    with pytest.raises(ValueError, match=f"less does not fit the network .missing: {removed}"):
        loop.load_part(config, "codec", str(tmp_path / "less"))
    with pytest.raises(FileNotFoundError, match="there is no checkpoint"):
        loop.load_part(config, "codec", str(tmp_path / "none"))


@pytest.fixture
def fake_run(tmp_path, monkeypatch):
    """Arguments of the command for a model that compiles at once."""
    monkeypatch.setattr(loop, "Model", Fake)
    photos = write_photos(tmp_path / "photos")

    def arguments(*more: object, **changed: object) -> list[str]:
        file = write_config(tmp_path / "run.py", data=str(photos), **changed)
        return [str(a) for a in ("--config", file, "-o", tmp_path / "out", *more)]

    return arguments


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
    # A rate so small that float32 does not see it: what comes out is what went in.
    assert main(fake_run(start_from=str(tmp_path / "start"), learning_rate=1e-30)) == 0
    params, _ = checkpoint.load(tmp_path / "out" / "model")
    assert params == start
    trained = fake_run("-o", tmp_path / "trained", start_from=str(tmp_path / "start"))
    assert main(trained) == 0
    params, _ = checkpoint.load(tmp_path / "trained" / "model")
    assert all(abs(params[name] - start[name]) > 1e-3 for name in start)


def test_seed_changes_the_run(fake_run, tmp_path):
    losses = set()
    for seed in (0, 1):
        assert main(fake_run("-o", tmp_path / str(seed), "--seed", seed, steps=3)) == 0
        losses |= {row["loss"] for row in log_rows(tmp_path / str(seed))}
    assert len(losses) == 6


def test_a_run_can_stop_early_on_its_schedule(fake_run, tmp_path):
    assert main(fake_run("-o", tmp_path / "whole")) == 0
    assert main(fake_run(stop_at=5)) == 0
    assert results(tmp_path / "out") == results(tmp_path / "whole")[:5]
    assert steps_kept(tmp_path / "out") == ["3", "5"]
    assert (tmp_path / "out" / "model" / checkpoint.FILE_NAME).exists()


def test_rows_come_every_so_often_and_before_each_checkpoint(fake_run, tmp_path):
    assert main(fake_run(steps=155, checkpoint_every=50)) == 0  # a row each 3 steps
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
    assert f"{tmp_path / 'nowhere'}: no image" in refused(fake_run("--data", tmp_path / "nowhere"))
    assert "there is no file" in refused(fake_run("--config", tmp_path / "none.py"))
    (tmp_path / "no_config.py").write_text("x = 1")
    assert "must define `config" in refused(fake_run("--config", tmp_path / "no_config.py"))
    assert "steps: must be at least 1" in refused(fake_run("--steps", 0))
    assert "seed >= 0" in refused(fake_run("--seed", -1))


def test_a_batch_that_the_devices_cannot_share_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(jax, "device_count", lambda: 2)
    with pytest.raises(ValueError, match=r"^batch_size: 6 is not a multiple of 2 devices times accumulate 2\.$"):
        loop.train(make_config(batch_size=6, accumulate=2), tmp_path / "out", silent, silent)
    assert not (tmp_path / "out").exists()


def test_data_and_degradation_are_those_of_the_config(tmp_path, monkeypatch):
    photos, asked = str(write_photos(tmp_path / "photos")), []
    bicubic, blind = (loop.make_dataset(make_config(data=photos, degradation=d)) for d in ("bicubic", "real_esrgan"))
    assert (bicubic.batch(0)["hr"] == blind.batch(0)["hr"]).all()
    assert (bicubic.batch(0)["lr"] != blind.batch(0)["lr"]).any()
    images = [np.zeros((20, 20, 3), np.uint8)]
    monkeypatch.setattr(loop, "load_tfds", lambda *args: asked.append(args) or images)
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
    assert captured.err == "interrupted: the same command goes on from the last checkpoint\n"


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
    monkeypatch.setenv("FORCE_COLOR", "1")  # rich's word for a terminal
    assert main(fake_run()) == 0
    out = capsys.readouterr().out
    assert long in out
    assert "\nstep" not in out
    assert "\x1b[2K" in out  # the last of the passing lines is erased
    assert out.endswith(end)


def test_hosts_join_only_when_asked_to(fake_run, monkeypatch):
    joined = []
    monkeypatch.setattr(jax.distributed, "initialize", lambda: joined.append("before"))
    stub_train(monkeypatch, lambda report, progress: joined.append("train"))
    assert main(fake_run()) == 0
    assert joined == ["train"]
    assert main(fake_run("--distributed")) == 0
    assert joined == ["train", "before", "train"]

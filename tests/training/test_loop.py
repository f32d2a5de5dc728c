"""Test whole runs in processes of their own: exact resumption after kill -9, several devices, and a frozen codec."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import jax
import numpy as np
import pytest
from PIL import Image

from jaxsr.hub import checkpoint
from jaxsr.metrics.lpips import lpips_shapes
from jaxsr.metrics.perceptual_files import load_perceptual
from jaxsr.models.model import Model
from jaxsr.models.presets import preset_from_dict
from jaxsr.training import loop
from jaxsr.training.config import TrainConfig
from tests.training.tiny_run import (
    LATENT,
    PIXEL,
    log_rows,
    make_config,
    model_bytes,
    results,
    steps_kept,
    write_config,
    write_photos,
)

ROOT = Path(__file__).parents[2]
# Appended to a config file, this makes the run hang in the middle, where the test kills it.
HANG = """
import time
from jaxsr.training.log import RunLog
write = RunLog.write
RunLog.write = lambda self, row: (write(self, row), time.sleep(600 if row["step"] == 8 else 0))
"""


def load_state(output: Path, config: TrainConfig) -> list[np.ndarray]:
    """Return all leaves of the last checkpoint: parameters, EMA and the optimizer's moments."""
    model, here = Model(config.preset), jax.sharding.SingleDeviceSharding(jax.devices()[0])
    state = jax.eval_shape(lambda: loop.init_state(model, loop.make_optimizer(config), jax.random.key(0)))
    state = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=here), state)
    with loop._checkpointer(output) as checkpoints:
        assert checkpoints.latest is not None
        return [np.asarray(leaf) for leaf in jax.tree.leaves(checkpoints.load(checkpoints.latest.step, state))]


def start(config: Path, output: Path, **env: str) -> subprocess.Popen:
    """Start the command in a process of its own.

    To save time, it compiles without optimisation and into one cache.
    """
    env = {"JAXSR_CACHE": "", "JAXSR_CACHE_DIR": str(output.parent / "cache"), "PYTHONPATH": str(ROOT)} | env
    env |= {"XLA_FLAGS": "--xla_backend_optimization_level=0"}
    arguments = [sys.executable, "-m", "jaxsr.train", "--config", str(config), "-o", str(output)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen(arguments, cwd=output.parent, env=os.environ | env, text=True, **pipes)


def finish(process: subprocess.Popen) -> str:
    out, err = process.communicate()
    assert process.returncode == 0, err
    return out


def wait_for(condition: Callable[[], bool], process: subprocess.Popen) -> None:
    while not condition():
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Return a folder with photographs, a config file and the uninterrupted run `whole`, and the config."""
    folder = tmp_path_factory.mktemp("runs")
    config = make_config(data=str(write_photos(folder / "photos")), sample_every=6)
    finish(start(write_config(folder / "run.py", data=config.data, sample_every=6), folder / "whole"))
    return folder, config


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


@pytest.mark.slow
def test_a_run_killed_in_the_middle_resumes_exactly(runs):
    folder, config = runs
    output, hanging = folder / "killed", folder / "hanging.py"
    hanging.write_text((folder / "run.py").read_text() + HANG)
    process = start(hanging, output)
    try:
        wait_for(lambda: (output / "log.jsonl").exists() and len(log_rows(output)) == 8, process)
        wait_for((output / "checkpoints" / "6").exists, process)
    finally:
        process.send_signal(signal.SIGKILL)
        process.communicate()
    assert not (output / "model").exists()
    leftover = output / "checkpoints" / "9.orbax-checkpoint-tmp"
    leftover.mkdir()
    (leftover / "half").write_text("written")

    out = finish(start(folder / "run.py", output))
    assert "resuming from step 6\n" in out
    assert "step 7/12  loss" in out
    assert "step 6/12" not in out
    assert out.endswith(f"model: {output / 'model'}\n")
    assert results(output) == results(folder / "whole")
    assert steps_kept(output) == ["12", "9"]
    for mine, whole in zip(load_state(output, config), load_state(folder / "whole", config), strict=True):
        np.testing.assert_array_equal(mine, whole)
    assert model_bytes(output) == model_bytes(folder / "whole")


PERCEPTUAL = {"perceptual": "lpips-alex", "perceptual_weight": 0.1, "hr_size": 40, "leaves_share": 0.5}
DETAIL = {"detail_weight": 0.1, "detail_size": 16, "hr_size": 40}


@pytest.mark.slow
@pytest.mark.parametrize("more", [{}, PERCEPTUAL | {"precision": "bf16"}, DETAIL])
def test_muon_with_chains_resumes_exactly_after_an_interrupt(tmp_path, monkeypatch, more):
    """Muon's state is nested otherwise than AdamW's, and the chains draw more random numbers, as LPIPS's crops do."""
    rng = np.random.default_rng(0)
    vgg = {name: 0.1 * rng.random(shape, np.float32) for name, shape in lpips_shapes("vgg").items()}
    known = lambda name: vgg if name == "lpips-vgg" else load_perceptual(name)  # noqa: E731  # VGG is not bundled
    monkeypatch.setattr(loop, "load_perceptual", known)
    photos = str(write_photos(tmp_path / "photos", side=48 if more else 20))
    random = {"chain_share": 0.5, "chain_length": 2, "start_share": 0.3}
    config = make_config(data=photos, optimizer="muon", **random, **more)

    def interrupt(line: str) -> None:
        if line.startswith("step 8/12"):
            raise KeyboardInterrupt

    said: list[str] = []
    loop.train(config, tmp_path / "whole", said.append, said.append)
    with pytest.raises(KeyboardInterrupt):
        loop.train(config, tmp_path / "stopped", said.append, interrupt)
    assert not (tmp_path / "stopped/model").exists()
    loop.train(config, tmp_path / "stopped", said.append, said.append)
    assert "resuming from step 6" in said
    states = (load_state(tmp_path / name, config) for name in ("stopped", "whole"))
    for mine, whole in zip(*states, strict=True):
        np.testing.assert_array_equal(mine, whole)


@pytest.mark.slow
def test_four_devices_make_the_same_run_as_one(runs):
    """The sum over devices rounds otherwise, and AdamW, which divides a gradient by its size, enlarges that."""
    folder, _ = runs
    finish(start(folder / "run.py", folder / "four", JAX_NUM_CPU_DEVICES="4"))
    four, whole = np.array(results(folder / "four")), np.array(results(folder / "whole"))
    np.testing.assert_allclose(four[:4, :2], whole[:4, :2], rtol=1e-5)
    np.testing.assert_allclose(four[:, :2], whole[:, :2], rtol=2e-3)
    np.testing.assert_allclose(four[:, 2], whole[:, 2], rtol=1e-3)
    sheet, whole = (np.asarray(Image.open(folder / run / "samples" / "0000006.png")) for run in ("four", "whole"))
    assert sheet.shape == (16, 48, 3)  # the first device's share of the batch
    np.testing.assert_array_equal(sheet[:, 32:], whole[:16, 32:])


def write_codec(folder: Path, seed: int = 0, **metadata: object) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    shapes = {name: shape for name, shape in Model(LATENT).shapes().items() if name.startswith("codec.")}
    params = {name: np.float32(0.1) * rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}
    checkpoint.save(folder, params, metadata)
    return params


@pytest.mark.slow
def test_a_latent_preset_trains_on_a_frozen_codec(runs):
    folder, config = runs
    licence = {"name": "S-Lab License 1.0", "notice": "for non-commercial use"}
    codec, output, path = write_codec(folder / "vq", licence=licence), folder / "latent", str(folder / "vq")
    changed = {"data": config.data, "steps": 3, "sample_every": 3, "codec_checkpoint": path, "precision": "bf16"}
    finish(start(write_config(folder / "latent.py", LATENT, **changed), output))
    params, metadata = checkpoint.load(output / "model")
    checkpoint.check_params(params, Model(preset_from_dict(metadata["preset"])).shapes())
    for name, value in codec.items():
        np.testing.assert_array_equal(params[name], value)
    assert metadata["licence"] == licence  # its frozen weights are part of the model
    assert {value.dtype for value in params.values()} == {np.dtype("float32")}
    assert load_state(output, make_config(LATENT, **changed))  # the state loads without leaves for the codec
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


def test_a_model_inherits_the_licences_of_what_it_starts_from(tmp_path):
    write_codec(tmp_path / "vq", licence={"name": "S-Lab License 1.0", "url": "https://a"})
    write_codec(tmp_path / "net", licence={"name": "CC BY-NC-SA 4.0", "url": "https://a"})
    write_codec(tmp_path / "free")
    config = make_config(LATENT, codec_checkpoint=str(tmp_path / "vq"))
    assert loop.inherited_licence(config) == {"name": "S-Lab License 1.0", "url": "https://a"}
    both = replace(config, start_from=str(tmp_path / "net"))
    assert loop.inherited_licence(both) == {"name": "S-Lab License 1.0; CC BY-NC-SA 4.0", "url": "https://a"}
    assert loop.inherited_licence(replace(config, codec_checkpoint=str(tmp_path / "free"))) == {}
    assert loop.inherited_licence(make_config(PIXEL)) == {}

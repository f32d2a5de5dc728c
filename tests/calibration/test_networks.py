"""Test LPIPS, DISTS and MS-SSIM as objectives: the whole command, the weights' hash, and what is refused beforehand."""

import socket
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

from jaxsr.calibration import plots, run
from jaxsr.calibration.scores import keep_images, load_networks, make_score, network_shapes
from jaxsr.calibration.sweep import Chain, image_keys, plain_rows, sweep_function
from jaxsr.cli import calibrate
from jaxsr.diffusion import thin
from jaxsr.guidance.calibration_file import Calibration
from jaxsr.hub import download
from jaxsr.hub.checkpoint import FILE_NAME, save
from jaxsr.metrics import perceptual_files
from jaxsr.metrics.dists import dists
from jaxsr.metrics.lpips import lpips
from jaxsr.storage import sha256_file
from tests.calibration.fake import Smooth, compile_once, install, start, write_photos
from tests.metrics.perceptual_weights import random_params
from tests.models.tiny import compiled
from tests.small_model import small_preset

CARDS = {"lpips": "lpips-alex", "dists": "dists"}
DIRECT = {"lpips": lpips, "dists": dists}


@pytest.fixture(scope="module")
def weights(tmp_path_factory) -> Path:
    """Return a folder with a random network for each metric."""
    folder = tmp_path_factory.mktemp("metrics")
    for card in CARDS.values():
        save(folder / card, random_params(card), {})
    return folder


@pytest.fixture
def arguments(tmp_path, monkeypatch, weights):
    """Return a function that makes the command's arguments: the fake model, three small pairs, the networks above."""
    install(monkeypatch)
    compile_once(monkeypatch)
    monkeypatch.setattr(plots, "write_plots", lambda *args: [])
    monkeypatch.setenv("JAXSR_METRICS_DIR", str(weights))
    photos = write_photos(tmp_path / "hr", size=(200, 196))

    def make(metrics: str, *more: object, name: str = "calib.json") -> list[str]:
        words = ("--pairs", photos, "-o", tmp_path / name, "--candidates", "-0.2:0.4:3", "--closed-loop", metrics)
        return [str(word) for word in (*words, *(() if "--crop" in more else ("--crop", 16)), *more)]

    return make


def other_weights(folder: Path, monkeypatch) -> None:
    """Write another random LPIPS network to the folder, and make the command find it."""
    params = random_params("lpips-alex")
    save(folder / "lpips-alex", params | {"head.0": 2 * params["head.0"]}, {})
    monkeypatch.setenv("JAXSR_METRICS_DIR", str(folder))


def error_of(arguments: list[str], capsys) -> str:
    assert calibrate.main(arguments) == 1
    assert not list(Path(arguments[arguments.index("-o") + 1]).parent.glob("calib*"))
    (error,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    return error


@pytest.mark.parametrize("metric", CARDS)
def test_the_command_seeks_the_least_and_tells_the_weights(arguments, tmp_path, weights, metric):
    assert calibrate.main(arguments(f"psnr,{metric}", "--rule", f"min {metric}")) == 0
    closed = Calibration.read(tmp_path / "calib.json").closed_loop
    assert closed
    card = CARDS[metric]
    assert closed["metric_weights"] == {card: sha256_file(weights / card / FILE_NAME)}
    values = np.array([row[metric] for row in closed["rows"]])
    assert len(set(values)) == len(values)
    assert (closed["perception"], closed["front"][-1], closed["picks"]["rule"]) == (metric, *[values.argmin()] * 2)


@pytest.mark.slow
def test_ms_ssim_stands_for_fidelity_and_needs_no_weights(arguments, tmp_path):
    assert calibrate.main(arguments("ms_ssim,swd", "--crop", 48)) == 0
    calibration = Calibration.read(tmp_path / "calib.json")
    closed = calibration.closed_loop
    assert closed
    values = np.array([row["ms_ssim"] for row in closed["rows"]])
    assert (closed["fidelity"], closed["picks"]["faithful"]) == ("ms_ssim", values.argmax())
    assert calibration.presets["balanced"]["rule"] == "max perception, lose <= 1 %"
    assert closed["metric_weights"] == {}


@pytest.mark.parametrize("metric", CARDS)
def test_the_sweep_scores_what_it_made_in_the_network_it_is_given(metric, weights, monkeypatch):
    monkeypatch.setenv("JAXSR_METRICS_DIR", str(weights))
    rng = np.random.default_rng(0)
    lr, hr = (rng.integers(0, 256, (2, side, side, 3), dtype=np.uint8) for side in (16, 64))
    chain = Chain(Smooth(small_preset()), thin(small_preset().schedule.build(), 2))
    scales = np.array([[0, 0], [0.3, 0.1]], np.float32)
    given = {"gain": jnp.float32(1)}, image_keys(0, lr), lr, hr, plain_rows(scales)
    networks = load_networks(("psnr", metric))
    images = compiled(sweep_function(chain, keep_images, 2))(*given)["images"]
    sweep = compiled(sweep_function(chain, make_score((metric,), 4), 2))
    target, params = jnp.asarray(hr, jnp.float32) / 255, networks[metric]
    expected = [compiled(DIRECT[metric])(sr, target, params) for sr in images]
    np.testing.assert_allclose(sweep(*given, networks)[metric], expected, rtol=1e-4)
    larger = {metric: {name: 2 * value for name, value in params.items()}}
    assert np.abs(sweep(*given, larger)[metric] - np.array(expected)).min() > 1e-4
    assert {k: (v.shape, v.dtype) for k, v in network_shapes((metric,))[metric].items()} == {
        k: (v.shape, v.dtype) for k, v in params.items()
    }


@pytest.mark.slow
def test_two_processes_of_two_devices_have_the_network_and_give_the_numbers_of_one(arguments, tmp_path, weights):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    two = {"XLA_FLAGS": "--xla_force_host_platform_device_count=2", "JAXSR_METRICS_DIR": str(weights)}
    hosts = ("--coordinator", address, "--num-processes", 2, "--process-id")
    processes = [start(0, arguments("psnr,lpips", *hosts, i, name="four.json"), **two) for i in range(2)]
    assert calibrate.main(arguments("psnr,lpips", name="one.json")) == 0
    for process in processes:
        assert process.wait(timeout=300) == 0, process.communicate()[1]
        process.communicate()
    one, other = (Calibration.read(tmp_path / name).closed_loop for name in ("one.json", "four.json"))
    assert one
    assert other
    for row, same in zip(one["rows"], other["rows"], strict=True):
        np.testing.assert_allclose([row["psnr"], row["lpips"]], [same["psnr"], same["lpips"]], rtol=1e-5)
    assert one["metric_weights"] == other["metric_weights"]


def test_a_stopped_run_does_not_go_on_with_another_network(arguments, tmp_path, monkeypatch, capsys):
    words = arguments("psnr,lpips")

    def stop(*args):
        raise ValueError("enough")

    with monkeypatch.context() as stopping:
        stopping.setattr(run, "closed_loop", stop)
        assert calibrate.main(words) == 1
    other_weights(tmp_path / "other", monkeypatch)
    assert calibrate.main(words) == 1
    assert "holds a stopped calibration with another metric_weights; give its choices" in capsys.readouterr().err
    assert calibrate.main([*words, "--overwrite"]) == 0
    table = Calibration.read(tmp_path / "calib.json").closed_loop
    assert table
    assert table["metric_weights"] == {"lpips-alex": sha256_file(tmp_path / "other" / "lpips-alex" / FILE_NAME)}


def test_crops_too_small_are_refused_before_anything_is_downloaded(arguments, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("JAXSR_METRICS_DIR", str(tmp_path / "none"))
    error = error_of(arguments("ms_ssim,lpips"), capsys)
    assert "--crop: LR crops of 16 pixels are too small for ms_ssim: images of 64 x 64 pixels and border 4" in error
    assert "161 pixels a side" in error


@pytest.mark.parametrize("metric", CARDS)
def test_weights_that_cannot_be_had_are_told_before_the_first_sample(arguments, tmp_path, monkeypatch, capsys, metric):
    def offline(*args, **options):
        raise download.DownloadError("cannot be fetched: no network; bring it by hand.")

    monkeypatch.setenv("JAXSR_METRICS_DIR", str(tmp_path / "none"))
    monkeypatch.setenv("JAXSR_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr(download, "fetch", offline)
    monkeypatch.setattr(perceptual_files, "BUNDLED_HEADS", tmp_path / "none" / "model.safetensors")
    error = error_of(arguments(f"psnr,{metric}"), capsys)
    assert f"the weights of {CARDS[metric]} are not on this machine and cannot be fetched" in error


def test_weights_of_another_network_are_refused_before_the_first_sample(arguments, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("JAXSR_METRICS_DIR", str(tmp_path / "wrong"))
    path = save(tmp_path / "wrong" / "dists", random_params("lpips-alex"), {})
    assert f"{path}: these are not the parameters of dists" in error_of(arguments("psnr,dists"), capsys)

"""Test the benchmark of whole networks on a small model: its output file, what it leaves out and what it refuses."""

import json
import re
import sys
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from benchmarks import bench_network, network_cases
from benchmarks.bench_network import main, start_all
from benchmarks.flops import stage_flops
from benchmarks.network_cases import STAGES, Case, make_inputs, matrix_peak, random_params, stage_function
from jaxsr.models.model import Model
from tests.benchmarks.small import latent_preset, pixel_preset, smallest_preset
from tests.models.tiny import compiled, unet_config


@pytest.fixture(autouse=True)
def small(monkeypatch):
    presets = (smallest_preset(), latent_preset(), pixel_preset())
    monkeypatch.setattr(bench_network, "PRESETS", {preset.name: preset for preset in presets})
    monkeypatch.setattr(network_cases, "compiler_options", lambda *_: {"xla_backend_optimization_level": 0})
    monkeypatch.setattr(network_cases, "MATRIX_SIDES", {jax.default_backend(): (32, 64)})


def arguments(*more: str) -> list[str]:
    smallest = "--model smallest --stages unet --sizes 16 --batches 1 --dtypes float32 --runs 1"
    return [*smallest.split(), *more]


def test_the_file_has_a_row_for_every_case(tmp_path, capsys):
    file = tmp_path / "new" / "network.json"
    given = arguments("--stages", "decode", "unet", "--batches", "1", "2", "-o", str(file))
    assert main(given) == 0
    content, printed = json.loads(file.read_text()), capsys.readouterr().out
    assert content["command"] == f"python -m benchmarks.bench_network {' '.join(given)}"
    assert (content["model"], content["runs"], content["left out"]) == ("smallest", 1, [])
    assert [(r["stage"], r["batch"]) for r in content["rows"]] == [
        ("decode", 1),
        ("decode", 2),
        ("unet", 1),
        ("unet", 2),
    ]
    for row in content["rows"]:
        flops = stage_flops(smallest_preset(), row["stage"], 16, row["batch"])
        assert (row["program"], row["dtype"], row["size"]) == ("jaxsr", "float32", 16)
        assert row["GFLOP"] == flops / 1e9
        assert row["TFLOP/s"] == pytest.approx(flops / row["median s"] / 1e12)
        assert row["of peak"] == pytest.approx(row["TFLOP/s"] / content["peak TFLOP/s"]["float32"])
        assert row["memory MB"] > 4e-6 * parameters(row["stage"])
        assert "time / jaxsr" not in row
    assert "the rival is not measured: give --rival" in printed
    assert printed.count("unet 16x16 batch 2 float32 jaxsr: ") == 1


def parameters(stage: str) -> int:
    shapes = Model(smallest_preset()).shapes()
    parts = {"unet": "network.", "decode": ("codec.decoder.", "codec.quantize.")}
    return sum(int(np.prod(s)) for name, s in shapes.items() if name.startswith(parts[stage]))


def test_without_torch_the_file_says_so(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "torch", None)
    assert main(arguments("--rival", "-o", str(tmp_path / "a.json"))) == 0
    content = json.loads((tmp_path / "a.json").read_text())
    (reason,) = content["left out"]
    assert reason.startswith("the rival is not measured: ")
    assert f"note: {reason}\n" in capsys.readouterr().err
    assert [row["program"] for row in content["rows"]] == ["jaxsr"]
    assert "time / jaxsr" not in content["rows"][0]


def test_a_program_that_fails_is_left_out_with_its_reason():
    def fail():
        raise RuntimeError("\n  out of memory\nand a long trace")

    notes: list[str] = []
    one = (lambda: jnp.ones(3), 12.0)
    late = (fail, None)  # compiles, and fails when it is called
    started = start_all({"good": lambda: one, "bad": fail, "late": lambda: late}, "unet 8x8", notes.append)
    assert started == {"good": one}
    assert notes == [f"unet 8x8, {name}: left out (RuntimeError: out of memory)" for name in ("bad", "late")]


@pytest.mark.parametrize(
    "preset", [replace(latent_preset(), network=unet_config()), pixel_preset()], ids=lambda preset: preset.name
)
def test_stages_have_the_shapes_of_their_names(preset):
    shape = {"unet": (2, 16, 16, preset.codec.latent_channels), "encode": (2, 16, 16, preset.codec.latent_channels)}
    params = {name: jax.ShapeDtypeStruct(s, jnp.float32) for name, s in Model(preset).shapes().items()}
    for stage in STAGES:
        case = Case(stage, 16, 2, "bfloat16")
        out = jax.eval_shape(stage_function(preset, case), params, jax.random.key(0), make_inputs(preset, case))
        assert (out.shape, out.dtype) == (shape.get(stage, (2, 32, 32, 3)), jnp.float32)


def test_random_networks_stay_finite_and_dtypes_differ():
    preset = smallest_preset()
    outs = []
    for dtype in ("float32", "bfloat16"):
        case = Case("unet", 16, 1, dtype)
        run = compiled(stage_function(preset, case))
        outs.append(np.asarray(run(random_params(preset), jax.random.key(0), make_inputs(preset, case))))
    assert np.isfinite(outs).all()
    assert 0.1 < outs[0].std() < 10
    assert 1e-4 < np.abs(outs[0] - outs[1]).max() / np.abs(outs[0]).max() < 0.1


def test_chains_have_the_steps_of_their_names():
    for stage, steps in (("s4", 4), ("s15", 15)):
        schedule = Case(stage, 16, 1, "float32").schedule(latent_preset())
        assert schedule is not None
        assert schedule.steps == steps
    assert Case("unet", 16, 1, "float32").schedule(latent_preset()) is None


def test_the_peak_is_that_of_the_fastest_product(monkeypatch):
    seconds = iter([1e9, 2.0, 2.0, 1.0, 2.0])
    monkeypatch.setattr(network_cases, "turns", lambda calls, runs: {name: [next(seconds)] * runs for name in calls})
    assert matrix_peak("float32", 3) == 2 * 64**3


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["--model", "nothing"], r"--model: cannot measure 'nothing'; choose one of smallest, .*small_pixel\."),
        (["--model", "small-pixel", "--stages", "decode"], r"--stages: small-pixel has no autoencoder"),
        (["--sizes", "16", "7"], r"--sizes: must be positive multiples of 2 for smallest, got 7\."),
        (["--sizes", "0"], r"--sizes: must be .*, got 0\."),
        (["--batches", "0"], r"--runs and --batches must be at least 1"),
        (["--runs", "0"], r"--runs and --batches must be at least 1"),
    ],
)
def test_refusals_are_one_sentence(given, message, capsys):
    assert main(arguments(*given)) == 1
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert error.startswith("error: ")
    assert re.search(message, error)


def test_an_output_that_cannot_be_written_is_refused_first(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert main(arguments("-o", str(tmp_path / "file" / "a.json"))) == 1
    assert "error: " in capsys.readouterr().err

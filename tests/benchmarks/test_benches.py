"""Test the benchmarks of tiling, scaling, start, calibration and costs end to end, at tiny sizes."""

import json
from dataclasses import replace
from itertools import product
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

from benchmarks import bench_calibration, bench_costs, bench_host, bench_scaling, bench_start, bench_tiling
from benchmarks.bench_scaling import Pass
from benchmarks.bench_tiling import Measured
from benchmarks.fresh import in_fresh_process, peak_process_bytes
from benchmarks.models import load_model
from benchmarks.scaling_model import read_costs
from jaxsr.models.model import DTYPES, Model
from jaxsr.models.presets import PRESETS
from jaxsr.runtime import cpu, onednn

SMALL = ("--steps", "1", "--crop", "16", "--candidate-batch", "2")


@pytest.fixture
def model(small_checkpoints) -> tuple[str, str]:
    """Return the options that select a network that compiles quickly."""
    return "--model", str(small_checkpoints["channel"])


def result(path: Path) -> dict:
    content = json.loads(path.read_text())
    assert content["command"].startswith("python -m benchmarks.bench_")
    assert "JAX" in content["machine"]
    return content


@pytest.mark.slow
def test_tiling_measures_the_command(tmp_path, model):
    output = tmp_path / "results" / "tiling.json"
    words = ["--megapixels", "0.008", "0.03", "--tile", "16", "--runs", "1", *model, "-o", str(output)]
    assert bench_tiling.main(words) == 0
    content = result(output)
    first, second = content["rows"]
    assert (first["output"], second["output"]) == ("104x76", "200x152")
    for row, (run,) in zip(content["rows"], content["runs"], strict=True):
        assert run["computed"] == run["tiles"] * 64 * 64
        assert row["s/MP"] == pytest.approx(run["seconds"] / row["MP"])
        assert row["s / computed MP"] * row["computed / shown"] == pytest.approx(row["s/MP"])
        assert row["process MB"] > 100
    assert second["ratio of s/MP"] == pytest.approx(second["s/MP"] / first["s/MP"])


def test_rows_of_tiling_are_medians():
    one = Measured(1.0, 10**8, 10**7, 1000, 500, 64, 20, 10**6)
    runs = [one, replace(one, seconds=9.0, process_bytes=3 * 10**8), replace(one, seconds=2.0)]
    row, twice = bench_tiling.table([runs, [replace(one, seconds=6.0, device_bytes=2 * 10**7)]])
    assert (row["seconds"], row["s/MP"], row["process MB"], row["device MB"]) == (2.0, 4.0, 100.0, 10.0)
    assert (twice["ratio of s/MP"], twice["ratio of device MB"]) == (3.0, 2.0)


@pytest.mark.slow
def test_scaling_has_the_scores_of_one_device(tmp_path, model):
    output = tmp_path / "scaling.json"
    words = ["--devices", "2", "--images", "2", "--candidates", "2", "--runs", "1", *SMALL, *model]
    words += ["--precision", "bf16", "-o", str(output)]
    assert bench_scaling.main(words) == 0
    one, two = result(output)["rows"]
    assert (one["devices"], two["devices"]) == (1, 2)
    assert two["efficiency"] == pytest.approx(two["rate / rate of 1"] / 2)
    assert two["largest difference dB"] <= 1e-3
    assert one["candidate-images/s"] == pytest.approx(4 / one["seconds"])


@pytest.mark.parametrize("wrong", [0.01, np.nan])
def test_other_scores_than_those_of_one_device_are_refused(wrong):
    scores = np.ones((2, 2), np.float32)
    passes = {1: [Pass(1.0, scores, "cpu")], 2: [Pass(1.0, scores + np.float32(wrong), "cpu")]}
    with pytest.raises(ValueError, match="scores of 2 devices"):
        bench_scaling.table(passes, 4)


@pytest.mark.parametrize(
    ("bench", "words", "message"),
    [
        (bench_scaling, ["--devices", "2", "--images", "3"], "--images: 3 cannot be spread evenly over 2 devices"),
        (bench_scaling, ["--devices", "0"], "must be at least 1"),
        (bench_tiling, ["--runs", "0"], "--runs and --megapixels"),
        (bench_start, ["--runs", "0"], "--size and --runs"),
        (bench_host, ["--runs", "0"], "--runs"),
        (bench_calibration, ["--candidates", "0"], "must be at least 1"),
        (bench_calibration, ["--model", "random:nothing"], "unknown preset in 'random:nothing'"),
        (bench_costs, ["--photographs", "1"], "--photographs: must be at least 2"),
        (bench_costs, ["--candidate-batch", "0"], "--candidate-batch: must be at least 1"),
    ],
)
def test_what_cannot_be_measured_is_one_sentence(capsys, bench, words, message):
    assert bench.main(words) == 1
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_random_weights_have_the_size_of_the_preset():
    upscaler = load_model("random:tiny-x4", accept_license=False)
    shapes = {name: value.shape for name, value in upscaler.params.items()}
    assert shapes == Model(PRESETS["tiny_x4"]).shapes()


def test_the_host_is_timed_for_every_size_and_format(tmp_path, model):
    output = tmp_path / "host.json"
    words = ["--sizes", "20x16", "32", "--formats", "png", "jpg", "--runs", "1", *model, "-o", str(output)]
    assert bench_host.main(words) == 0
    rows = result(output)["rows"]
    assert [(row["input"], row["format"]) for row in rows] == list(product(("20x16", "32x32"), ("png", "jpg")))
    assert rows[0]["MP of the result"] == 80 * 64 / 1e6
    for row in rows:
        slowest = max(row["read ms"] + row["join ms"], row["write ms"])
        assert row["pictures/s of one host"] == pytest.approx(1e3 / slowest)
        assert min(row[f"{part} ms"] for part in bench_host.PARTS) > 0


def test_what_the_command_refuses_tiling_refuses(capsys):
    with pytest.raises(SystemExit):
        bench_tiling.main(["--tile", "wide"])
    assert "--tile" in capsys.readouterr().err


@pytest.mark.slow
def test_costs_are_what_the_model_reads(tmp_path, model):
    output = tmp_path / "costs.json"
    words = ["--batch", "2", "--photographs", "2", "--runs", "1", "--precision", "bf16", "-o", str(output)]
    assert bench_costs.main([*SMALL, *model, *words]) == 0
    content = result(output)
    costs, batches = read_costs(output)
    assert batches == {"batch": 2, "candidate_batch": 2}
    measured = [getattr(costs, name) for name in ("encode", "first", "network", "decode", "read", "key", "number")]
    assert min(measured) > 0
    whole = 2 * (costs.encode + costs.first + 4 * costs.decode)  # one step, so no network call after the first
    assert content["check"]["sum of the parts"] == pytest.approx(whole)


@pytest.mark.slow
def test_start_tells_cold_from_warm(tmp_path, model, monkeypatch):
    """The test looks at the compilation cache at each start, because times are unreliable on a busy machine."""
    process_seconds, held = bench_start.process_seconds, []

    def noted(words, environment):
        held.append(any(Path(environment["JAXSR_CACHE_DIR"]).rglob("*-cache")))
        return process_seconds(words, environment)

    monkeypatch.setattr(bench_start, "process_seconds", noted)
    output = tmp_path / "start.json"
    assert bench_start.main(["--size", "16", "--steps", "1", "--runs", "1", *model, "-o", str(output)]) == 0
    rows = {row["what"]: row["median s"] for row in result(output)["rows"]}
    assert min(rows.values()) > 0
    cold = list(rows).index("first picture, cold")
    assert list(rows)[cold + 1] == "first picture, warm"
    assert held == [False] * (cold + 1) + [True]


def test_a_process_that_fails_is_one_sentence():
    with pytest.raises(ValueError, match=r"no such model$"):
        bench_start.process_seconds(["-c", "raise SystemExit('no such model')"], {})


@pytest.mark.slow
def test_calibration_writes_rates_and_memory(tmp_path, model):
    output = tmp_path / "calibration.json"
    words = ["--candidates", "2", *SMALL, *model, "--repeats", "1", "--pairs", "1", "2", "-o", str(output)]
    words += ["--precision", "bf16"]
    assert bench_calibration.main(words) == 0
    content = result(output)
    (row,) = content["rows"]
    assert row["sweep / batched"] == pytest.approx(row["sweep"] / row["batched"])
    assert row["at most"] == 2.0  # with one step, two candidates share their only call
    assert [memory["pairs"] for memory in content["memory"]] == [1, 2]


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_calibration_is_measured_at_the_precision(model, monkeypatch, precision):
    monkeypatch.setattr(onednn, "active", lambda: False)  # this CPU's oneDNN may lack bfloat16
    monkeypatch.setattr(cpu, "fast_bfloat16", lambda: True)
    args = bench_calibration.make_parser().parse_args(["--precision", precision, *model])
    chain, params = bench_calibration.make_chain(args)
    assert chain.model.dtype == DTYPES[precision]
    assert {value.dtype for name, value in params.items() if name.endswith(".kernel")} == {jnp.dtype(DTYPES[precision])}


def test_ways_that_disagree_are_refused():
    ways = {"a": lambda: np.zeros(2), "b": lambda: np.array([0.0, 0.1])}
    with pytest.raises(ValueError, match=r"b and a disagree by 0\.1 dB"):
        bench_calibration.check_equal(ways, (), 0.01)


def test_the_peak_of_a_fresh_process_is_its_own():
    held = np.ones(100_000_000)  # 800 MB
    assert in_fresh_process(peak_process_bytes) < held.nbytes < peak_process_bytes()


def exit_at_once() -> None:
    import os

    os._exit(9)


def test_a_process_that_is_killed_is_one_sentence():
    with pytest.raises(OSError, match="ended without an answer"):
        in_fresh_process(exit_at_once)

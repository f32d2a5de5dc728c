"""Test the profile by blocks: it finds every call of a block once and writes all of them to its file."""

import json

import jax
import pytest

from benchmarks import bench_profile, network_cases
from benchmarks.bench_profile import BLOCKS, main
from tests.benchmarks.small import smallest_preset


@pytest.fixture(autouse=True)
def small(monkeypatch):
    monkeypatch.setattr(bench_profile, "PRESETS", {"smallest": smallest_preset()})
    monkeypatch.setattr(bench_profile, "compiler_options", lambda *_: {"xla_backend_optimization_level": 0})
    monkeypatch.setattr(bench_profile, "BANDWIDTH_BYTES", {jax.default_backend(): 4096})
    monkeypatch.setattr(network_cases, "MATRIX_SIDES", {jax.default_backend(): (32, 64)})


@pytest.mark.slow
def test_every_block_of_a_stage_has_its_row(tmp_path, capsys):
    before = [vars(block)["__call__"] for block in BLOCKS]
    file = tmp_path / "profile.json"
    given = ["--model", "smallest", "--stages", "unet", "decode", "--size", "16", "--runs", "1", "-o", str(file)]
    assert main(given) == 0
    assert [vars(block)["__call__"] for block in BLOCKS] == before
    content = json.loads(file.read_text())
    assert content["command"] == f"python -m benchmarks.bench_profile {' '.join(given)}"
    unet, decode = ([row for row in content["rows"] if row["stage"] == stage] for stage in ("unet", "decode"))
    config = smallest_preset().network
    blocks = 2 * sum(config.num_res_blocks) + len(config.num_res_blocks) + 2  # down, up, middle
    assert sum(row["times"] for row in unet if row["block"].startswith("ResBlock")) == blocks
    assert any(row["block"].startswith("ResnetBlock") for row in decode)
    for rows in (unet, decode):
        assert rows[-1]["block"] == "whole stage"
        assert sum(row["share"] for row in rows[:-1]) == pytest.approx(1)
        assert [row["share"] for row in rows[:-1]] == sorted((row["share"] for row in rows[:-1]), reverse=True)
    assert "gap" in capsys.readouterr().out


def test_an_unknown_model_is_refused(capsys):
    assert main(["--model", "none"]) == 1
    assert capsys.readouterr().err.startswith("error: --model: unknown preset 'none'")

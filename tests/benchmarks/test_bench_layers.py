"""Test the benchmark of single layers: every layer has a row, and all programs of a layer compute the same."""

import json

import jax
import numpy as np
import pytest

from benchmarks import bench_layers
from benchmarks.bench_layers import layers, main, ours, theirs
from jaxsr.runtime import onednn


@pytest.fixture(autouse=True)
def small(monkeypatch):
    monkeypatch.setattr(bench_layers, "CONVOLUTIONS", ((8, 32, 48),))
    monkeypatch.setattr(bench_layers, "PRODUCTS", ((16, 8, 4),))
    monkeypatch.setattr(bench_layers, "ATTENTIONS", ((2, 3, 16, 8),))
    monkeypatch.setattr(bench_layers, "NORMS", ((8, 32),))


def test_every_layer_has_a_row(tmp_path, capsys):
    file = tmp_path / "layers.json"
    assert main(["--dtypes", "float32", "--runs", "1", "-o", str(file)]) == 0
    rows = json.loads(file.read_text())["rows"]
    assert [row["layer"].split()[0] for row in rows] == ["convolution", "product", "attention", "norm"]
    for row in rows:
        assert row["XLA ms"] > 0
        assert (row["oneDNN ms"] is not None) == onednn.active()
    assert "| layer |" in capsys.readouterr().out


@pytest.mark.skipif(not onednn.active(), reason="oneDNN is not called here")
@pytest.mark.parametrize("index", range(4))
def test_both_programs_of_a_layer_compute_the_same(index):
    _, function, shapes = layers()[index]
    arguments = [jax.random.normal(jax.random.key(i), shape) for i, shape in enumerate(shapes)]
    first, other = (np.asarray(ours(function, arguments, by_onednn=how)()) for how in (False, True))
    np.testing.assert_allclose(first, other, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("index", range(4))
def test_torch_runs_where_it_is_installed(index):
    pytest.importorskip("torch")
    name, _, shapes = layers()[index]
    rival = theirs(name, [jax.random.normal(jax.random.key(i), shape) for i, shape in enumerate(shapes)], "float32")
    assert rival is not None
    rival()


def test_no_runs_are_refused(capsys):
    assert main(["--runs", "0"]) == 1
    assert capsys.readouterr().err == "error: --runs must be at least 1.\n"

"""Test the rival's rows, torch.compile, and the user's own checkout (needs PyTorch)."""

import json
import sys

import jax
import pytest

from benchmarks import bench_network, network_cases
from benchmarks.bench_network import main
from tests.benchmarks.small import pixel_preset, smallest_preset

torch = pytest.importorskip("torch")

SMALL = ["--model", "smallest", "--stages", "unet", "--sizes", "16", "--batches", "1", "--runs", "1"]
SMALL += ["--dtypes", "float32"]
# Stand-ins for the original's classes: the rival's networks, with the settings and buffers of the released ones.
STAND_INS = {
    "models/unet.py": """
from benchmarks.rival_unet import UNet
from weight_conversion.architecture import derived_buffers
from weight_conversion.settings import unet_config

class UNetModelSwin(UNet):
    def __init__(self, **settings):
        super().__init__(unet_config(settings))
        self.buffers_wanted = set(derived_buffers(unet_config(settings)))
        self.fit(16, 16)

    def load_state_dict(self, state):
        own = self.state_dict().keys()
        assert state.keys() - own == self.buffers_wanted
        super().load_state_dict({key: state[key] for key in own})
""",
    "ldm/models/autoencoder.py": """
from benchmarks.rival_vq import VQAutoencoder
from weight_conversion.settings import vq_config

class VQModelTorch(VQAutoencoder):
    def __init__(self, **settings):
        super().__init__(vq_config(settings))
""",
}


@pytest.fixture(autouse=True)
def small(monkeypatch):
    presets = (smallest_preset(), pixel_preset())
    monkeypatch.setattr(bench_network, "PRESETS", {preset.name: preset for preset in presets})
    monkeypatch.setattr(network_cases, "MATRIX_SIDES", {jax.default_backend(): (32,)})
    monkeypatch.setattr(network_cases, "compiler_options", lambda *_: {"xla_backend_optimization_level": 0})


@pytest.fixture
def checkout(tmp_path):
    before = set(sys.modules)
    for name, text in STAND_INS.items():
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).write_text(text)
    yield tmp_path
    for name in {"models", "models.unet", "ldm", "ldm.models", "ldm.models.autoencoder"} - before:
        sys.modules.pop(name, None)


def test_every_program_has_a_row_and_its_ratio(tmp_path, checkout, monkeypatch):
    modes = []

    def compile_nothing(model, **how):
        modes.append(how)
        return model

    monkeypatch.setattr(torch, "compile", compile_nothing)
    given = ["--torch-compile", "reduce-overhead", "--torch-repo", str(checkout), "-o", str(tmp_path / "a.json")]
    assert main([*SMALL, *given]) == 0
    content = json.loads((tmp_path / "a.json").read_text())
    rows = {row["program"]: row for row in content["rows"]}
    assert list(rows) == ["jaxsr", "torch eager", "original eager", "torch compile"]
    assert len({row["GFLOP"] for row in rows.values()}) == 1
    assert rows["jaxsr"]["time / jaxsr"] == 1
    ratio = rows["torch eager"]["median s"] / rows["jaxsr"]["median s"]
    assert rows["torch eager"]["time / jaxsr"] == pytest.approx(ratio)
    assert content["rival"].startswith(f"PyTorch {torch.__version__} on ")
    assert modes == [{"mode": "reduce-overhead", "dynamic": False}] * 3


def test_where_torch_compile_fails_the_rest_is_measured(tmp_path, monkeypatch, capsys):
    def fail(*_, **__):
        raise RuntimeError("no compiler here")

    monkeypatch.setattr(torch, "compile", lambda model, **_: fail)
    assert main([*SMALL, "--torch-compile", "-o", str(tmp_path / "a.json")]) == 0
    content = json.loads((tmp_path / "a.json").read_text())
    assert [row["program"] for row in content["rows"]] == ["jaxsr", "torch eager"]
    assert content["left out"] == [
        "unet 16x16 batch 1 float32, torch compile: left out (RuntimeError: no compiler here)"
    ]
    assert f"note: {content['left out'][0]}\n" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["--torch-repo", "nowhere"], "--torch-repo: nowhere is not a folder"),
        (["--torch-repo", "."], "--torch-repo .: cannot make models.unet:UNetModelSwin"),
        (["--model", "small-pixel", "--torch-repo", "."], "--torch-repo: the original has no small_pixel"),
    ],
)
def test_refused_checkouts(given, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main([*SMALL, *given]) == 1
    error = capsys.readouterr().err
    assert error.startswith(f"error: {message}")

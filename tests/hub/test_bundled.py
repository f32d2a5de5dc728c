"""Test that what is bundled is good and small: models that beat bicubic by far, and LPIPS without a download."""

import json
import socket
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

import jaxsr
from jaxsr.cli import evaluate
from jaxsr.imaging.resize import downsample_bicubic_uint8, upsample_bicubic
from jaxsr.metrics.lpips import lpips
from jaxsr.metrics.perceptual_files import load_perceptual
from jaxsr.training.camera import camera

ROOT = Path(__file__).parents[2]
ASSETS = ROOT / "jaxsr/assets"


def crop() -> np.ndarray:
    """Return the middle of the bundled photograph, 128x128."""
    with Image.open(ROOT / "examples/wide.webp") as image:
        return np.asarray(image.convert("RGB").crop((320, 192, 448, 320)))


@pytest.fixture
def offline(monkeypatch, tmp_path):
    """Refuse every connection, and hide the weights that this machine may have."""

    def refuse(*args, **kwargs):
        raise OSError("no network in this test")

    monkeypatch.setattr(socket, "create_connection", refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setenv("JAXSR_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.delenv("JAXSR_METRICS_DIR", raising=False)


@pytest.mark.parametrize(("name", "most"), [("photo-x4", 16e6), ("tiny-x4", 16e6), ("perceptual", 6e6)])
def test_what_is_bundled_is_small(name, most):
    assert sum(path.stat().st_size for path in (ASSETS / name).rglob("*.safetensors")) < most
    assert list((ASSETS / name).glob("LICENSE*")) or list((ASSETS / name).glob("README.md"))


def _scores(name: str, degrade) -> tuple[float, float]:
    """Return LPIPS of a bundled model's result on the photograph, and of bicubic interpolation."""
    hr, params = crop(), load_perceptual("lpips-alex")
    lr = degrade(hr)
    small, truth = (jnp.asarray(x[None], jnp.float32) / 255 for x in (lr, hr))
    ours = jnp.asarray(jaxsr.load(name).upscale(lr, seed=0)[None], jnp.float32) / 255
    bicubic = jnp.clip(upsample_bicubic(small, 4), 0, 1)
    return tuple(float(lpips(x, truth, params)[0]) for x in (ours, bicubic))


def test_the_bundled_models_are_far_better_than_bicubic(offline):
    """LPIPS by the bundled weights. Damaged weights, a wrong preset or a broken codec would not pass."""
    ours, bicubic = _scores("tiny-x4", lambda hr: downsample_bicubic_uint8(hr, 4))
    assert ours < 0.75 * bicubic
    ours, bicubic = _scores("photo-x4", lambda hr: camera(hr, 4, np.random.default_rng(0)))
    assert ours < 0.75 * bicubic


def test_lpips_is_computed_without_a_network(offline, tmp_path):
    for folder, shift in (("hr", 0), ("sr", 1)):
        (tmp_path / folder).mkdir()
        Image.fromarray(np.roll(crop(), shift, 1)).save(tmp_path / folder / "a.png")
    words = ["--pred", tmp_path / "sr", "--target", tmp_path / "hr", "-m", "lpips", "-o", tmp_path / "r.json"]
    assert evaluate.main([str(word) for word in words]) == 0
    assert 0 < json.loads((tmp_path / "r.json").read_text())["metrics"]["lpips"]["mean"] < 0.2

"""A model for tests of the sample command with guidance, in a folder with small guide files."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from jaxsr.cli.sample import main
from jaxsr.upscaling import loading
from jaxsr.upscaling import upscaler as upscaler_module
from jaxsr.upscaling.upscaler import Upscaler
from tests.small_model import enlarged, nearest

PIXELS = np.random.default_rng(0).integers(0, 256, (12, 20, 3), np.uint8)
BOX = "--reference hr.png --reference-box 0,0,10,12"


@pytest.fixture(name="model", autouse=True)
def guided_model(small_upscalers, monkeypatch, tmp_path) -> Upscaler:
    """Replace the network with `nearest` times 1 + alpha, and fit every reference with a scale of -1."""

    def guided(params, key, tiles, origins, guides=None):
        plain = nearest(params, key, tiles, origins)
        if guides is None:
            return plain
        rows = guides.scale[0].reshape(-1, guides.scale.shape[-1])
        strength = 1 if guides.weight is None else guides.weight.repeat(4, 1).repeat(4, 2)
        panels = [plain * (1 - strength * row.mean()) for row in rows]
        if guides.hr:
            inside = guides.hr.weight.repeat(4, 1).repeat(4, 2)
            panels = [panel * (1 - inside) + guides.hr.image * inside for panel in panels]
        return np.concatenate(panels, -1)

    upscaler = replace(small_upscalers["channel"], source=tmp_path / "model.safetensors")
    monkeypatch.setattr(loading, "load", lambda name, *, accept_license: upscaler)
    monkeypatch.setattr(Upscaler, "compiled", lambda *_: guided)
    monkeypatch.setattr(upscaler_module, "measure_tiles", lambda *_: [])
    monkeypatch.setattr(upscaler_module, "fit_reference", lambda moments: ((-1.0, -0.5), (0.0, 0.125)))
    monkeypatch.setattr(
        upscaler_module, "fit_lr_scale", lambda moments, objective, _: (0.5, 0.25 if objective == "norm" else 0.0)
    )
    monkeypatch.setattr(upscaler_module, "fit_quality", lambda *moments: {"r2": (0.25, 0.5)})
    return upscaler


@pytest.fixture(name="folder")
def guided_folder(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Image.fromarray(PIXELS).save("a.png")
    Image.fromarray(enlarged(PIXELS)[:, :40]).save("hr.png")
    Image.fromarray(np.tile(np.uint8([[0, 255]]), (12, 10))).save("map.png")
    mask = np.zeros((12, 20), np.uint8)
    mask[:, :10] = 255
    Image.fromarray(mask).save("mask.png")
    return tmp_path


def run(words: str) -> int:
    return main(f"-i a.png {words}".split())


def pixels(path: str) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image)


def sidecar(path: str) -> dict:
    return json.loads(Path(f"{path}.json").read_text())

"""Run the sample command on random pictures, in this process or in a new one, and read the files that it writes."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
from PIL import Image

from jaxsr.cli.sample import main

ROOT = Path(__file__).parents[2]


def run(*words: str | Path) -> int:
    return main([str(word) for word in words])


def picture(path: Path, size: tuple[int, int] = (5, 4), seed: int = 0, **settings) -> np.ndarray:
    """Write a random RGB picture of (width, height); return its pixels."""
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, **settings)
    return pixels


def read_pixels(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image)


def sidecar(path: Path) -> dict:
    return json.loads(path.with_name(f"{path.name}.json").read_text())


def files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def start(code: str | list[str], folder: Path, small_checkpoint: Path) -> subprocess.Popen:
    cache = {"JAXSR_CACHE": "on", "JAXSR_CACHE_DIR": str(folder / "cache"), "PYTHONPATH": str(ROOT)}
    words = ["-c", code] if isinstance(code, str) else ["-m", "jaxsr.sample", "-n", str(small_checkpoint), *code]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    return subprocess.Popen([sys.executable, *words], env=os.environ | cache, **pipes)

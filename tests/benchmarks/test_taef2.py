"""Test TAEF2 in JAX, and the latent model that the bake-off trains."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from benchmarks import bakeoff, taef2
from jaxsr.diffusion.process import forward_sample
from jaxsr.evaluation.images import read_picture
from jaxsr.models.model import linear_estimate
from jaxsr.training.dataset import pair_dataset
from jaxsr.training.step import to_signed


@pytest.fixture(scope="module")
def weights(shared) -> Path:
    return shared / "reference/taef2"


def test_photographs_come_back_as_well_as_measured_elsewhere(weights, shared):
    params = {name: jnp.asarray(value) for name, value in taef2.load_taef2(weights).items()}
    for name in ("1.webp", "10.webp", "20.webp"):
        image = read_picture(shared / "data/kodak24" / name).pixels[None, 128:384, 128:384] / np.float32(255)
        latent = taef2.encode(params, jnp.asarray(image))
        assert latent.shape == (1, 32, 32, taef2.CHANNELS)
        mse = np.square(np.clip(taef2.decode(params, latent), 0, 1) - image).mean()
        assert 25 < -10 * np.log10(mse) < 40  # the six crops of its README: 26.7 to 38.1 dB


@pytest.mark.slow
def test_the_latent_model_predicts_the_posterior_mean_of_its_residuals(weights):
    photograph = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    dataset = pair_dataset([photograph], hr_size=32, scale=4, batch_size=2, seed=0)
    model, frozen = bakeoff.latent_model(weights, dataset, batches=4)
    basis, spread = frozen["codec.basis"], jnp.asarray(model.preset.residual_std, jnp.float32).reshape(1, 1, 1, -1)
    np.testing.assert_allclose(basis @ basis.T, np.eye(taef2.CHANNELS), atol=1e-5)
    key, schedule = jax.random.key(0), model.preset.schedule.build()
    params = model.init(key) | frozen  # the network's last layer is zero
    lr = to_signed(jnp.asarray(dataset.batch(0)["lr"]))
    z_lr = model.encode_lr(params, lr)
    t = jnp.array([30, 50])
    eta = jnp.asarray(schedule.eta, jnp.float32)[t][:, None, None, None]
    residual = jax.random.normal(key, z_lr.shape) * spread @ basis
    x_t = forward_sample(z_lr + residual, z_lr, jax.random.normal(key, z_lr.shape), eta, schedule.kappa)
    gain, _ = linear_estimate(spread, eta, schedule.kappa)
    expected = z_lr + gain * ((x_t - z_lr) @ basis.T) @ basis
    np.testing.assert_allclose(model.predict(params, x_t, jnp.ones(2), t, z_lr, lr), expected, atol=1e-4)

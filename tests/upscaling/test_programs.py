"""Test the compiled functions: the memory of the gradient through the network, and maps at the latent's size."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxsr.models.model import Model
from jaxsr.models.presets import PixelCodecConfig
from jaxsr.upscaling.programs import to_latent
from tests.small_model import small_preset


@pytest.mark.slow
def test_remat_gives_the_same_gradient_and_keeps_less_for_it(small_upscalers):
    """The test counts the kept values in the traced function, because XLA undoes rematerialisation on CPUs."""
    upscaler = small_upscalers["channel"]
    x, lq = (jax.random.normal(jax.random.key(i), (1, 16, 16, channels)) for i, channels in enumerate((48, 3)))
    gradients, kept = [], []
    for remat in (False, True):
        model = Model(upscaler.preset, remat=remat)

        def predict(x, model=model):
            return model.predict(upscaler.params, x, jnp.ones(()), jnp.zeros(1, jnp.int32), jnp.zeros_like(x), lq)

        gradients.append(np.asarray(jax.jit(lambda x, f=predict: jax.vjp(f, x)[1](x)[0])(x)))
        residuals = jax.eval_shape(lambda x, f=predict: jax.vjp(f, x)[1], x)
        kept.append(sum(leaf.size for leaf in jax.tree.leaves(residuals)))
    np.testing.assert_allclose(*gradients, atol=1e-5)
    assert kept[1] < 0.5 * kept[0]


@pytest.mark.parametrize(("scale", "factor"), [(1, 4), (1, 8), (4, 4), (4, 8), (4, 2)])
def test_maps_are_averaged_to_the_latent(scale, factor):
    preset = replace(small_preset(), scale=scale, codec=PixelCodecConfig(factor))
    values = np.random.default_rng(0).random((1, 16, 24, 1), np.float32)
    big = values.repeat(scale, 1).repeat(scale, 2)
    n, m = big.shape[1] // factor, big.shape[2] // factor
    wanted = big.reshape(n, factor, m, factor).mean((1, 3))
    np.testing.assert_allclose(to_latent(jnp.asarray(values), preset)[0, ..., 0], wanted, rtol=1e-6)

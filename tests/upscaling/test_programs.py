"""The compiled functions: what the gradient through the network keeps in memory."""

import jax
import jax.numpy as jnp
import numpy as np

from jaxsr.models.model import Model


def test_remat_gives_the_same_gradient_and_keeps_less_for_it(small_upscalers):
    """What is kept is counted in the traced function: XLA undoes rematerialisation on CPUs."""
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

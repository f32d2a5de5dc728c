"""Test Muon: orthogonal updates of kernels, Adam for the rest, no dependence on the gradient's size."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxsr.models.model import Model
from jaxsr.training.step import make_optimizer
from tests.training.tiny_run import PIXEL, make_config

SHAPES = {name: shape for name, shape in Model(PIXEL).shapes().items() if name.startswith("network.")}
MATRICES = [name for name in SHAPES if name.endswith("kernel") and "time_embed" not in name]


def gradients(size: float, seed: int = 0) -> dict[str, jax.Array]:
    rng = np.random.default_rng(seed)
    return {name: jnp.asarray(size * rng.normal(size=shape), jnp.float32) for name, shape in SHAPES.items()}


def updates(optimizer: optax.GradientTransformation, grads: dict[str, jax.Array]) -> dict[str, np.ndarray]:
    """Return the first update from ones."""
    params = {name: jnp.ones(shape) for name, shape in SHAPES.items()}
    with jax.numpy_dtype_promotion("standard"):
        values: Any = jax.jit(lambda g, p: optimizer.update(g, optimizer.init(p), p)[0])(grads, params)
    return {name: np.asarray(value) for name, value in values.items()}


@pytest.fixture(scope="module")
def first() -> dict[str, np.ndarray]:
    return updates(make_optimizer(make_config(optimizer="muon", learning_rate=0.01, warmup=0)), gradients(1e-3))


@pytest.mark.parametrize("name", MATRICES)
def test_the_update_of_a_kernel_is_nearly_its_gradients_polar_factor(name, first):
    gradient, update = (np.reshape(a[name], (-1, SHAPES[name][-1])) for a in (gradients(1e-3), first))
    size = 0.01 * 0.2 * max(gradient.shape) ** 0.5
    singular = np.linalg.svd(update / size, compute_uv=False)
    # Muon's polynomial sends singular values near 1; the smallest of a square matrix need more iterations.
    assert singular.max() < 1.3
    assert np.median(singular) > 0.6
    left, _, right = np.linalg.svd(gradient, full_matrices=False)
    polar = left @ right
    cosine = -(polar * update).sum() / np.linalg.norm(polar) / np.linalg.norm(update)
    assert cosine > 0.9


def test_all_other_parameters_are_updated_by_adam_with_nesterovs_momentum(first):
    adamw = updates(optax.nadam(0.01, b2=0.99, eps=1e-14), gradients(1e-3))
    others = SHAPES.keys() - set(MATRICES)
    assert others
    for name in others:
        np.testing.assert_allclose(first[name], adamw[name], rtol=1e-5)
    assert all(np.abs(first[name] - adamw[name]).max() > 1e-3 for name in MATRICES)


def test_tiny_gradients_train_as_far_as_large_ones(first):
    small = updates(make_optimizer(make_config(optimizer="muon", learning_rate=0.01, warmup=0)), gradients(1e-9))
    for name, value in first.items():
        np.testing.assert_allclose(small[name], value, rtol=5e-3, atol=2e-5, err_msg=name)


def test_decay_reaches_the_kernels_of_muon_alone():
    config = make_config(optimizer="muon", weight_decay=0.5, warmup=0)
    values = updates(make_optimizer(config), {name: jnp.zeros(shape) for name, shape in SHAPES.items()})
    assert {name for name, u in values.items() if u.sum() < 0} == set(MATRICES)

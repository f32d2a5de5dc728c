"""Test LPIPS and DISTS against the authors' packages (needs PyTorch, torchvision, lpips and DISTS_pytorch)."""

import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxsr.hub.checkpoint import load
from jaxsr.metrics.perceptual_cards import BUNDLED_HEADS, find_card
from jaxsr.metrics.perceptual_conversion import convert_heads
from tests.metrics.make_perceptual import HEADS, golden, published_heads
from tests.metrics.perceptual_weights import image_pairs, random_params
from tests.metrics.test_perceptual import GOLDEN, METRICS

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    for package in ("torch", "torchvision", "lpips", "DISTS_pytorch"):
        pytest.importorskip(package)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("metric", HEADS)
def test_numbers_and_gradients(metric):
    theirs = golden(metric)
    np.testing.assert_allclose(theirs[metric], np.load(GOLDEN)[metric], rtol=1e-9)
    ours = jax.jit(jax.value_and_grad(lambda a, b, params: METRICS[metric](a, b, params).sum()))
    value, gradient = ours(*map(jnp.asarray, image_pairs(metric)), random_params(metric))
    np.testing.assert_allclose(value, theirs[metric].sum(), rtol=1e-5)
    error = np.linalg.norm(gradient - theirs[f"{metric}/gradient"]) / np.linalg.norm(theirs[f"{metric}/gradient"])
    print(f"{metric}: relative error of the sum {value / theirs[metric].sum() - 1:.1e}, of the gradient {error:.1e}")
    assert error < 1e-4


@pytest.mark.parametrize("metric", HEADS)
def test_the_bundled_heads_are_the_packages(metric):
    bundled, _ = load(BUNDLED_HEADS)
    for name, value in convert_heads(find_card(metric), published_heads(metric)).items():
        np.testing.assert_array_equal(bundled[f"{metric}.{name}"], np.asarray(value), strict=True)

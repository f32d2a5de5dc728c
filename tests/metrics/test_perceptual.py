"""Test LPIPS and DISTS with random networks, against golden numbers of the authors' packages and known properties."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxsr.hub.checkpoint import load
from jaxsr.metrics.dists import dists
from jaxsr.metrics.lpips import lpips
from jaxsr.metrics.perceptual_cards import BUNDLED_HEADS, CARDS
from tests.metrics.perceptual_weights import image_pairs, random_params

GOLDEN = Path(__file__).parents[1] / "golden" / "perceptual.npz"
METRICS = {
    "lpips-alex": lambda a, b, params: lpips(a, b, params, net="alex"),
    "lpips-vgg": lambda a, b, params: lpips(a, b, params, net="vgg"),
    "dists": dists,
}
RUN = {name: jax.jit(metric) for name, metric in METRICS.items()}


@pytest.fixture(scope="module", params=list(METRICS))
def name(request) -> str:
    return request.param


@pytest.fixture(scope="module")
def params(name) -> dict:
    return random_params(name)


def pairs(name: str) -> tuple[jax.Array, jax.Array]:
    a, b = image_pairs(name)
    return jnp.asarray(a), jnp.asarray(b)


def test_numbers_are_those_of_the_package(name, params):
    """The golden numbers come from the packages' classes in float64; tests/metrics/make_perceptual.py made them."""
    golden = np.load(GOLDEN)[name]
    assert len(set(golden)) == 3
    # The second pair is nearly alike, so the rounding of its features shows: 1e-7 of the scale, which is 1.
    np.testing.assert_allclose(RUN[name](*pairs(name), params), golden, rtol=1e-5, atol=1e-7 * (name == "dists"))


def test_equal_images_have_0_and_the_order_does_not_matter(name, params):
    a, b = pairs(name)
    # Both images are in one batch, where convolutions may round differently from place to place. This leaves squares
    # of 1e-7 over variances of at least 1e-6.
    np.testing.assert_allclose(RUN[name](a, a, params), 0, atol=1e-7 if name == "dists" else 1e-12)
    np.testing.assert_allclose(RUN[name](a, b, params), RUN[name](b, a, params), rtol=1e-6)


def test_it_grows_with_noise(name, params):
    a, _ = pairs(name)
    noise = jnp.asarray(np.random.default_rng(1).uniform(-0.2, 0.2, a.shape), jnp.float32)
    found = np.stack([RUN[name](a, a + strength * noise, params) for strength in (0.1, 0.3, 1.0)])
    assert (np.diff(found, axis=0) > 0).all()
    assert (found > 0).all()


def test_the_gradient_is_the_slope_and_finite_where_images_are_equal_or_black(name, params):
    a, b = pairs(name)
    gradient = jax.jit(jax.grad(lambda a, b, params: METRICS[name](a, b, params).sum()))
    for x, y in ((a, a), (jnp.zeros_like(a), jnp.zeros_like(a)), (jnp.zeros_like(a), b)):
        assert np.isfinite(gradient(x, y, params)).all()
    slope = gradient(a, b, params)
    step = 1e-3 * slope / jnp.abs(slope).max()
    ahead, behind = (RUN[name](a + sign * step, b, params).sum() for sign in (1, -1))
    np.testing.assert_allclose((ahead - behind) / 2, (slope * step).sum(), rtol=2e-2)


def test_images_that_cannot_be_compared_are_refused(name, params):
    a, b = pairs(name)
    for x, y, problem in (
        (a, b[:, :-1], "crop them to one size"),
        (a[..., :1], b[..., :1], "1 channels"),
        (a[:0, :8, :8], b[:0, :8, :8], "pixels a side" if name != "dists" else None),
    ):
        if problem:
            with pytest.raises(ValueError, match=problem):
                METRICS[name](x, y, params)


def test_parameters_of_another_network_are_refused(name, params):
    a, b = pairs(name)
    others = {"lpips-alex": "lpips-vgg", "lpips-vgg": "lpips-alex", "dists": "lpips-vgg"}
    with pytest.raises(ValueError, match=rf"not the parameters of {name} .*load_perceptual\('{name}'\)"):
        METRICS[name](a, b, random_params(others[name]))
    with pytest.raises(ValueError, match="not the parameters"):
        METRICS[name](a, b, {key: value for key, value in params.items() if key != "features.0.bias"})


def test_an_unknown_network_is_refused():
    a, b = pairs("lpips-alex")
    with pytest.raises(ValueError, match="'squeeze' is not known: use one of alex, vgg"):
        lpips(a, b, {}, net="squeeze")


def test_the_bundled_heads_fit_and_weigh_no_channel_negatively():
    heads, metadata = load(BUNDLED_HEADS)
    shapes = {f"{card.name}.{key}": shape for card in CARDS.values() for key, shape in card.head_shapes().items()}
    assert {key: value.shape for key, value in heads.items()} == shapes
    assert all((value >= 0).all() for value in heads.values())
    assert metadata["licences"] == {"lpips": "BSD-2-Clause", "dists": "MIT"}
    texts = BUNDLED_HEADS.with_name("LICENSES.txt").read_text()
    assert all(words in texts for words in ("Richard Zhang", "Keyan Ding", "Redistributions in binary form"))

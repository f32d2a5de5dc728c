"""Test the perceptual term of the loss, the share of examples at t = T, and the config's rules about both."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxsr.metrics.lpips import lpips
from jaxsr.metrics.perceptual_files import load_perceptual
from jaxsr.models.pixel_codec import pixel_shuffle
from jaxsr.training.step import METRIC, SHIFTS, init_state, loss_fn, make_optimizer, make_update
from tests.training.test_step import KEY, make_batch
from tests.training.tiny_run import PIXEL, Fake, make_config, sine_noise

PERCEPTUAL = make_config(perceptual="lpips-alex", perceptual_weight=0.5)


@pytest.fixture(autouse=True)
def _cheap_noise(monkeypatch):
    monkeypatch.setattr(jax.random, "normal", sine_noise)


@pytest.fixture(scope="module")
def metric():
    return {f"{METRIC}{name}": jnp.asarray(value) for name, value in load_perceptual("lpips-alex").items()}


def test_the_term_is_the_metric_of_one_random_crop(metric):
    model, batch = Fake(PIXEL), make_batch(2, size=40)
    params = model.init(KEY)
    loss, terms = loss_fn(model, PERCEPTUAL, params | metric, batch, KEY)
    plain, _ = loss_fn(model, make_config(), params, batch, KEY)
    assert terms.keys() == {"error", "perceptual"}
    np.testing.assert_allclose(terms["error"], plain, rtol=1e-6)
    np.testing.assert_allclose(loss, terms["error"] + terms["perceptual"], rtol=1e-6)

    x_t, scale, *_ = model.calls[0]
    x0_hat = 0.5 * x_t * scale.reshape(-1, 1, 1, 1) + 0.1
    sr, hr = (pixel_shuffle(x0_hat, 2) + 1) / 2, batch["hr"].astype(jnp.float32) / 255
    side = 40 - SHIFTS + 1
    weights = {name.removeprefix(METRIC): value for name, value in metric.items()}
    crops = [(slice(None), slice(y, y + side), slice(x, x + side)) for y in range(SHIFTS) for x in range(SHIFTS)]
    values = [0.5 * float(lpips(sr[crop], hr[crop], weights).mean()) for crop in crops]
    assert min(abs(value - float(terms["perceptual"])) for value in values) < 1e-5


def test_the_crop_is_random(metric):
    model, batch = Fake(PIXEL), make_batch(1, size=40)
    same = model.init(KEY) | {"network.gain.kernel": jnp.zeros((1, 1, 1, 1))} | metric  # the prediction is constant
    terms = [float(loss_fn(model, PERCEPTUAL, same, batch, key)[1]["perceptual"]) for key in jax.random.split(KEY, 6)]
    assert len(set(terms)) > 1


def test_the_metric_moves_the_parameters_and_stays_as_it_is(metric):
    model, batch = Fake(PIXEL), make_batch(4, size=40)
    state = init_state(model, make_optimizer(PERCEPTUAL), KEY)
    new, values = make_update(model, PERCEPTUAL)(state, batch, metric)
    assert new.params.keys() == state.params.keys()
    np.testing.assert_allclose(values["loss"], values["error"] + values["perceptual"], rtol=1e-6)

    def gradient(config):
        return jax.grad(lambda p: loss_fn(model, config, p | metric, batch, KEY)[0])(model.init(KEY))

    with_metric, without = gradient(PERCEPTUAL), gradient(make_config())
    assert all(float(jnp.abs(with_metric[name] - without[name]).max()) > 0 for name in without)


def test_accumulated_terms_are_means(metric):
    config = make_config(batch_size=4, accumulate=2, perceptual="lpips-alex", perceptual_weight=0.5)
    model, batch = Fake(PIXEL), make_batch(4, size=40)
    state = init_state(model, make_optimizer(config), KEY)
    _, values = make_update(model, config)(state, batch, metric)
    keys = jax.random.split(jax.random.fold_in(jax.random.key(config.seed), 0), 2)
    for name in ("error", "perceptual"):
        parts = [
            loss_fn(model, config, state.params | metric, {k: a[i::2] for k, a in batch.items()}, key)[1][name]
            for i, key in enumerate(keys)
        ]
        np.testing.assert_allclose(values[name], np.mean(parts), rtol=1e-4)


@pytest.mark.parametrize(("share", "expected"), [(1.0, 1.0), (0.6, 0.7), (0.0, 0.25)])
def test_a_share_of_the_examples_starts_where_chains_begin(share, expected):
    model, batch = Fake(PIXEL), make_batch(4000, size=4)
    loss_fn(model, make_config(start_share=share), model.init(KEY), batch, KEY)
    last = np.asarray(model.calls[0][2]) == PIXEL.schedule.steps - 1
    assert last.mean() == pytest.approx(expected, abs=0.03)  # a uniform t is the last of four for a quarter


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"perceptual": "lpips-alex"}, "perceptual_weight: must be above 0 with a perceptual metric"),
        ({"perceptual_weight": 0.1}, "perceptual_weight: .* 0 without one, got 0.1 with 'none'"),
        ({"start_share": 1.5}, "start_share: must be 0 to 1, got 1.5"),
    ],
)
def test_choices_that_do_not_fit_are_refused(changed, message):
    with pytest.raises(ValueError, match=f"^{message}"):
        make_config(**changed)

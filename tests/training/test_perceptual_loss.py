"""Test the perceptual term of the loss, the shares of examples at t = T and of a chain, and the config's rules."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxsr.metrics.lpips import lpips, lpips_shapes
from jaxsr.metrics.perceptual_files import load_perceptual
from jaxsr.models.pixel_codec import pixel_shuffle, pixel_unshuffle
from jaxsr.training import loop
from jaxsr.training.config import SHIFTS
from jaxsr.training.step import DETAIL, METRIC, init_state, loss_fn, make_optimizer, make_update
from tests.training.test_step import KEY, make_batch
from tests.training.tiny_run import PIXEL, Fake, make_config, sine_noise

DISTANCE = jax.jit(lpips, static_argnames="net")
PERCEPTUAL = make_config(perceptual="lpips-alex", perceptual_weight=0.5, hr_size=40)


@pytest.fixture(autouse=True)
def _cheap_noise(monkeypatch):
    monkeypatch.setattr(jax.random, "normal", sine_noise)


@pytest.fixture(scope="module")
def metric():
    return {f"{METRIC}{name}": jnp.asarray(value) for name, value in load_perceptual("lpips-alex").items()}


@pytest.fixture(scope="module")
def detail():
    """Random weights of LPIPS with VGG, as its network is not bundled."""
    keys = jax.random.split(KEY, 100)
    shapes = enumerate(lpips_shapes("vgg").items())
    return {f"{DETAIL}{name}": 0.1 * jnp.abs(jax.random.uniform(keys[i], shape)) for i, (name, shape) in shapes}


@pytest.mark.parametrize("net", ["alex", pytest.param("vgg", marks=pytest.mark.slow)])
def test_the_term_is_the_metric_of_one_random_crop(metric, detail, net):
    known, prefix = (metric, METRIC) if net == "alex" else (detail, DETAIL)
    weights = {name.removeprefix(prefix): value for name, value in known.items()}
    config = replace(PERCEPTUAL, perceptual=f"lpips-{net}")
    model, batch = Fake(PIXEL), make_batch(2, size=40)
    params = model.init(KEY)
    frozen = {f"{METRIC}{name}": value for name, value in weights.items()}
    loss, terms = loss_fn(model, config, params | frozen, batch, KEY)
    plain, _ = loss_fn(model, make_config(), params, batch, KEY)
    assert terms.keys() == {"error", "perceptual"}
    np.testing.assert_allclose(terms["error"], plain, rtol=1e-6)
    np.testing.assert_allclose(loss, terms["error"] + terms["perceptual"], rtol=1e-6)

    x_t, scale, *_ = model.calls[0]
    x0_hat = 0.5 * x_t * scale.reshape(-1, 1, 1, 1) + 0.1
    sr, hr = (pixel_shuffle(x0_hat, 2) + 1) / 2, batch["hr"].astype(jnp.float32) / 255
    side = 40 - SHIFTS + 1
    crops = [(slice(None), slice(y, y + side), slice(x, x + side)) for y in range(SHIFTS) for x in range(SHIFTS)]
    values = [0.5 * float(DISTANCE(sr[crop], hr[crop], weights, net=net).mean()) for crop in crops]
    assert min(abs(value - float(terms["perceptual"])) for value in values) < 1e-5


def test_the_crop_is_random(metric):
    model, batch = Fake(PIXEL), make_batch(1, size=40)
    same = model.init(KEY) | {"network.gain.kernel": jnp.zeros((1, 1, 1, 1))} | metric  # the prediction is constant
    term = jax.jit(lambda key: loss_fn(model, PERCEPTUAL, same, batch, key)[1]["perceptual"])
    terms = [float(term(key)) for key in jax.random.split(KEY, 6)]
    assert len(set(terms)) > 1


@pytest.mark.parametrize("size", [38, 40])
def test_the_second_term_is_lpips_of_vgg_on_a_random_crop(detail, size):
    model, batch = Fake(PIXEL), make_batch(2, size=40)
    config = make_config(detail_weight=0.25, detail_size=size, hr_size=40)
    loss, terms = loss_fn(model, config, model.init(KEY) | detail, batch, KEY)
    assert terms.keys() == {"error", "detail"}
    np.testing.assert_allclose(loss, terms["error"] + terms["detail"], rtol=1e-6)
    x_t, scale, *_ = model.calls[0]
    sr = (pixel_shuffle(0.5 * x_t * scale.reshape(-1, 1, 1, 1) + 0.1, 2) + 1) / 2
    hr = batch["hr"].astype(jnp.float32) / 255
    weights = {name.removeprefix(DETAIL): value for name, value in detail.items()}
    starts = range(40 - size + 1)
    crops = [(slice(None), slice(y, y + size), slice(x, x + size)) for y in starts for x in starts]
    values = [0.25 * float(DISTANCE(sr[crop], hr[crop], weights, net="vgg").mean()) for crop in crops]
    np.testing.assert_allclose(min(values, key=lambda v: abs(v - terms["detail"])), terms["detail"], rtol=1e-5)


def test_both_terms_add_up_and_only_their_own_metric_counts(metric, detail):
    model, batch = Fake(PIXEL), make_batch(1, size=40)
    config = replace(PERCEPTUAL, hr_size=40, detail_weight=0.25, detail_size=32)
    loss, terms = loss_fn(model, config, model.init(KEY) | metric | detail, batch, KEY)
    _, first = loss_fn(model, PERCEPTUAL, model.init(KEY) | metric, batch, KEY)
    np.testing.assert_allclose(terms["perceptual"], first["perceptual"], rtol=1e-6)
    np.testing.assert_allclose(loss, sum(terms.values()), rtol=1e-6)


def test_the_metrics_of_a_run_are_those_that_its_config_asks_for(monkeypatch):
    monkeypatch.setattr(loop, "load_perceptual", lambda name: {f"{name}.head": np.zeros(1)})
    assert loop.load_metrics(make_config()) == {}
    both = make_config(perceptual="lpips-alex", perceptual_weight=1.0, detail_weight=1.0, hr_size=40, detail_size=16)
    assert loop.load_metrics(both).keys() == {"perceptual.lpips-alex.head", "detail.lpips-vgg.head"}


@pytest.mark.slow
def test_the_metric_moves_the_parameters_and_stays_as_it_is(metric):
    model, batch = Fake(PIXEL), make_batch(4, size=40)
    state = init_state(model, make_optimizer(PERCEPTUAL), KEY)
    new, values = make_update(model, PERCEPTUAL)(state, batch, metric)
    assert new.params.keys() == state.params.keys()
    np.testing.assert_allclose(values["loss"], values["error"] + values["perceptual"], rtol=1e-6)

    def gradient(config):
        return jax.jit(jax.grad(lambda p: loss_fn(model, config, p | metric, batch, KEY)[0]))(model.init(KEY))

    with_metric, without = gradient(PERCEPTUAL), gradient(make_config())
    assert all(float(jnp.abs(with_metric[name] - without[name]).max()) > 0 for name in without)


def test_accumulated_terms_are_means(metric):
    config = make_config(batch_size=4, accumulate=2, perceptual="lpips-alex", perceptual_weight=0.5, hr_size=40)
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


def test_the_term_can_fall_with_eta(metric):
    model, batch = Fake(PIXEL), make_batch(1, size=40)
    params, seen = model.init(KEY) | metric, set()
    for key in jax.random.split(KEY, 6):
        eta = PERCEPTUAL.preset.schedule.build().eta
        (_, constant), (_, falling) = (
            loss_fn(model, replace(PERCEPTUAL, perceptual_over_t=over_t), params, batch, key)
            for over_t in ("constant", "eta")
        )
        t = int(model.calls[-1][2][0])
        seen.add(t)
        np.testing.assert_allclose(falling["perceptual"], eta[t] * constant["perceptual"], rtol=1e-5)
        np.testing.assert_allclose(falling["error"], constant["error"], rtol=1e-6)
    assert len(seen) > 1


@pytest.mark.parametrize("share", [1.0, 0.25])
def test_a_share_of_the_examples_is_of_a_chain(share):
    model, batch, schedule = Fake(PIXEL), make_batch(400, size=4), PIXEL.schedule.build()
    params = model.init(KEY)
    loss_fn(model, make_config(), params, batch, KEY)
    loss_fn(model, make_config(chain_share=share), params, batch, KEY)
    (plain, _, t, *_), (x_last, last_scale, last, *_), (x_t, *_) = model.calls
    assert (last == schedule.steps - 1).all()
    own = 0.5 * x_last * last_scale.reshape(-1, 1, 1, 1) + 0.1
    eta = schedule.eta[np.asarray(t)].reshape(-1, 1, 1, 1)
    z_hr = pixel_unshuffle(batch["hr"].astype(jnp.float32) / 127.5 - 1, 2)
    expected = plain + (1 - eta) * (own - z_hr)  # the same noise around the mean of the own prediction
    of_chain = np.abs(x_t - expected).max((1, 2, 3)) < 1e-5
    assert of_chain.mean() == pytest.approx(share, abs=0.08)
    np.testing.assert_allclose(x_t[~of_chain], plain[~of_chain], atol=1e-6)


def test_a_chain_takes_further_steps_for_a_half_of_its_examples():
    model, batch, schedule = Fake(PIXEL), make_batch(400, size=4), PIXEL.schedule.build()
    params = model.init(KEY)
    loss_fn(model, make_config(), params, batch, KEY)
    loss_fn(model, make_config(chain_share=1.0, chain_length=2), params, batch, KEY)
    (plain, _, t, *_), first, second, (x_t, *_) = model.calls
    assert (first[2] == schedule.steps - 1).all()
    assert (second[2] >= t).all()
    assert (np.asarray(second[2])[np.asarray(t) == 0] > 0).mean() == pytest.approx(0.75, abs=0.15)  # of four steps
    eta = schedule.eta[np.asarray(t)].reshape(-1, 1, 1, 1)
    z_hr = pixel_unshuffle(batch["hr"].astype(jnp.float32) / 127.5 - 1, 2)
    ends = [0.5 * x * scale.reshape(-1, 1, 1, 1) + 0.1 for x, scale, *_ in (first, second)]
    of_first, of_second = (np.abs(x_t - plain - (1 - eta) * (own - z_hr)).max((1, 2, 3)) < 1e-5 for own in ends)
    assert of_second.mean() == pytest.approx(0.5, abs=0.08)
    assert (of_first != of_second).all()


def test_no_gradient_flows_through_the_chain():
    model, batch = Fake(PIXEL), make_batch(4)
    params, config = model.init(KEY), make_config(chain_share=1.0)

    def loss(p):
        return loss_fn(model, config, p, batch, KEY)[0]

    gradient = jax.grad(loss)(params)["network.bias"]
    z_hr = pixel_unshuffle(batch["hr"].astype(jnp.float32) / 127.5 - 1, 2)
    loss(params)
    x_t, scale, *_ = model.calls[-1]
    expected = 2 * (0.5 * x_t * scale.reshape(-1, 1, 1, 1) + 0.1 - z_hr).mean()
    np.testing.assert_allclose(gradient.sum(), expected, rtol=1e-4)


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
        ({"chain_share": -0.5}, "chain_share: must be 0 to 1, got -0.5"),
        ({"chain_length": 2}, "chain_length: 2 needs a chain_share above 0; set one"),
        ({"chain_length": 0}, "chain_length: must be at least 1, got 0"),
        ({"perceptual": "lpips-alex", "perceptual_weight": 1.0}, "hr_size: must be at least 38 for lpips-alex, got 16"),
        ({"perceptual": "lpips-vgg", "perceptual_weight": 1.0}, "hr_size: must be at least 23 for lpips-vgg, got 16"),
        ({"detail_size": 32}, "detail_size: 32 needs a detail_weight above 0; set one"),
        ({"detail_weight": -0.1}, "detail_weight: must be 0 or more, got -0.1"),
        ({"detail_weight": 0.1, "detail_size": 15}, "detail_size: must be 16 to hr_size"),
        ({"detail_weight": 0.1, "detail_size": 4000}, "detail_size: must be 16 to hr_size"),
        ({"perceptual_over_t": "eta"}, "perceptual_over_t: 'eta' needs a perceptual metric"),
    ],
)
def test_choices_that_do_not_fit_are_refused(changed, message):
    with pytest.raises(ValueError, match=f"^{message}"):
        make_config(**changed)

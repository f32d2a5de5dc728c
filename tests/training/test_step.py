"""Test the update against NumPy: loss on x_0, times, accumulation, EMA, AdamW, its rate, bfloat16, a frozen codec."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxsr.models.model import DTYPES, Model
from jaxsr.models.pixel_codec import pixel_unshuffle
from jaxsr.runtime import onednn
from jaxsr.training.step import init_state, loss_fn, make_optimizer, make_update
from tests.models.tiny import products_of
from tests.training.tiny_run import PIXEL, Fake, make_config, sine_noise

KEY = jax.random.key(11)
ETA, KAPPA = PIXEL.schedule.build().eta, PIXEL.schedule.kappa


@pytest.fixture
def cheap_noise(monkeypatch):
    """Replace normal noise with `sine_noise`, for tests that do not depend on its distribution."""
    monkeypatch.setattr(jax.random, "normal", sine_noise)


def make_batch(n: int, size: int = 16) -> dict[str, jax.Array]:
    """Return random HR images, and LR images of one grey each, which any enlargement keeps."""
    rng = np.random.default_rng(n)
    hr = rng.integers(0, 256, (n, size, size, 3), dtype=np.uint8)
    lr = np.broadcast_to(rng.integers(0, 256, (n, 1, 1, 1), dtype=np.uint8), (n, size // 2, size // 2, 3))
    return {"hr": jnp.asarray(hr), "lr": jnp.asarray(lr)}


def column(values: np.ndarray) -> np.ndarray:
    return np.asarray(values, np.float64).reshape(-1, 1, 1, 1)


def loss_weights() -> np.ndarray:
    """Return (eta_step / eta)^2 / (2 Sigma), with Sigma = kappa^2 eta_prev / eta eta_step and Sigma_1 = Sigma_2."""
    previous = np.concatenate([[0], ETA[:-1]])
    variance = KAPPA**2 * previous / ETA * (ETA - previous)
    variance[0] = variance[1]
    return ((ETA - previous) / ETA) ** 2 / (2 * variance)


@pytest.mark.parametrize("weighted", [False, True])
def test_loss_is_the_mean_squared_error_of_x0(weighted, monkeypatch):
    model, batch = Fake(PIXEL), make_batch(64)
    noise = np.random.default_rng(1).normal(size=(64, 8, 8, 12)).astype(np.float32)
    monkeypatch.setattr(jax.random, "normal", lambda key, shape: jnp.asarray(noise).reshape(shape))
    params = model.init(KEY)
    loss, terms = loss_fn(model, make_config(loss="weighted" if weighted else "plain"), params, batch, KEY)
    assert terms.keys() == {"error"}
    x_t, scale, t, z_lr, lq = (np.asarray(value) for value in model.calls[0])
    x0 = np.asarray(pixel_unshuffle(batch["hr"].astype(jnp.float32) / 127.5 - 1, 2), np.float64)
    np.testing.assert_allclose(lq, np.asarray(batch["lr"]) / 127.5 - 1, atol=1e-6)
    np.testing.assert_allclose(z_lr, np.broadcast_to(lq[:, :1, :1, :1], z_lr.shape), atol=1e-5)
    np.testing.assert_allclose(scale, 1 / np.sqrt(KAPPA**2 * ETA[t] + 1), rtol=1e-6)
    prediction = 0.5 * x_t * column(scale) + 0.1
    error = np.square(prediction - x0).mean((1, 2, 3))
    expected = np.mean(error * loss_weights()[t] if weighted else error)
    np.testing.assert_allclose(loss, expected, rtol=1e-5)

    eta = column(ETA[t])
    drawn = (x_t - (1 - eta) * x0 - eta * z_lr) / (KAPPA * np.sqrt(eta))
    np.testing.assert_allclose(drawn, noise, atol=1e-4)


def test_times_are_uniform_and_differ_from_key_to_key(cheap_noise):
    model, batch = Fake(PIXEL), make_batch(4000, size=4)
    for key in jax.random.split(KEY):
        loss_fn(model, make_config(), model.init(KEY), batch, key)
    first, second = (np.asarray(call[2]) for call in model.calls)
    counts = np.bincount(first, minlength=4)
    assert len(counts) == 4
    assert (abs(counts - 1000) < 5 * np.sqrt(4000 * 0.25 * 0.75)).all()
    assert (first != second).any()


def test_randomness_is_a_function_of_seed_and_step(cheap_noise):
    losses = []
    for seed in (0, 1):
        config, batch = make_config(seed=seed, learning_rate=0.0), make_batch(4)
        update, state = jax.jit(make_update(Fake(PIXEL), config)), fresh_state(config)
        later, first = update(state, batch)
        assert float(update(state, batch)[1]["loss"]) == float(first["loss"])
        losses += [float(first["loss"]), float(update(later, batch)[1]["loss"])]
    assert len(set(losses)) == 4


def fresh_state(config):
    return init_state(Fake(PIXEL), make_optimizer(config), KEY)


def test_accumulation_is_the_mean_gradient_of_its_parts(cheap_noise):
    config, model, batch = make_config(batch_size=8, accumulate=4, clip_norm=1e9), Fake(PIXEL), make_batch(8)
    state = fresh_state(config)
    keys = jax.random.split(jax.random.fold_in(jax.random.key(config.seed), 0), 4)
    parts = [{name: a[i::4] for name, a in batch.items()} for i in range(4)]
    gradient = jax.jit(jax.value_and_grad(lambda p, part, key: loss_fn(model, config, p, part, key)[0]))
    losses, grads = zip(
        *(gradient(state.params, part, key) for part, key in zip(parts, keys, strict=True)), strict=True
    )
    expected = {name: np.mean([g[name] for g in grads], axis=0) for name in grads[0]}

    new, values = jax.jit(make_update(model, config))(state, batch)
    np.testing.assert_allclose(values["loss"], np.mean(losses), rtol=1e-5)
    np.testing.assert_allclose(values["grad_norm"], np.sqrt(sum((g**2).sum() for g in expected.values())), rtol=1e-5)
    first_moment = optax.tree.get(new.opt_state, "mu")
    for name, mean in expected.items():
        np.testing.assert_allclose(first_moment[name] / 0.1, mean, rtol=1e-4)


def test_ema_follows_its_formula_with_a_short_memory_at_first(cheap_noise):
    config = make_config(ema_decay=0.15, warmup=0)
    update, state = jax.jit(make_update(Fake(PIXEL), config)), fresh_state(config)
    expected = {name: np.asarray(value) for name, value in state.params.items()}
    for k, decay in enumerate([1 / 10, 0.15, 0.15], start=1):
        state, _ = update(state, make_batch(4))
        assert int(state.step) == k
        for name, value in state.params.items():
            expected[name] = decay * expected[name] + (1 - decay) * np.asarray(value)
            np.testing.assert_allclose(state.ema[name], expected[name], rtol=1e-6)


def rate(k: int, peak: float, warmup: int, steps: int) -> float:
    return peak * k / warmup if k < warmup else peak * (1 + np.cos(np.pi * (k - warmup) / (steps - warmup))) / 2


@jax.numpy_dtype_promotion("standard")
def test_optimizer_is_adamw_with_warmup_cosine_clipping_and_decay_of_kernels():
    config = make_config(learning_rate=0.1, warmup=3, steps=10, weight_decay=0.5, clip_norm=1.0)
    optimizer, rng = make_optimizer(config), np.random.default_rng(0)
    params = {name: jnp.asarray(rng.normal(size=4), jnp.float32) for name in ("a.kernel", "a.bias")}
    state, expected = optimizer.init(params), {name: np.asarray(p, np.float64) for name, p in params.items()}
    m = v = dict.fromkeys(params, 0.0)
    for k in range(10):
        grads = {name: rng.normal(size=4) * 10.0 ** rng.uniform(-2, 1) for name in params}
        updates, state = optimizer.update({n: jnp.asarray(g, jnp.float32) for n, g in grads.items()}, state, params)
        params = optax.apply_updates(params, updates)
        norm = np.sqrt(sum((g**2).sum() for g in grads.values()))
        grads = {name: g / max(norm, 1) for name, g in grads.items()}
        m = {name: 0.9 * m[name] + 0.1 * g for name, g in grads.items()}
        v = {name: 0.99 * v[name] + 0.01 * g**2 for name, g in grads.items()}
        for name, p in expected.items():
            step = m[name] / (1 - 0.9 ** (k + 1)) / (np.sqrt(v[name] / (1 - 0.99 ** (k + 1))) + 1e-8)
            decay = 0.5 * p if name == "a.kernel" else 0
            expected[name] = p - rate(k, 0.1, 3, 10) * (step + decay)
            np.testing.assert_allclose(params[name], expected[name], rtol=2e-5, atol=1e-6)
    updates, _ = optimizer.update(params, state, params)  # the rate has reached zero
    assert all((np.asarray(u) == 0).all() for u in updates.values())


@jax.numpy_dtype_promotion("standard")
def test_decay_reaches_the_kernels_of_a_network_alone():
    config = make_config(weight_decay=0.5, warmup=0)
    shapes = Model(PIXEL).shapes()
    params = {name: jnp.ones((1,) * len(shape)) for name, shape in shapes.items()}
    optimizer = make_optimizer(config)
    updates, _ = optimizer.update(jax.tree.map(jnp.zeros_like, params), optimizer.init(params), params)
    decayed = {name for name, u in updates.items() if float(u.sum()) < 0}
    matrices = {name for name, shape in shapes.items() if len(shape) > 1 and "position_bias" not in name}
    assert decayed == matrices


@pytest.mark.parametrize(
    ("precision", "dtypes"),
    [("fp32", {"float32"}), ("bf16", {"bfloat16", "float32"})],  # attention's products are in float32
)
def test_precision_is_that_of_the_network_and_not_of_the_state(monkeypatch, precision, dtypes):
    monkeypatch.setattr(onednn, "active", lambda: False)
    model, config, batch = Model(PIXEL, DTYPES[precision]), make_config(precision=precision), make_batch(4)
    state = jax.eval_shape(lambda: init_state(model, make_optimizer(config), KEY))
    z, t = jnp.zeros((4, 8, 8, 12)), jnp.zeros(4, jnp.int32)
    program = jax.make_jaxpr(lambda p: model.predict(p, z, jnp.ones(1), t, z, jnp.zeros((4, 8, 8, 3))))(state.params)
    assert {str(eqn.outvars[0].aval.dtype) for eqn in products_of(program.jaxpr)} == dtypes
    new, values = jax.eval_shape(make_update(model, config), state, batch)
    assert jax.tree.map(lambda a: a.dtype, new) == jax.tree.map(lambda a: a.dtype, state)
    assert {a.dtype for a in (*new.params.values(), *new.ema.values(), *values.values())} == {jnp.dtype("float32")}


@dataclass(frozen=True)
class FakeLatent(Fake):
    """A fake model whose codec has one parameter."""

    def encode(self, params, image):
        return params["codec.gain"] * super().encode(params, image)


def test_a_codec_shapes_the_loss_and_stays_frozen(cheap_noise):
    model, config, batch = FakeLatent(PIXEL), make_config(warmup=0), make_batch(4)
    state, update = fresh_state(config), make_update(model, config)
    codec = {"codec.gain": jnp.float32(0.7)}
    new, values = update(state, batch, codec)
    assert float(values["loss"]) != float(update(state, batch, {"codec.gain": jnp.float32(0.3)})[1]["loss"])
    assert new.params.keys() == new.ema.keys() == state.params.keys()
    grads = jax.grad(lambda p: loss_fn(model, config, p, batch, KEY)[0])(state.params | codec)
    assert float(grads.pop("codec.gain")) == 0
    assert all(float(jnp.abs(g).sum()) > 0 for g in grads.values())


def test_tiny_gradients_train_as_far_as_large_ones():
    """A mean over millions of pixels has gradients near 1e-8, which is also the epsilon that optax adds by default."""
    optimizer, params = make_optimizer(make_config(warmup=0)), {"a.kernel": jnp.ones(3)}
    updates = []
    for size in (1e-3, 1e-9):
        gradient = {"a.kernel": size * jnp.array([1.0, -0.5, 0.01])}
        with jax.numpy_dtype_promotion("standard"):
            updates.append(optimizer.update(gradient, optimizer.init(params), params)[0]["a.kernel"])
    np.testing.assert_allclose(updates[1], updates[0], rtol=2e-3)

"""One update of ResShift training: random t and noise, prediction of x_0, squared error, AdamW or Muon, EMA.

Perceptual metrics of the decoded prediction can be added to the squared error. With them the prediction is no longer
the posterior mean of x_0: it gets texture instead of blur, so that one or a few steps are enough for a sharp picture.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int, Key, UInt8
from optax.contrib import MuonDimensionNumbers, muon

from jaxsr.diffusion.process import forward_sample
from jaxsr.hub.checkpoint import part
from jaxsr.metrics.lpips import lpips
from jaxsr.models.model import Model
from jaxsr.training.config import SHIFTS, TrainConfig

Batch = dict[str, UInt8[Array, "b size size 3"]]
Weights = dict[str, Array]
Terms = dict[str, Float[Array, ""]]
Pixels = Float[Array, "b h w 3"]
Latent = Float[Array, "b m n c"]
METRIC, DETAIL = "perceptual.", "detail."
"""Prefixes of the parameters of the two perceptual metrics, among those that training does not change."""


class TrainState(NamedTuple):
    """The state that an update changes. It is saved whole, so that a resumed run continues exactly."""

    step: Int[Array, ""]
    params: Weights
    ema: Weights
    opt_state: optax.OptState


def make_optimizer(config: TrainConfig) -> optax.GradientTransformation:
    """Make the optimizer with linear warm-up, a cosine to zero, clipped gradients, and weight decay on kernels alone.

    Muon takes a kernel as a matrix from all its inputs to its outputs, and scales the update to the size that AdamW's
    has (Liu et al., 2025), so that both use the same learning rates. The kernels of the time embedding stay with Adam,
    which has Nesterov's momentum here and no decay.
    """
    rate = optax.warmup_cosine_decay_schedule(0.0, config.learning_rate, config.warmup, config.steps)

    def decayed(params: dict[str, Any]) -> dict[str, bool]:  # Muon's have placeholders for Adam's parameters
        return {name: name.endswith("kernel") for name in params}

    # The gradient of a mean over millions of pixels can be as small as 1e-8, optax's own epsilon.
    if config.optimizer == "adamw":
        optimizer = optax.adamw(rate, b2=0.99, eps=1e-14, weight_decay=config.weight_decay, mask=decayed)
    else:
        matrices: Any = _matrices  # optax's annotation does not allow a function that returns a dict
        orthogonal = muon(
            rate,
            eps=1e-14,
            ns_steps=4,
            preconditioning="aol",  # saves one of five iterations
            consistent_rms=0.2,
            adam_b2=0.99,
            adam_learning_rate=rate,
            weight_decay=config.weight_decay,
            weight_decay_mask=decayed,
            muon_weight_dimension_numbers=matrices,
        )
        # Updates do not depend on the gradient's size, but optax takes sums of squared gradients to be at least 1e-8.
        optimizer = optax.chain(optax.scale(1e6), orthogonal)
    return optax.chain(optax.clip_by_global_norm(config.clip_norm), optimizer)


def _matrices(params: dict[str, Any]) -> dict[str, MuonDimensionNumbers | None]:
    """Say which axes of each parameter Muon takes as inputs and outputs of a matrix; None leaves it to Adam."""

    def axes(name: str, value: Any) -> MuonDimensionNumbers | None:
        if not name.endswith("kernel") or "time_embed" in name:
            return None
        return MuonDimensionNumbers(tuple(range(value.ndim - 1)), (value.ndim - 1,))

    return {name: axes(name, value) for name, value in params.items()}


def init_state(model: Model, optimizer: optax.GradientTransformation, key: Key[Array, ""]) -> TrainState:
    """Make the initial state of the network: step 0, and an EMA equal to the parameters. A codec stays frozen."""
    params = model.init(key)
    return TrainState(jnp.int32(0), params, jax.tree.map(jnp.copy, params), optimizer.init(params))


def to_signed(pixels: UInt8[Array, "*b h w c"]) -> Float[Array, "*b h w c"]:
    """Convert uint8 pixels to float32 in [-1, 1]."""
    return pixels.astype(jnp.float32) / 127.5 - 1


def loss_fn(
    model: Model, config: TrainConfig, params: Weights, batch: Batch, key: Key[Array, ""]
) -> tuple[Float[Array, ""], Terms]:
    """Average w_t ||x_0 - f(x_t, y_0, t)||^2 per element over the batch (ResShift, Eq. 10), and add the metric.

    A share of the examples, `config.start_share`, has t = T; the others have t uniform. For the share
    `config.chain_share`, x_t comes from the model's own predictions instead of x_0. `params` include the parameters of
    the codec, if the model has any, and of the perceptual metric, if the config names one, as `perceptual.NAME`; no
    gradient reaches these. Returns the loss and its terms.
    """
    schedule = model.preset.schedule.build()
    lr = to_signed(batch["lr"])
    latents = model.encode(params, to_signed(batch["hr"])), model.encode_lr(params, lr)
    z_hr, z_lr = jax.lax.stop_gradient(latents)
    key_t, key_eps, key_start, key_shift, key_chain, key_detail = _loss_keys(key)
    t = jax.random.randint(key_t, (len(lr),), 0, schedule.steps)
    if config.start_share:
        t = jnp.where(jax.random.uniform(key_start, t.shape) < config.start_share, schedule.steps - 1, t)
    eps = jax.random.normal(key_eps, z_hr.shape)
    predict = partial(_predict_noised, model, z_lr=z_lr, lr=lr)
    origin = z_hr
    if config.chain_share:
        own = partial(predict, jax.lax.stop_gradient(params))
        origin = _chain_origin(own, z_hr, t, schedule.steps - 1, key_chain, config)
    x0_hat = predict(params, origin, eps, t)
    error = jnp.square(x0_hat - z_hr).mean((1, 2, 3))
    weight = jnp.asarray(schedule.loss_weight, jnp.float32)[t] if config.loss == "weighted" else jnp.ones_like(error)
    terms = {"error": (weight * error).mean()}
    if config.perceptual != "none" or config.detail_weight:
        sr, hr = (model.decode(params, x0_hat) + 1) / 2, batch["hr"].astype(jnp.float32) / 255
        eta = jnp.asarray(schedule.eta, jnp.float32)[t]
        terms |= _perceptual_terms(params, config, sr, hr, eta, key_shift, key_detail)
    return jnp.stack([*terms.values()]).sum(), terms


def _perceptual_terms(
    params: Weights,
    config: TrainConfig,
    sr: Pixels,
    hr: Pixels,
    eta: Float[Array, " b"],
    key_shift: Key[Array, ""],
    key_detail: Key[Array, ""],
) -> Terms:
    """Compute the terms of the perceptual metrics that the config asks for; images are in [0, 1]."""
    terms = {}
    if config.perceptual != "none":
        # The metric's network looks at every fourth pixel. Without a shift of the crop a model learns patterns of that
        # period, which the metric does not see.
        crops = _random_crops(sr, hr, sr.shape[1] - SHIFTS + 1, key_shift)
        distance = lpips(*crops, part(params, METRIC), net=config.perceptual.removeprefix("lpips-"))
        if config.perceptual_over_t == "eta":
            distance *= eta
        terms["perceptual"] = config.perceptual_weight * distance.mean()
    if config.detail_weight:
        crops = _random_crops(sr, hr, config.detail_size, key_detail)
        terms["detail"] = config.detail_weight * lpips(*crops, part(params, DETAIL), net="vgg").mean()
    return terms


def _loss_keys(key: Key[Array, ""]) -> tuple[Key[Array, ""], ...]:
    """Derive the keys of t and noise, as in runs of the first version, and those of the newer random choices."""
    return *jax.random.split(key), *(jax.random.fold_in(key, i) for i in (1, 2, 3, 4))


def _predict_noised(
    model: Model, params: Weights, origin: Latent, eps: Latent, t: Int[Array, " b"], *, z_lr: Latent, lr: Pixels
) -> Latent:
    """Noise `origin` to x_t by equation (F), and predict x_0 from it."""
    schedule = model.preset.schedule.build()
    eta, scale = (jnp.asarray(values, jnp.float32)[t] for values in (schedule.eta, schedule.input_scale))
    x_t = forward_sample(origin, z_lr, eps, eta[:, None, None, None], schedule.kappa)
    return model.predict(params, x_t, scale, t, z_lr, lr)


def _chain_origin(
    predict: Callable[..., Latent],
    z_hr: Latent,
    t: Int[Array, " b"],
    last: int,
    key: Key[Array, ""],
    config: TrainConfig,
) -> Latent:
    """Replace x_0 of a random share of the examples by a prediction at the end of a short chain above t.

    The chain begins at t = T, the step `last`. Each further step, at a random time between t and the one before, is
    taken with a probability of 1/2. In a chain, x_t holds the model's own details instead of the true ones. A model
    that has seen true ones alone takes its own for evidence and adds to them in every step.
    """
    key_eps, key_share = jax.random.split(key)
    own = predict(z_hr, jax.random.normal(key_eps, z_hr.shape), jnp.full(len(z_hr), last))
    above = jnp.full_like(t, last)
    for i in range(1, config.chain_length):
        key_t, key_eps, key_taken = jax.random.split(jax.random.fold_in(key, i), 3)
        above = jax.random.randint(key_t, t.shape, t, above + 1)
        further = predict(own, jax.random.normal(key_eps, z_hr.shape), above)
        own = _choose(key_taken, 0.5, further, own)
    return _choose(key_share, config.chain_share, own, z_hr)


def _choose(key: Key[Array, ""], share: float, first: Latent, second: Latent) -> Latent:
    """Take a random share of the examples from `first` and the others from `second`."""
    return jnp.where(jax.random.uniform(key, (len(first), 1, 1, 1)) < share, first, second)


def _random_crops(sr: Pixels, hr: Pixels, size: int, key: Key[Array, ""]) -> tuple[Array, Array]:
    """Cut the same random square, `size` pixels a side, out of both batches."""
    b, h, w, c = sr.shape
    y, x = jax.random.randint(key, (2,), 0, jnp.asarray([h, w]) - size + 1)
    first, second = (jax.lax.dynamic_slice(image, (0, y, x, 0), (b, size, size, c)) for image in (sr, hr))
    return first, second


def make_update(model: Model, config: TrainConfig) -> Callable[..., tuple[TrainState, dict[str, Array]]]:
    """Make the jittable update (state, batch, frozen) -> (state, {loss, its terms, grad_norm}).

    Its randomness is a function of (seed, step). `frozen` holds the parameters of a VQ codec and of the perceptual
    metrics; runs without these leave it out.
    """
    optimizer = make_optimizer(config)

    def gradient(params: Weights, frozen: Weights, batch: Batch, key: Key[Array, ""]):
        loss = partial(loss_fn, model, config)
        (_, terms), grads = jax.value_and_grad(lambda p: loss(p | frozen, batch, key), has_aux=True)(params)
        return terms, grads

    def accumulated(params: Weights, frozen: Weights, batch: Batch, key: Key[Array, ""]):
        n = config.accumulate
        # Strided parts split each device's share of the batch, so that nothing moves between devices.
        parts = jax.tree.map(lambda a: a.reshape(-1, n, *a.shape[1:]).swapaxes(0, 1), batch)
        zero = jax.tree.map(jnp.zeros_like, params)

        def body(total, part):
            terms, grads = gradient(params, frozen, *part)
            return jax.tree.map(jnp.add, total, grads), terms

        total, terms = jax.lax.scan(body, zero, (parts, jax.random.split(key, n)))
        return jax.tree.map(jnp.mean, terms), jax.tree.map(lambda a: a / n, total)

    def update(state: TrainState, batch: Batch, frozen: Weights | None = None) -> tuple[TrainState, dict[str, Array]]:
        key = jax.random.fold_in(jax.random.key(config.seed), state.step)
        terms, grads = (accumulated if config.accumulate > 1 else gradient)(state.params, frozen or {}, batch, key)
        with jax.numpy_dtype_promotion("standard"):  # optax mixes integer counts with floats
            updates, opt_state = optimizer.update(grads, state.opt_state, state.params)
        params: Weights = optax.apply_updates(state.params, updates)  # pyright: ignore[reportAssignmentType]
        step = state.step + 1
        # A short memory at first, so that the average does not carry the initial weights.
        decay = jnp.minimum(config.ema_decay, step.astype(jnp.float32) / (step.astype(jnp.float32) + 9))
        ema = jax.tree.map(lambda e, p: e + (1 - decay) * (p - e), state.ema, params)
        values = {"loss": jnp.stack([*terms.values()]).sum(), "grad_norm": optax.tree.norm(grads)} | terms
        return TrainState(step, params, ema, opt_state), values

    return update

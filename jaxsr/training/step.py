"""One update of ResShift training: random t and noise, prediction of x_0, squared error, AdamW, EMA."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int, Key, UInt8

from jaxsr.diffusion.process import forward_sample
from jaxsr.models.model import Model
from jaxsr.training.config import TrainConfig

Batch = dict[str, UInt8[Array, "b size size 3"]]
Weights = dict[str, Array]


class TrainState(NamedTuple):
    """The state that an update changes. It is saved whole, so that a resumed run continues exactly."""

    step: Int[Array, ""]
    params: Weights
    ema: Weights
    opt_state: optax.OptState


def make_optimizer(config: TrainConfig) -> optax.GradientTransformation:
    """Make AdamW with linear warm-up, a cosine to zero, clipped gradients, and weight decay on kernels alone."""
    rate = optax.warmup_cosine_decay_schedule(0.0, config.learning_rate, config.warmup, config.steps)

    def decayed(params: Weights) -> dict[str, bool]:
        return {name: name.endswith("kernel") for name in params}

    adamw = optax.adamw(rate, b2=0.99, weight_decay=config.weight_decay, mask=decayed)
    return optax.chain(optax.clip_by_global_norm(config.clip_norm), adamw)


def init_state(model: Model, optimizer: optax.GradientTransformation, key: Key[Array, ""]) -> TrainState:
    """Make the initial state of the network: step 0, and an EMA equal to the parameters. A codec stays frozen."""
    params = model.init(key)
    return TrainState(jnp.int32(0), params, jax.tree.map(jnp.copy, params), optimizer.init(params))


def to_signed(pixels: UInt8[Array, "*b h w c"]) -> Float[Array, "*b h w c"]:
    """Convert uint8 pixels to float32 in [-1, 1]."""
    return pixels.astype(jnp.float32) / 127.5 - 1


def loss_fn(model: Model, weighted: bool, params: Weights, batch: Batch, key: Key[Array, ""]) -> Float[Array, ""]:
    """Average w_t ||x_0 - f(x_t, y_0, t)||^2 per element over the batch, with t uniform (ResShift, Eq. 10).

    `params` include the parameters of the codec, if it has any; no gradient reaches these.
    """
    schedule = model.preset.schedule.build()
    lr = to_signed(batch["lr"])
    latents = model.encode(params, to_signed(batch["hr"])), model.encode_lr(params, lr)
    z_hr, z_lr = jax.lax.stop_gradient(latents)
    key_t, key_eps = jax.random.split(key)
    t = jax.random.randint(key_t, (len(lr),), 0, schedule.steps)
    eps = jax.random.normal(key_eps, z_hr.shape)
    eta = jnp.asarray(schedule.eta, jnp.float32)[t]
    x_t = forward_sample(z_hr, z_lr, eps, eta[:, None, None, None], schedule.kappa)
    scale = jnp.asarray(schedule.input_scale, jnp.float32)[t]
    error = jnp.square(model.predict(params, x_t, scale, t, z_lr, lr) - z_hr).mean((1, 2, 3))
    weight = jnp.asarray(schedule.loss_weight, jnp.float32)[t] if weighted else jnp.ones_like(error)
    return (weight * error).mean()


def make_update(model: Model, config: TrainConfig) -> Callable[..., tuple[TrainState, dict[str, Array]]]:
    """Make the jittable update (state, batch, codec) -> (state, {loss, grad_norm}).

    Its randomness is a function of (seed, step). `codec` holds the frozen parameters of a VQ codec; presets without a
    VQ codec leave it out.
    """
    optimizer = make_optimizer(config)

    def gradient(params: Weights, codec: Weights, batch: Batch, key: Key[Array, ""]):
        return jax.value_and_grad(lambda p: loss_fn(model, config.loss == "weighted", p | codec, batch, key))(params)

    def accumulated(params: Weights, codec: Weights, batch: Batch, key: Key[Array, ""]):
        n = config.accumulate
        # Strided parts split each device's share of the batch, so that nothing moves between devices.
        parts = jax.tree.map(lambda a: a.reshape(-1, n, *a.shape[1:]).swapaxes(0, 1), batch)
        zero = jax.tree.map(jnp.zeros_like, (jnp.float32(0), params))

        def body(total, part):
            return jax.tree.map(jnp.add, total, gradient(params, codec, *part)), None

        total, _ = jax.lax.scan(body, zero, (parts, jax.random.split(key, n)))
        return jax.tree.map(lambda a: a / n, total)

    def update(state: TrainState, batch: Batch, codec: Weights | None = None) -> tuple[TrainState, dict[str, Array]]:
        key = jax.random.fold_in(jax.random.key(config.seed), state.step)
        loss, grads = (accumulated if config.accumulate > 1 else gradient)(state.params, codec or {}, batch, key)
        with jax.numpy_dtype_promotion("standard"):  # optax mixes integer counts with floats
            updates, opt_state = optimizer.update(grads, state.opt_state, state.params)
        params: Weights = optax.apply_updates(state.params, updates)  # pyright: ignore[reportAssignmentType]
        step = state.step + 1
        # A short memory at first, so that the average does not carry the initial weights.
        decay = jnp.minimum(config.ema_decay, step.astype(jnp.float32) / (step.astype(jnp.float32) + 9))
        ema = jax.tree.map(lambda e, p: e + (1 - decay) * (p - e), state.ema, params)
        return TrainState(step, params, ema, opt_state), {"loss": loss, "grad_norm": optax.tree.norm(grads)}

    return update

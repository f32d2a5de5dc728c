"""The samplers: each is one pure `lax.scan` over precomputed rows, from t = T down to t = 1.

A `Denoiser` is any callable (x_t, step) -> x0_hat that closes over the LR image and the parameters. A `Noise` is any
callable k -> eps: k = 0 starts the chain, and k = 1..T belongs to the k-th step taken. Keys are split before the scan.
A lambda can therefore replace the network when a sampler is tested.

Write s = sqrt(eta) and x_t = (1 - eta) f + eta y + s w. In the variables v = x/s - s y and lam = 1/s - s, the flow that
shares the marginals of (F) is dv/dlam = f(x, s). Euler's rule in these variables gives `deterministic` (SinSR's
noise-free step), and Heun's rule gives `heun`.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Int, Key

from jaxsr.diffusion.guidance import Guidance, check_steps, correction
from jaxsr.diffusion.process import Latent, reverse_mean
from jaxsr.diffusion.schedule import Schedule, StepTables

Denoiser = Callable[[Latent, Int[Array, ""]], Latent]
Noise = Callable[[Int[Array, ""]], Latent]


class Step(NamedTuple):
    """One step of a trajectory.

    Attributes:
        x_t: state before the step.
        x0_hat: prediction of x_0.
        mean: mean of the step, guided.
        sample: state after the step, x_{t-1}.
    """

    x_t: Latent
    x0_hat: Latent
    mean: Latent
    sample: Latent


Stepper = Callable[[Denoiser, Latent, Latent, StepTables], tuple[Latent, Latent]]
"""Computes one step without noise: (denoise, x_t, z_lr, row) -> (x0_hat, mean of x_{t-1})."""


class Sampler(NamedTuple):
    """A rule for the step from t to t-1.

    Attributes:
        step: computes the prediction and the mean of the step, see `Stepper`.
        draws_noise: whether the sampler adds fresh noise of standard deviation `row.std` to the mean of every step.
    """

    step: Stepper
    draws_noise: bool


def normal_noise(key: Key[Array, ""], steps: int, shape: tuple[int, ...]) -> Noise:
    """Make standard normal noise for a chain of `steps` steps. This call splits the keys, before the scan."""
    keys = jax.random.split(key, steps + 1)
    return lambda k: jax.random.normal(keys[k], shape)


def start(schedule: Schedule, z_lr: Latent, eps: Latent) -> Latent:
    """Compute the start x_T ~ N(y_0, kappa^2 eta_T I) of a chain from standard normal `eps`."""
    return z_lr + (schedule.kappa * schedule.eta[-1] ** 0.5) * eps


def ancestral_step(denoise: Denoiser, x_t: Latent, z_lr: Latent, row: StepTables) -> tuple[Latent, Latent]:
    """Compute the prediction of x_0, and the mean of (R) with the prediction for x_0: the ResShift sampler."""
    del z_lr
    x0_hat = denoise(x_t, row.step)
    return x0_hat, reverse_mean(x_t, x0_hat, row)


def flow_step(x_t: Latent, f: Latent, z_lr: Latent, eta: Array, eta_to: Array) -> Latent:
    """Follow the flow to eta' for a constant prediction f: f + eta'(y - f) + sqrt(eta'/eta)(x - f - eta (y - f))."""
    return f + eta_to * (z_lr - f) + jnp.sqrt(eta_to / eta) * (x_t - f - eta * (z_lr - f))


def deterministic_step(denoise: Denoiser, x_t: Latent, z_lr: Latent, row: StepTables) -> tuple[Latent, Latent]:
    """Take the noise-free step of SinSR (CVPR 2024), of first order."""
    x0_hat = denoise(x_t, row.step)
    return x0_hat, flow_step(x_t, x0_hat, z_lr, row.eta, row.eta_prev)


def heun_step(denoise: Denoiser, x_t: Latent, z_lr: Latent, row: StepTables) -> tuple[Latent, Latent]:
    """Take a step of Heun's rule in the variables of the flow, of second order.

    It calls the network twice, or once in the last step (to eta = 0).
    """
    x0_hat = denoise(x_t, row.step)
    euler = flow_step(x_t, x0_hat, z_lr, row.eta, row.eta_prev)

    def correct() -> Latent:
        average = (x0_hat + denoise(euler, row.step - 1)) / 2
        return flow_step(x_t, average, z_lr, row.eta, row.eta_prev)

    return x0_hat, jax.lax.cond(row.step > 0, correct, lambda: euler)


SAMPLERS: dict[str, Sampler] = {
    "ancestral": Sampler(ancestral_step, draws_noise=True),
    "deterministic": Sampler(deterministic_step, draws_noise=False),
    "heun": Sampler(heun_step, draws_noise=False),
}
"""The samplers by name. Every function and command that takes a sampler's name accepts an entry added here.

`jaxsr.choices.SAMPLERS` repeats the built-in names for help texts, which must not import JAX; a test compares the two.
"""


def find_sampler(name: str) -> Sampler:
    """Return the sampler called `name`. Raises ValueError, which lists the known names, for an unknown one."""
    if name not in SAMPLERS:
        raise ValueError(f"sampler: no {name!r}; choose one of {', '.join(SAMPLERS)}.")
    return SAMPLERS[name]


def sample(
    denoise: Denoiser,
    schedule: Schedule,
    z_lr: Latent,
    noise: Noise,
    *,
    sampler: str = "ancestral",
    guidance: Sequence[Guidance] = (),
    temperature: ArrayLike = 1.0,
    unroll_first: bool = False,
) -> Latent:
    """Draw a sample x_0 of the posterior p(x_0 | y_0) with all steps of `schedule`.

    Args:
        denoise: (x_t, step) -> x0_hat, where step is the row of `schedule` (0-based), a traced int32 scalar.
        schedule: the steps; the scan runs from the last row to the first.
        z_lr: latent of the LR image, shape (b, h, w, c).
        noise: k -> standard normal array of z_lr's shape; k = 0 starts the chain. `deterministic` and `heun` call it
            with k = 0 only.
        sampler: name of the sampler: `ancestral`, `deterministic` or `heun`.
        guidance: corrections of the mean of every step, any number at once. An empty sequence costs nothing.
        temperature: factor of the noise of every step: a scalar, or one number per step, shape (T,), t = 1 first. The
            start and the last step (whose noise is 0) do not change, nor does a sampler without noise.
        unroll_first: take the first step outside of the scan. The first network call does not depend on the guidance,
            so that a `vmap` over guidance then makes this call once for all. The network is compiled twice.
    Raises:
        ValueError: for an unknown sampler, or scales or temperatures whose length does not match the schedule.
    """
    settings = (sampler, guidance, temperature, unroll_first)
    return _scan(denoise, schedule, z_lr, noise, *settings, keep=lambda step: None)[0]


def trajectory(
    denoise: Denoiser,
    schedule: Schedule,
    z_lr: Latent,
    noise: Noise,
    *,
    sampler: str = "ancestral",
    guidance: Sequence[Guidance] = (),
    temperature: ArrayLike = 1.0,
    unroll_first: bool = False,
) -> Step:
    """Sample as `sample` does, and return every step.

    Each field of the result has a leading axis of T, in the order of the steps taken (t = T first).
    """
    settings = (sampler, guidance, temperature, unroll_first)
    return _scan(denoise, schedule, z_lr, noise, *settings, keep=lambda step: step)[1]


def _scan(
    denoise: Denoiser,
    schedule: Schedule,
    z_lr: Latent,
    noise: Noise,
    sampler: str,
    guidance: Sequence[Guidance],
    temperature: ArrayLike,
    unroll_first: bool,
    keep: Callable[[Step], Any],
):
    stepper, draws_noise = find_sampler(sampler)
    check_steps(guidance, schedule.steps)
    factors = jnp.asarray(temperature, jnp.float32)
    if factors.shape not in ((), (schedule.steps,)):
        raise ValueError(
            f"temperature: must be one number or {schedule.steps}, one per step, got shape {factors.shape}."
        )

    def body(x_t: Latent, scanned: tuple[StepTables, Array]):
        row, k = scanned
        x0_hat, mean = _guided_step(stepper, denoise, x_t, z_lr, row, guidance)
        std = row.std * (factors[row.step] if factors.ndim else factors)
        x_next = _add_noise(mean, std, noise, k) if draws_noise else mean
        return x_next, keep(Step(x_t, x0_hat, mean, x_next))

    rows = jax.tree.map(lambda column: column[::-1], schedule.tables())
    scanned = (rows, jnp.arange(1, schedule.steps + 1, dtype=jnp.int32))
    x_t = start(schedule, z_lr, noise(jnp.int32(0)))
    if not unroll_first:
        return jax.lax.scan(body, x_t, scanned)
    x_t, first = body(x_t, jax.tree.map(lambda column: column[0], scanned))
    x_0, rest = jax.lax.scan(body, x_t, jax.tree.map(lambda column: column[1:], scanned))
    return x_0, jax.tree.map(lambda head, tail: jnp.concatenate([head[None], tail]), first, rest)


def _add_noise(mean: Latent, std: Float[Array, ""], noise: Noise, k: Int[Array, ""]) -> Latent:
    """Add the noise of the k-th step. It is not drawn where it has no weight: the last step has a variance of 0."""
    return jax.lax.cond(std > 0, lambda: mean + std * noise(k), lambda: mean)


def _guided_step(
    stepper: Stepper, denoise: Denoiser, x_t: Latent, z_lr: Latent, row: StepTables, guidance: Sequence[Guidance]
) -> tuple[Latent, Latent]:
    """Compute the prediction and the corrected mean of one step: Algorithm 2."""

    def step(x: Latent) -> tuple[Latent, Latent]:
        x0_hat, mean = stepper(denoise, x, z_lr, row)
        return mean, x0_hat

    pull_back = None
    if any(item.form.through == "state" for item in guidance):
        mean, vjp, x0_hat = jax.vjp(step, x_t, has_aux=True)
        pull_back = lambda gradient: vjp(gradient)[0]  # noqa: E731  # a def would shadow the None above
    else:
        mean, x0_hat = step(x_t)
    return x0_hat, (mean + correction(guidance, mean, pull_back, z_lr, row) if guidance else mean)


def invert(denoise: Denoiser, schedule: Schedule, x0: Latent, z_lr: Latent) -> Float[Array, "t *b h w c"]:
    """Invert `deterministic`: compute the states x_1..x_T, on a leading axis T, from which it leads back to `x0`.

    The way back reaches `x0` only in the limit of fine steps, because each step t-1 -> t uses the prediction at x_{t-1}
    (explicit Euler against the flow). At t = 0 the prediction is x_0 itself, so that x_1 is the mean of (F).
    """

    def body(x_prev: Latent, row: StepTables) -> tuple[Latent, Latent]:
        f = denoise(x_prev, row.step - 1)
        x_t = flow_step(x_prev, f, z_lr, row.eta_prev, row.eta)
        return x_t, x_t

    rows = schedule.tables()
    first = x0 + rows.eta[0] * (z_lr - x0)
    _, rest = jax.lax.scan(body, first, jax.tree.map(lambda column: column[1:], rows))
    return jnp.concatenate([first[None], rest])

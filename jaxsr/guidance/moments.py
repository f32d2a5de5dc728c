"""The measurements of Algorithm 1: the distance from the SR trajectory to the HR image's path, and the correction.

For one pair and every step t, the SR trajectory x_t and the reference path Z_t share their noise:

    Delta_t = mu_theta(Z_t) - mu_theta(x_t)                                     (Eq. 9)
    S_t     = Sigma_t G_t, the step that guidance of scale 1 adds at x_t        (Eq. 11)

The objectives need only the moments of the elements of Delta_t and S_t: a few numbers per step and image. Thousands of
pairs are therefore calibrated in the memory of one batch.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxsr.choices import DEFAULT_FORM, FORWARD_ODES, REFERENCES, ForwardODE, GradientForm, Reference, check_word
from jaxsr.diffusion import (
    Denoiser,
    Guidance,
    Noise,
    Schedule,
    Step,
    StepTables,
    find_sampler,
    invert,
    trajectory,
)
from jaxsr.diffusion.guidance import kl_gradient
from jaxsr.diffusion.process import Latent, forward_sample

Values = Any  # on the device Float[Array, "t b"]; on the host, for many batches, Float[np.ndarray, "t n"] in float64


class Moments(NamedTuple):
    """Moments of (Delta_t, S_t) over the elements of a latent. Each field has shape (T, b); index 0 is t = 1.

    Second moments are taken about the means, so that float32 loses no precision where the mean of an image is large.
    With a mask, every element counts with its weight.

    Attributes:
        n: number of elements, or with a mask the sum of the weights.
        mean_delta, mean_s: means of Delta and of S.
        square_delta, square_s: sums of (Delta - mean)^2 and of (S - mean)^2.
        product: sum of (Delta - mean) (S - mean).
    """

    n: Values
    mean_delta: Values
    mean_s: Values
    square_delta: Values
    square_s: Values
    product: Values


def measure(
    denoise: Denoiser,
    schedule: Schedule,
    z_lr: Float[Array, "b h w c"],
    z_hr: Float[Array, "b h w c"],
    noise: Noise,
    *,
    reference: Reference = "lr",
    forward_ode: ForwardODE = "diffusion",
    form: GradientForm = DEFAULT_FORM,
    mask: Float[Array, "*#b h w 1"] | None = None,
    sampler: str = "ancestral",
    temperature: float | tuple[float, ...] = 1.0,
) -> Moments:
    """Measure the moments of Delta_t and S_t at every step of the plain sampler, for a batch of pairs.

    The function is pure and may be jitted.

    Args:
        denoise: (x_t, step) -> x0_hat for this batch, with z_lr and the parameters closed over.
        schedule: the schedule of the sampler; index 0 of the result belongs to its first row, t = 1.
        z_lr, z_hr: latents of the LR and HR images.
        noise: k -> standard normal array of z_lr's shape. k = 0 starts the chain, and is also the eps of `diffusion`.
        reference: the image that the correction refers to: `lr`, or `hr` for a region where the HR image is known.
        forward_ode: the reference path, see `reference_path`.
        form: the form of the gradient G_t. For the LR image the reference means `clean` and `shifted` are the same.
        mask: weights of the positions, 0 or more, at latent resolution; None weights all equally.
        sampler: `ancestral`, `deterministic` or `heun`.
        temperature: factor of the noise of the steps, see `jaxsr.diffusion.sample`.
    Raises:
        ValueError: for an unknown value of an option.
    """
    check_word("reference", reference, REFERENCES)
    stepper = find_sampler(sampler).step
    guidance = Guidance(reference=z_lr if reference == "lr" else z_hr, scale=1.0, form=form)
    path = reference_path(denoise, schedule, z_hr, z_lr, noise(jnp.int32(0)), forward_ode)
    steps = trajectory(denoise, schedule, z_lr, noise, sampler=sampler, temperature=jnp.asarray(temperature))
    steps = jax.tree.map(lambda values: values[::-1], steps)  # t = 1 first, as in the schedule
    weights = jnp.broadcast_to(jnp.ones(()) if mask is None else mask, z_lr.shape)

    def at_step(scanned: tuple[StepTables, Latent, Step]) -> Moments:
        row, z_t, step = scanned

        def mean(x: Latent) -> Latent:
            return stepper(denoise, x, z_lr, row)[1]

        pull_back = None
        if form.through == "state":
            pull_back = lambda gradient: jax.vjp(mean, step.x_t)[1](gradient)[0]  # noqa: E731
        correction = row.variance_clipped * kl_gradient(guidance, step.mean, pull_back, z_lr, row)
        return moments(mean(z_t) - step.mean, correction, weights)

    return jax.lax.map(at_step, (schedule.tables(), path, steps))


def reference_path(
    denoise: Denoiser, schedule: Schedule, z_hr: Latent, z_lr: Latent, eps: Latent, forward_ode: ForwardODE
) -> Float[Array, "t *b h w c"]:
    """Compute Z_t, t = 1..T, the path from the HR image (ForwardODE of Algorithm 1). The first axis is T.

    `diffusion`: Z_t = z_hr + eta_t (z_lr - z_hr) + kappa sqrt(eta_t) eps with one eps for all t. For that eps this is
    the exact path of the forward process (F). `inversion`: the inverse of the deterministic sampler, started at z_hr;
    it ignores eps. Raises ValueError for any other value.
    """
    check_word("forward_ode", forward_ode, FORWARD_ODES)
    if forward_ode == "inversion":
        return invert(denoise, schedule, z_hr, z_lr)
    return jax.vmap(lambda eta: forward_sample(z_hr, z_lr, eps, eta, schedule.kappa))(schedule.tables().eta)


def moments(delta: Float[Array, "b h w c"], s: Float[Array, "b h w c"], weights: Float[Array, "b h w c"]) -> Moments:
    """Compute the moments of one step, fields of shape (b,). An image whose weights are all 0 gets zeros."""

    def total(values: Latent) -> Float[Array, " b"]:
        return values.sum(axis=(1, 2, 3))

    count = total(weights)
    divisor = jnp.where(count > 0, count, 1)
    mean_delta, mean_s = total(weights * delta) / divisor, total(weights * s) / divisor
    delta, s = delta - mean_delta[:, None, None, None], s - mean_s[:, None, None, None]
    seconds = (total(weights * a * b) for a, b in ((delta, delta), (s, s), (delta, s)))
    return Moments(count, mean_delta, mean_s, *seconds)

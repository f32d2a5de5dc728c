"""Algorithm 1, what is measured: how far the path of the SR image is from that of the HR image, and the correction.

For one pair and every step t, with the SR trajectory x_t and the reference path Z_t sharing their noise:

    Delta_t = mu_theta(Z_t) - mu_theta(x_t)                                     (Eq. 9)
    S_t     = Sigma_t G_t, what a guidance of scale 1 adds at x_t               (Eq. 11)

All that the objectives ask of them are the moments of their elements, a few numbers per step and image, so that
thousands of pairs are calibrated in the memory of one batch.
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

Values = Any  # Float[Array, "t b"] on the device; on the host, of many batches, Float[np.ndarray, "t n"] in float64


class Moments(NamedTuple):
    """Moments of (Delta_t, S_t) over the elements of a latent; each field of shape (T, b), index 0 being t = 1.

    Second moments are about the means, so that float32 loses nothing where an image's mean is large; with a mask,
    every element counts by its weight.

    Attributes:
        n: number of elements, sum of the weights.
        mean_delta, mean_s: means of Delta and of S.
        square_delta, square_s: sum of (Delta - mean)^2 and of (S - mean)^2.
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
) -> Moments:
    """The moments of Delta_t and S_t at every step of the plain sampler, for a batch of pairs. Pure; jit it.

    Args:
        denoise: (x_t, step) -> x0_hat for this batch, with z_lr and the parameters closed over.
        schedule: as the sampler takes it; index 0 of the result is its first row, t = 1.
        z_lr, z_hr: latents of the LR and HR images.
        noise: k -> standard normal array of z_lr's shape; k = 0 starts the chain and is the eps of `diffusion` too.
        reference: the image that the correction refers to: `lr`, or `hr` for a region where it is known.
        forward_ode: the reference path, see `reference_path`.
        form: which gradient G_t is. For the LR image the reference means `clean` and `shifted` are the same.
        mask: weights of the places, 0 or more, at latent resolution; None counts all.
        sampler: `ancestral`, `deterministic` or `heun`.
    Raises:
        ValueError: for a word that an option does not know.
    """
    check_word("reference", reference, REFERENCES)
    stepper = find_sampler(sampler).step
    guidance = Guidance(reference=z_lr if reference == "lr" else z_hr, scale=1.0, form=form)
    path = reference_path(denoise, schedule, z_hr, z_lr, noise(jnp.int32(0)), forward_ode)
    steps = trajectory(denoise, schedule, z_lr, noise, sampler=sampler)
    steps = jax.tree.map(lambda values: values[::-1], steps)  # t = 1 first, as the schedule
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
    """Z_t, t = 1..T, the path from the HR image: ForwardODE of Algorithm 1; leading axis T.

    `diffusion`: Z_t = z_hr + eta_t (z_lr - z_hr) + kappa sqrt(eta_t) eps with one eps for all t, the exact path of
    (F) for that eps. `inversion`: the inverse of the deterministic sampler from z_hr, which needs no eps.
    Raises ValueError for another word.
    """
    check_word("forward_ode", forward_ode, FORWARD_ODES)
    if forward_ode == "inversion":
        return invert(denoise, schedule, z_hr, z_lr)
    return jax.vmap(lambda eta: forward_sample(z_hr, z_lr, eps, eta, schedule.kappa))(schedule.tables().eta)


def moments(delta: Float[Array, "b h w c"], s: Float[Array, "b h w c"], weights: Float[Array, "b h w c"]) -> Moments:
    """The moments of one step, fields of shape (b,); an image whose weights are all 0 has zeros."""

    def total(values: Latent) -> Float[Array, " b"]:
        return values.sum(axis=(1, 2, 3))

    count = total(weights)
    divisor = jnp.where(count > 0, count, 1)
    mean_delta, mean_s = total(weights * delta) / divisor, total(weights * s) / divisor
    delta, s = delta - mean_delta[:, None, None, None], s - mean_s[:, None, None, None]
    seconds = (total(weights * a * b) for a, b in ((delta, delta), (s, s), (delta, s)))
    return Moments(count, mean_delta, mean_s, *seconds)

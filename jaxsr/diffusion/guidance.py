"""The guidance: the gradient of a Gaussian KL divergence to a reference, added to the mean of every step.

It implements Algorithm 2 and Eq. 11 of the paper, with
G_t = grad D_KL( N(mu_theta(x_t), Sigma_t) || N(c_t, Sigma_ref) ):

    mu_new = mu + m * ( scale_t * Sigma_t * G_t + offset_t )

With `reference_variance="posterior"`, Sigma_t * G_t = mu - c_t (Lemma 3.2.1), so scale has no unit. Scale 0 is the
plain sampler. Scale > 0 leads away from the reference (perception, with the LR image). Scale < 0 leads toward it
(fidelity, with an HR image). At t = 1, where Sigma_1 = 0, Sigma_2 replaces it, so that the last step is guided too.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from jaxsr.choices import DEFAULT_FORM, GradientForm
from jaxsr.diffusion.gaussian import gaussian_kl
from jaxsr.diffusion.process import Latent, forward_mean
from jaxsr.diffusion.schedule import StepTables

PullBack = Callable[[Latent], Latent]
"""Turns a gradient with respect to the mean of a step into the gradient with respect to x_t, through the network."""


@jax.tree_util.register_dataclass
@dataclass(frozen=True, eq=False, kw_only=True)
class Guidance:
    """One correction of the sampler. It is a pytree, so that `vmap` over scales, masks or references takes one line.

    Attributes:
        reference: latent c of the reference image, of shape (b, h, w, c) or a shape that broadcasts to it.
        scale: guidance scale: a scalar, or one number per step, shape (T,), in the schedule's order (t = 1 first).
        offset: second constant of Eq. 11, in the unit of the latent; same shapes as `scale`.
        mask: m, a scalar or an image at latent resolution, shape (b, h, w, 1). Where it is 0, nothing changes. Numbers
            outside of 0..1 make it a map of strengths.
        form: form of the gradient G_t, see `GradientForm`.
    """

    reference: ArrayLike
    scale: ArrayLike
    offset: ArrayLike = 0.0
    mask: ArrayLike = 1.0
    form: GradientForm = field(default=DEFAULT_FORM, metadata={"static": True})


def check_steps(guidance: Sequence[Guidance], steps: int) -> None:
    """Raise ValueError unless every scale and offset is a scalar or has one number for each of `steps` steps."""
    for item in guidance:
        for name in ("scale", "offset"):
            if (shape := jnp.shape(getattr(item, name))) not in ((), (steps,)):
                raise ValueError(f"guidance: {name} must be one number or {steps}, one per step, got shape {shape}.")


def correction(
    guidance: Sequence[Guidance], mean: Latent, pull_back: PullBack | None, z_lr: Latent, row: StepTables
) -> Latent:
    """Compute the correction of the mean of one step: the sum of m (scale_t Sigma_t G_t + offset_t), Eq. 11.

    The sum runs over all `guidance`. `pull_back` is required if any item has the form `through="state"`.
    """
    total = jnp.zeros_like(mean)
    for item in guidance:
        gradient = kl_gradient(item, mean, pull_back, z_lr, row)
        total += item.mask * (_at(item.scale, row) * row.variance_clipped * gradient + _at(item.offset, row))
    return total


def kl_gradient(guidance: Guidance, mean: Latent, pull_back: PullBack | None, z_lr: Latent, row: StepTables) -> Latent:
    """Compute G_t = grad D_KL( N(mean, Sigma_t) || N(c_t, Sigma_ref) ) with respect to the mean or to x_t."""
    center = jnp.broadcast_to(guidance.reference, mean.shape)
    if guidance.form.reference_mean == "shifted":
        center = forward_mean(center, z_lr, row.eta_prev)
    posterior = guidance.form.reference_variance == "posterior"
    variance = row.variance_clipped if posterior else row.marginal_variance_clipped
    gradient = jax.grad(gaussian_kl)(mean, row.variance_clipped, center, variance)
    if guidance.form.through == "mean":
        return gradient
    if pull_back is None:
        raise ValueError("kl_gradient: a gradient through the state needs the step's pull_back; give it.")
    return pull_back(gradient)


def _at(values: ArrayLike, row: StepTables) -> Float[Array, ""]:
    values = jnp.asarray(values, jnp.float32)
    return values[row.step] if values.ndim else values

"""The plug-in: the gradient of a Gaussian KL divergence to a reference, added to the mean of every step.

Algorithm 2 and Eq. 11 of the paper, with G_t = grad D_KL( N(mu_theta(x_t), Sigma_t) || N(c_t, Sigma_ref) ):

    mu_new = mu + m * ( scale_t * Sigma_t * G_t + offset_t )

With `reference_variance="posterior"`, Sigma_t * G_t = mu - c_t (Lemma 3.2.1): scale has no unit, 0 is the plain
sampler, scale > 0 leads away from the reference (perception, with the LR image), scale < 0 toward it (fidelity, with
an HR image). At t = 1, where Sigma_1 = 0, Sigma_2 stands for it, so that the last step is guided too.
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
"""Takes a gradient with respect to the mean of a step to the one with respect to x_t, through the network."""


@jax.tree_util.register_dataclass
@dataclass(frozen=True, eq=False, kw_only=True)
class Guidance:
    """One correction of the sampler; a pytree, so that `vmap` over scales, masks or references is one line.

    Attributes:
        reference: latent c of the reference image, shape (b, h, w, c) or what broadcasts to it.
        scale: scalar, or one number per step, shape (T,), in the schedule's order (t = 1 first).
        offset: as `scale`; the second constant of Eq. 11, in the unit of the latent.
        mask: m, scalar or at latent resolution, shape (b, h, w, 1): 0 leaves a place as it is, and numbers outside of
            0..1 make it a map of strengths.
        form: which gradient G_t is, see `GradientForm`.
    """

    reference: ArrayLike
    scale: ArrayLike
    offset: ArrayLike = 0.0
    mask: ArrayLike = 1.0
    form: GradientForm = field(default=DEFAULT_FORM, metadata={"static": True})


def check_steps(guidance: Sequence[Guidance], steps: int) -> None:
    """Raise ValueError unless every scale and offset is a scalar or has one number for each of `steps` steps."""
    for one in guidance:
        for name in ("scale", "offset"):
            if (shape := jnp.shape(getattr(one, name))) not in ((), (steps,)):
                raise ValueError(f"guidance: {name} must be one number or {steps}, one per step, got shape {shape}.")


def correction(
    guidance: Sequence[Guidance], mean: Latent, pull_back: PullBack | None, z_lr: Latent, row: StepTables
) -> Latent:
    """What is added to the mean of one step: sum over all guidance of m (scale_t Sigma_t G_t + offset_t), Eq. 11.

    `pull_back` is needed where one goes through the state.
    """
    total = jnp.zeros_like(mean)
    for one in guidance:
        gradient = kl_gradient(one, mean, pull_back, z_lr, row)
        total += one.mask * (_at(one.scale, row) * row.variance_clipped * gradient + _at(one.offset, row))
    return total


def kl_gradient(guidance: Guidance, mean: Latent, pull_back: PullBack | None, z_lr: Latent, row: StepTables) -> Latent:
    """G_t = grad D_KL( N(mean, Sigma_t) || N(c_t, Sigma_ref) ), with respect to the mean or to x_t."""
    center = jnp.broadcast_to(guidance.reference, mean.shape)
    if guidance.form.reference_mean == "shifted":
        center = forward_mean(center, z_lr, row.eta_prev)
    posterior = guidance.form.reference_variance == "posterior"
    variance = row.variance_clipped if posterior else row.marginal_variance_clipped
    gradient = jax.grad(gaussian_kl)(mean, row.variance_clipped, center, variance)
    if guidance.form.through == "mean":
        return gradient
    if pull_back is None:
        raise ValueError("kl_gradient: through the state needs the step's pull_back.")
    return pull_back(gradient)


def _at(values: ArrayLike, row: StepTables) -> Float[Array, ""]:
    values = jnp.asarray(values, jnp.float32)
    return values[row.step] if values.ndim else values

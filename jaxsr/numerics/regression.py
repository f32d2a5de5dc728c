"""The test of Theorem 3.2.1, by least squares at every step: is the truncation error linear in the KL gradient?

    error_t = slope Sigma_t G_t + offset,     G_t = grad D_KL( N(mu_theta(x_t), Sigma_t) || N(c_t, Sigma_ref) )

The regressor is S_t = Sigma_t G_t, the correction by guidance of scale 1, so that slope and offset are those of a
`Guidance`. The fits are those of the calibration (`jaxsr.calibration`), with the truncation error in place of Delta.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from itertools import product
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxsr.choices import (
    REFERENCE_MEANS,
    REFERENCE_VARIANCES,
    REFERENCES,
    THROUGHS,
    GradientForm,
    Reference,
)
from jaxsr.diffusion import Denoiser, Guidance, Schedule, StepTables, find_sampler
from jaxsr.diffusion.guidance import kl_gradient
from jaxsr.diffusion.process import Latent
from jaxsr.guidance.fits import Fit, fit_lstsq, select
from jaxsr.guidance.moments import Moments, moments
from jaxsr.metrics.statistics import jackknife_interval

States = Float[Array, "t b h w c"]
PerStep = Float[np.ndarray, " t"]


class Gradient(NamedTuple):
    """One variant of the KL gradient: the image that is the reference, and the form of the gradient."""

    reference: Reference
    form: GradientForm

    def guidance(self, z_lr: Latent, z_hr: Latent) -> Guidance:
        """Make the guidance of scale 1 by this gradient."""
        return Guidance(reference=z_lr if self.reference == "lr" else z_hr, scale=1.0, form=self.form)

    def words(self) -> dict[str, str]:
        """Return the reference and the fields of the form, by their names."""
        return {"reference": self.reference, **asdict(self.form)}


_WORDS: Any = product(REFERENCES, THROUGHS, REFERENCE_MEANS, REFERENCE_VARIANCES)
GRADIENTS = tuple(Gradient(reference, GradientForm(*words)) for reference, *words in _WORDS)
"""All sixteen gradients."""


def regress(
    denoise: Denoiser,
    schedule: Schedule,
    z_lr: Float[Array, "b h w c"],
    z_hr: Float[Array, "b h w c"],
    states: States,
    errors: States,
    *,
    sampler: str = "ancestral",
    gradients: Sequence[Gradient] = GRADIENTS,
) -> dict[Gradient, Moments]:
    """Compute the joint moments of (error_t, S_t) for every gradient, of shape (T, b), t = 1 first. Pure; jit it.

    Args:
        denoise, schedule: denoiser and schedule of the coarse steps.
        z_lr, z_hr: latents of the LR and HR images.
        states: x_t of every step.
        errors: `local_errors` at these states.
        sampler: sampler at whose mean the gradient is taken.
        gradients: gradients to regress on.
    """

    stepper = find_sampler(sampler).step
    pulled = [at for at, one in enumerate(gradients) if one.form.through == "state"]

    def at_step(scanned: tuple[StepTables, Latent, Latent]) -> tuple[Moments, ...]:
        row, x_t, error = scanned
        mean, pull_back = jax.vjp(lambda x: stepper(denoise, x, z_lr, row)[1], x_t)
        at_mean = [one._replace(form=replace(one.form, through="mean")).guidance(z_lr, z_hr) for one in gradients]
        terms = [kl_gradient(guidance, mean, None, z_lr, row) for guidance in at_mean]
        if pulled:  # one after the other, so that the backward pass through the network is compiled once
            back = jax.lax.map(lambda term: pull_back(term)[0], jnp.stack([terms[at] for at in pulled]))
            for place, at in enumerate(pulled):
                terms[at] = back[place]
        return tuple(moments(error, row.variance_clipped * term, jnp.ones_like(error)) for term in terms)

    found = jax.lax.map(at_step, (schedule.tables(), states, errors))
    return dict(zip(gradients, found, strict=True))


def removed(sums: Moments, fit: Fit) -> PerStep:
    """Compute the share of the squared error, over all images, that slope S + offset removes: 1 if it removes all.

    The share is below 0 if the correction makes the error larger, and NaN if there is no error. Unlike R^2, it counts a
    common offset of the error as error.
    """
    slope, offset = fit.slope[:, None], fit.offset[:, None]
    left = sums.square_delta - 2 * slope * sums.product + slope**2 * sums.square_s
    left = left + sums.n * np.square(sums.mean_delta - slope * sums.mean_s - offset)
    whole = sums.square_delta + sums.n * np.square(sums.mean_delta)
    return 1 - _share(left.sum(1), whole.sum(1))


def _share(part: PerStep, whole: PerStep) -> PerStep:
    return np.divide(part, whole, out=np.full_like(part, np.nan), where=whole > 0)


class Removed(NamedTuple):
    """Shares of the squared error that fitted corrections remove, each of shape (T,); see `split_half`."""

    inside: PerStep
    outside: PerStep
    each: PerStep


def split_half(sums: Moments, *, offset: bool = True) -> Removed:
    """Compute the share of the error that the correction removes, in and out of sample.

    One fit uses every second image, another fit uses the rest; their shares are averaged. `inside` is the share for
    the images of the fit, `outside` for the others. `each` fits constants to every single image, as in a region whose
    HR image is known. Keep the images in the order of their files, so that crops of one photograph are neighbours.
    With one image, `outside` is NaN.
    """
    count = sums.n.shape[1]
    halves = [np.arange(start, count, 2) for start in (0, 1)]
    fits = fit_lstsq(sums, pooled=False, offset=offset)
    whole = sums.square_delta + sums.n * np.square(sums.mean_delta)
    singles = [removed(select(sums, np.array([i])), Fit(*(field[:, i] for field in fits))) for i in range(count)]
    each = _share(np.nansum(np.stack(singles, 1) * whole, 1), whole.sum(1))
    if count < 2:
        return Removed(each, np.full_like(each, np.nan), each)
    pairs = [(select(sums, ours), select(sums, others)) for ours, others in (halves, halves[::-1])]
    fitted = [fit_lstsq(ours, offset=offset) for ours, _ in pairs]
    inside = np.mean([removed(ours, fit) for (ours, _), fit in zip(pairs, fitted, strict=True)], axis=0)
    outside = np.mean([removed(others, fit) for (_, others), fit in zip(pairs, fitted, strict=True)], axis=0)
    return Removed(inside, outside, each)


def table(sums: Mapping[Gradient, Moments], eta: PerStep) -> list[dict[str, str | int | float]]:
    """Tabulate the fits, one row per gradient and step: choices, t, eta, slope, offset, R^2, cosine, shares removed.

    `sums` are moments of many images, from `jaxsr.guidance.fits.concatenate`. `r2_low` and `r2_high` are the 95 %
    interval of R^2 over the images, by the jackknife.
    """
    rows = []
    for gradient, one in sums.items():
        fit, share = fit_lstsq(one), split_half(one)
        ends = jackknife_interval(lambda drawn, one=one: fit_lstsq(select(one, drawn)).r2, one.n.shape[1])
        columns = fit._asdict() | dict(zip(("r2_low", "r2_high"), np.clip(ends, 0, 1), strict=True))
        columns |= {f"removed_{name}": values for name, values in share._asdict().items()}
        for i, at in enumerate(eta):
            numbers = {name: float(values[i]) for name, values in columns.items()}
            rows.append(gradient.words() | {"t": i + 1, "eta": float(at)} | numbers)
    return rows

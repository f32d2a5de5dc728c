"""Modular and cumulative errors of a sampler (Li and van der Schaar, 2024), in nats.

    modular:    E D_KL( p_theta(x_{t-1} | x_t) || q(x_{t-1} | x_t, x_0) ), closed form: two Gaussians of one variance
    cumulative: D_KL( p_theta(x_{t-1}) || q(x_{t-1}) ), for Gaussians with the mean and covariance of patches

Arrays over steps have index 0 at t = 1, as in schedules.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxsr.diffusion import Denoiser, Noise, Schedule, StepTables, gaussian_kl
from jaxsr.diffusion.process import Latent, forward_sample, reverse_mean

States = Float[Array, "t b h w c"]


def forward_states(schedule: Schedule, z_lr: Latent, z_hr: Latent, noise: Noise) -> Float[Array, "t *b h w c"]:
    """Draw from q(x_t | x_0, y_0), equation (F), for t = 1..T. The draw at t takes the noise k = t."""
    count = jnp.arange(1, schedule.steps + 1, dtype=jnp.int32)
    draw = lambda row: forward_sample(z_hr, z_lr, noise(row[0]), row[1], schedule.kappa)  # noqa: E731
    return jax.lax.map(draw, (count, schedule.tables().eta))


def modular_error(
    denoise: Denoiser, schedule: Schedule, z_hr: Float[Array, "b h w c"], states: States
) -> Float[Array, "t b"]:
    """Compute the modular error of every step and image, in nats per element of the latent.

    Args:
        denoise: (x_t, step) -> x0_hat for this batch.
        schedule: T steps. At t = 1, where both variances are 0, Sigma_2 replaces them.
        z_hr: x_0, the truth.
        states: x_t at which the error is measured, t = 1 first. `forward_states` give the errors of single steps. A
            sampler's own states (`trajectory(...).x_t[::-1]`) show how its steps act on the errors of earlier steps.
    """

    def at_step(scanned: tuple[StepTables, Latent]) -> Float[Array, " b"]:
        row, x_t = scanned
        ours, truth = (reverse_mean(x_t, x_0, row) for x_0 in (denoise(x_t, row.step), z_hr))
        variance = row.variance_clipped
        return jax.vmap(lambda a, b: gaussian_kl(a, variance, b, variance))(ours, truth)

    return jax.lax.map(at_step, (schedule.tables(), states)) / (z_hr.size // z_hr.shape[0])


class PatchSums(NamedTuple):
    """Sums for a Gaussian fit of patches. They add up over images; float64, with the same leading axes in all fields.

    Attributes:
        count: number of patches.
        total: sum of the patches x, (..., d).
        outer: sum of x x^T, (..., d, d).
    """

    count: Any
    total: Any
    outer: Any


def patch_sums(states: Float[Any, "*n b h w c"], patch: int = 1) -> PatchSums:
    """Sum the patches of `patch` x `patch` positions, per image. Patches do not overlap, so no value counts twice.

    A patch is a vector of d = patch^2 c values. Rows and columns that fill no patch are left out. For the marginals
    given y_0, pass x_t - z_lr: otherwise the content of the images hides them.
    Raises ValueError for states smaller than a patch.
    """
    values = np.asarray(states, np.float64)
    *lead, h, w, c = values.shape
    rows, columns = h // patch, w // patch
    if not rows * columns:
        raise ValueError(f"patch_sums: states of {h} x {w} hold no patch of {patch} x {patch}; take a smaller patch.")
    cut = values[..., : rows * patch, : columns * patch, :].reshape(*lead, rows, patch, columns, patch, c)
    flat = np.moveaxis(cut, -4, -3).reshape(*lead, rows * columns, patch * patch * c)
    count = np.full(lead, float(rows * columns))
    return PatchSums(count, flat.sum(-2), np.einsum("...ni,...nj->...ij", flat, flat, optimize=True))


def patch_moments(sums: PatchSums) -> tuple[Float[np.ndarray, "*n d"], Float[np.ndarray, "*n d d"]]:
    """Compute the mean and the covariance of the patches.

    Raises ValueError for fewer than d + 1 patches, which a covariance of d dimensions needs.
    """
    dimension = sums.total.shape[-1]
    if (fewest := int(np.min(sums.count))) <= dimension:
        raise ValueError(
            f"cumulative error: {fewest} patches of {dimension} values give no covariance; "
            "take more images, larger crops or a smaller patch."
        )
    count = np.asarray(sums.count)[..., None]
    mean = sums.total / count
    covariance = sums.outer / count[..., None] - mean[..., :, None] * mean[..., None, :]
    return mean, covariance


def cumulative_error(ours: PatchSums, truth: PatchSums) -> Float[np.ndarray, "*n"]:
    """Compute D_KL( N(mean, covariance of `ours`) || N(mean, covariance of `truth`) ), in nats per value of a patch.

    The sums may have any leading axes. Raises ValueError as `patch_moments` does, and if a covariance is singular (flat
    images, a clipped colour).
    """
    (mean, covariance), (other_mean, other_covariance) = patch_moments(ours), patch_moments(truth)
    lower, other_lower = _cholesky(covariance), _cholesky(other_covariance)
    ratio = np.linalg.solve(other_lower, lower)
    distance = np.linalg.solve(other_lower, (mean - other_mean)[..., None])
    log_ratio = _log_diagonal(other_lower) - _log_diagonal(lower)
    squares = (np.square(ratio).sum((-2, -1)) + np.square(distance).sum((-2, -1))) / 2
    dimension = mean.shape[-1]
    return (squares + log_ratio) / dimension - 0.5


def _cholesky(covariance: Float[np.ndarray, "*n d d"]) -> Float[np.ndarray, "*n d d"]:
    message = "cumulative error: the covariance of the patches is singular; take other images."
    try:
        lower = np.linalg.cholesky(covariance)
    except np.linalg.LinAlgError as error:
        raise ValueError(message) from error
    diagonal = np.diagonal(lower, axis1=-2, axis2=-1)
    if (diagonal.min(-1) < 1e-6 * diagonal.max(-1)).any():
        raise ValueError(message)
    return lower


def _log_diagonal(lower: Float[np.ndarray, "*n d d"]) -> Float[np.ndarray, "*n"]:
    return np.log(np.diagonal(lower, axis1=-2, axis2=-1)).sum(-1)


def sampling_floor(ours: PatchSums, truth: PatchSums) -> Float[np.ndarray, "*n"]:
    """Compute the average `cumulative_error` of equal distributions, from the counts of patches alone: nats per value.

    For Gaussians fitted to n and n' independent vectors of d values it is (d + 3)/4 (1/n + 1/n') to first order: half a
    nat per parameter and sample. Neighbouring patches are not independent, so the true floor is higher.
    """
    dimension = ours.total.shape[-1]
    return (dimension + 3) / 4 * (1 / np.asarray(ours.count) + 1 / np.asarray(truth.count))

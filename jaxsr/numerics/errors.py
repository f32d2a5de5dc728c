"""Modular and cumulative errors of a sampler (Li and van der Schaar, 2024), in nats.

    modular:    E D_KL( p_theta(x_{t-1} | x_t) || q(x_{t-1} | x_t, x_0) ), closed form: two Gaussians of one variance
    cumulative: D_KL( p_theta(x_{t-1}) || q(x_{t-1}) ), of the Gaussians with the mean and the covariance of patches

Arrays over steps have index 0 at t = 1, as schedules have.
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
    """Draws of q(x_t | x_0, y_0), equation (F), for t = 1..T; the one of t takes the noise k = t."""
    count = jnp.arange(1, schedule.steps + 1, dtype=jnp.int32)
    draw = lambda row: forward_sample(z_hr, z_lr, noise(row[0]), row[1], schedule.kappa)  # noqa: E731
    return jax.lax.map(draw, (count, schedule.tables().eta))


def modular_error(
    denoise: Denoiser, schedule: Schedule, z_hr: Float[Array, "b h w c"], states: States
) -> Float[Array, "t b"]:
    """The modular error of every step and image, nats per element of the latent.

    Args:
        denoise: (x_t, step) -> x0_hat for this batch.
        schedule: T steps. At t = 1, where both variances are 0, Sigma_2 stands for them.
        z_hr: x_0, the truth.
        states: x_t at which it is measured, t = 1 first: `forward_states` for the errors of single steps, or a
            sampler's own (`trajectory(...).x_t[::-1]`) for what its steps make of one another's errors.
    """

    def at_step(scanned: tuple[StepTables, Latent]) -> Float[Array, " b"]:
        row, x_t = scanned
        ours, truth = (reverse_mean(x_t, x_0, row) for x_0 in (denoise(x_t, row.step), z_hr))
        variance = row.variance_clipped
        return jax.vmap(lambda a, b: gaussian_kl(a, variance, b, variance))(ours, truth)

    return jax.lax.map(at_step, (schedule.tables(), states)) / (z_hr.size // z_hr.shape[0])


class PatchSums(NamedTuple):
    """What a Gaussian fit of patches needs, which adds up over images: float64, any leading axes alike.

    count: patches. total: their sum, (..., d). outer: sum of x x^T, (..., d, d).
    """

    count: Any
    total: Any
    outer: Any


def patch_sums(states: Float[Any, "*n b h w c"], patch: int = 1) -> PatchSums:
    """The sums of the patches of `patch` x `patch` positions, side by side (so no value counts twice), per image.

    A patch is a vector of d = patch^2 c values; rows and columns that fill no patch are left out. Take x_t - z_lr for
    the marginals given y_0, which the content of the images would hide else.
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
    """Mean and covariance of the patches.

    Raises ValueError for fewer patches than a covariance of d dimensions needs, d + 1.
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
    """D_KL( N(mean, covariance of `ours`) || N(those of `truth`) ) in nats per value of a patch, any leading axes.

    Raises ValueError as `patch_moments`, or where a covariance is singular (flat images, a clipped colour).
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
    message = "cumulative error: patches without any variation in some direction; take other images."
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
    """What `cumulative_error` is on average where nothing differs, by the counts of samples alone: nats per value.

    Of Gaussians fitted to n and n' independent vectors of d values it is (d + 3)/4 (1/n + 1/n') to first order, half a
    nat per parameter and sample. Neighbouring patches are not independent, so the true floor is higher.
    """
    dimension = ours.total.shape[-1]
    return (dimension + 3) / 4 * (1 / np.asarray(ours.count) + 1 / np.asarray(truth.count))

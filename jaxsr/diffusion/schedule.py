"""The residual-shift schedule: float64 tables on the host, float32 tables for the scan.

ResShift (NeurIPS 2023), section 3.2: eta_t grows geometrically in sqrt(eta), with a power that bends it.
Index i = 0..T-1 in code is t = i + 1 in the text.
"""

from dataclasses import dataclass
from typing import Literal, NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

InputScaling = Literal["latent", "pixel", "none"]


class StepTables(NamedTuple):
    """What a sampler scans over: one row per step, float32 on the device, i = 0..T-1 (t = i + 1).

    `std` is the standard deviation of the reverse step (0 in row 0); the two variances, of the reverse step and of the
    forward marginal at t-1, have row 0 replaced by row 1, for divisions. `step` is the row's own index, to be handed to
    the denoiser.
    """

    step: Int[Array, " t"]
    eta: Float[Array, " t"]
    eta_prev: Float[Array, " t"]
    coef_x: Float[Array, " t"]
    coef_x0: Float[Array, " t"]
    std: Float[Array, " t"]
    variance_clipped: Float[Array, " t"]
    marginal_variance_clipped: Float[Array, " t"]


@dataclass(frozen=True, eq=False)
class Schedule:
    """Tables of one diffusion: `eta` rising from eta_1 to eta_T (float64), `kappa`, and what the network is told.

    Attributes:
        eta: residual-shift schedule, shape (T,), increasing, in (0, 1).
        kappa: noise strength.
        timestep_map: the integer time that the network is told at each row, shape (T,).
        input_scaling: how x_t is normalised before the network: `latent` x/sqrt(kappa^2 eta + 1),
            `pixel` x/(3 kappa sqrt(eta) + 1), `none`.
    """

    eta: Float[np.ndarray, " t"]
    kappa: float
    timestep_map: Int[np.ndarray, " t"]
    input_scaling: InputScaling = "latent"

    def __post_init__(self) -> None:
        eta = np.concatenate([[0.0], self.eta, [1.0]])
        if len(self.eta) < 1 or not np.all(np.diff(eta) > 0):
            raise ValueError("Schedule: eta must rise strictly inside (0, 1).")

    @property
    def steps(self) -> int:
        """T, the number of steps."""
        return len(self.eta)

    @property
    def eta_prev(self) -> Float[np.ndarray, " t"]:
        """eta_{t-1}, with eta_0 = 0."""
        return np.concatenate([[0.0], self.eta[:-1]])

    @property
    def eta_step(self) -> Float[np.ndarray, " t"]:
        """eta_t - eta_{t-1}: ResShift's alpha_t (not the guidance scale)."""
        return self.eta - self.eta_prev

    @property
    def variance(self) -> Float[np.ndarray, " t"]:
        """Sigma_t = kappa^2 (eta_{t-1} / eta_t) eta_step_t, the variance of the reverse step (R); 0 in row 0."""
        return self.kappa**2 * self.eta_prev / self.eta * self.eta_step

    @property
    def variance_clipped(self) -> Float[np.ndarray, " t"]:
        """Sigma_t with the first row replaced by the second, for divisions; 1 for a single step, which has none."""
        return _clip_first(self.variance)

    @property
    def marginal_variance_clipped(self) -> Float[np.ndarray, " t"]:
        """kappa^2 eta_{t-1}, the variance of the forward marginal (F) at t-1, clipped as Sigma_t is."""
        return _clip_first(self.kappa**2 * self.eta_prev)

    @property
    def coef_x(self) -> Float[np.ndarray, " t"]:
        """eta_{t-1} / eta_t: the weight of x_t in the mean of (R)."""
        return self.eta_prev / self.eta

    @property
    def coef_x0(self) -> Float[np.ndarray, " t"]:
        """eta_step_t / eta_t: the weight of x_0 in the mean of (R)."""
        return self.eta_step / self.eta

    @property
    def loss_weight(self) -> Float[np.ndarray, " t"]:
        """Weight of ||x_0 - f||^2 in the variational bound: (eta_step/eta)^2 / (2 Sigma_t), Sigma clipped."""
        return self.coef_x0**2 / (2 * self.variance_clipped)

    @property
    def input_scale(self) -> Float[np.ndarray, " t"]:
        """The factor that normalises x_t for the network, by `input_scaling`."""
        noise = self.kappa * np.sqrt(self.eta)
        scales = {"latent": 1 / np.sqrt(noise**2 + 1), "pixel": 1 / (3 * noise + 1), "none": np.ones_like(noise)}
        return scales[self.input_scaling]

    def tables(self) -> StepTables:
        """The rows that a sampler scans over, float32 and int32 on the default device."""
        columns = (self.eta, self.eta_prev, self.coef_x, self.coef_x0, np.sqrt(self.variance))
        columns += (self.variance_clipped, self.marginal_variance_clipped)
        step = jnp.arange(self.steps, dtype=jnp.int32)
        return StepTables(step, *(jnp.asarray(c, jnp.float32) for c in columns))

    def select(self, rows: Int[np.ndarray, " n"]) -> "Schedule":
        """A thinned schedule that keeps `rows` (rising indices into this one); the network is told the old times."""
        return Schedule(self.eta[rows], self.kappa, self.timestep_map[rows], self.input_scaling)


def _clip_first(values: Float[np.ndarray, " t"]) -> Float[np.ndarray, " t"]:
    return np.concatenate([values[1:2], values[1:]]) if len(values) > 1 else np.ones(1)


def exponential_schedule(
    steps: int,
    *,
    kappa: float = 2.0,
    min_noise_level: float = 0.04,
    power: float = 0.3,
    sqrt_eta_end: float = 0.99,
    input_scaling: InputScaling = "latent",
) -> Schedule:
    """ResShift's schedule: sqrt(eta_t) = s_1 b^(((t-1)/(T-1))^p (T-1)) with b = (sqrt(eta_T)/s_1)^(1/(T-1)).

    Args:
        steps: T, at least 2.
        kappa: noise strength.
        min_noise_level: s_1 = min(min_noise_level / kappa, min_noise_level) is sqrt(eta_1).
        power: p; below 1 the schedule leaves the small etas sooner.
        sqrt_eta_end: sqrt(eta_T).
        input_scaling: see `Schedule`.
    Raises:
        ValueError: for fewer than 2 steps, a kappa that is not positive, or a first level that is not below the last.
    """
    if kappa <= 0:
        raise ValueError(f"exponential_schedule: kappa must be positive, got {kappa}.")
    if steps < 2:
        raise ValueError(f"exponential_schedule: needs at least 2 steps, got {steps}; thin a longer one with `thin`.")
    first = min(min_noise_level / kappa, min_noise_level)
    bend = np.linspace(0, 1, steps) ** power * (steps - 1)
    sqrt_eta = first * ((sqrt_eta_end / first) ** (1 / (steps - 1))) ** bend
    return Schedule(sqrt_eta**2, kappa, np.arange(steps), input_scaling)


def thin(schedule: Schedule, steps: int, *, keep: Literal["ends", "released"] = "ends") -> Schedule:
    """The schedule thinned to `steps` rows.

    `ends` rounds an even spacing that keeps the first and the last row (a single step keeps the last);
    `released` keeps int(T/n i), i = 0..n-1, as the released ResShift models were thinned, which drops the last row.

    Raises:
        ValueError: if `steps` is not in 1..T.
    """
    total = schedule.steps
    if not 1 <= steps <= total:
        raise ValueError(f"steps: this model's schedule has {total} steps, so ask for 1 to {total}, not {steps}.")
    if keep == "released":
        rows = np.array([int(total / steps * i) for i in range(steps)])
    else:
        rows = np.round(np.linspace(total - 1, 0, steps)).astype(int)[::-1]
    return schedule.select(rows)

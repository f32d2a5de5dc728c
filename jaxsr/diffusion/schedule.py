"""The residual-shift schedule: float64 tables on the host, float32 tables for the scan.

It follows section 3.2 of ResShift (NeurIPS 2023): sqrt(eta_t) grows geometrically, and a power bends its growth.
Index i = 0..T-1 in the code is t = i + 1 in the text.
"""

from dataclasses import dataclass
from typing import Literal, NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from jaxsr.choices import THINNINGS, ThinningRule, check_word

InputScaling = Literal["latent", "pixel", "none"]


class StepTables(NamedTuple):
    """The tables that a sampler scans over: one row per step, float32 on the device, i = 0..T-1 (t = i + 1).

    Attributes:
        step: index of the row, int32, which the denoiser takes.
        eta: eta_t.
        eta_prev: eta_{t-1}.
        coef_x: weight of x_t in the mean of (R).
        coef_x0: weight of x_0 in the mean of (R).
        std: standard deviation of the reverse step (R); 0 in row 0.
        variance_clipped: variance of the reverse step, with row 0 replaced by row 1, for divisions.
        marginal_variance_clipped: variance of the forward marginal (F) at t-1, with row 0 replaced by row 1.
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
    """The schedule of one diffusion: its steps, its noise, and the inputs that the network gets at each step.

    Attributes:
        eta: residual-shift schedule, float64, shape (T,), increasing from eta_1 to eta_T, in (0, 1).
        kappa: noise strength.
        timestep_map: integer time that the network gets at each row, shape (T,).
        input_scaling: normalisation of x_t before the network: `latent`, x/sqrt(kappa^2 eta + 1); `pixel`,
            x/(3 kappa sqrt(eta) + 1); or `none`.
    Raises:
        ValueError: unless `eta` has at least one row and rises strictly inside (0, 1).
    """

    eta: Float[np.ndarray, " t"]
    kappa: float
    timestep_map: Int[np.ndarray, " t"]
    input_scaling: InputScaling = "latent"

    def __post_init__(self) -> None:
        eta = np.concatenate([[0.0], self.eta, [1.0]])
        if len(self.eta) < 1 or not np.all(np.diff(eta) > 0):
            raise ValueError("Schedule: eta must have at least one row and rise strictly inside (0, 1).")

    @property
    def steps(self) -> int:
        """The number of steps, T."""
        return len(self.eta)

    @property
    def eta_prev(self) -> Float[np.ndarray, " t"]:
        """The previous eta of each row: eta_{t-1}, with eta_0 = 0."""
        return np.concatenate([[0.0], self.eta[:-1]])

    @property
    def eta_step(self) -> Float[np.ndarray, " t"]:
        """The step of the schedule, eta_t - eta_{t-1}: ResShift's alpha_t (not the guidance scale)."""
        return self.eta - self.eta_prev

    @property
    def variance(self) -> Float[np.ndarray, " t"]:
        """The variance of the reverse step (R), Sigma_t = kappa^2 (eta_{t-1} / eta_t) eta_step_t; 0 in row 0."""
        return self.kappa**2 * self.eta_prev / self.eta * self.eta_step

    @property
    def variance_clipped(self) -> Float[np.ndarray, " t"]:
        """Sigma_t with the first row replaced by the second, for divisions; 1 if the schedule has a single row."""
        return _clip_first(self.variance)

    @property
    def marginal_variance_clipped(self) -> Float[np.ndarray, " t"]:
        """The variance of the forward marginal (F) at t-1, kappa^2 eta_{t-1}, clipped as `variance_clipped` is."""
        return _clip_first(self.kappa**2 * self.eta_prev)

    @property
    def coef_x(self) -> Float[np.ndarray, " t"]:
        """The weight of x_t in the mean of (R): eta_{t-1} / eta_t."""
        return self.eta_prev / self.eta

    @property
    def coef_x0(self) -> Float[np.ndarray, " t"]:
        """The weight of x_0 in the mean of (R): eta_step_t / eta_t."""
        return self.eta_step / self.eta

    @property
    def loss_weight(self) -> Float[np.ndarray, " t"]:
        """The weight of ||x_0 - f||^2 in the variational bound: (eta_step/eta)^2 / (2 Sigma_t), Sigma_t clipped."""
        return self.coef_x0**2 / (2 * self.variance_clipped)

    @property
    def input_scale(self) -> Float[np.ndarray, " t"]:
        """The factor that normalises x_t for the network, as `input_scaling` says."""
        noise = self.kappa * np.sqrt(self.eta)
        scales = {"latent": 1 / np.sqrt(noise**2 + 1), "pixel": 1 / (3 * noise + 1), "none": np.ones_like(noise)}
        return scales[self.input_scaling]

    def tables(self) -> StepTables:
        """Make the rows that a sampler scans over, as float32 and int32 arrays on the default device."""
        columns = (self.eta, self.eta_prev, self.coef_x, self.coef_x0, np.sqrt(self.variance))
        columns += (self.variance_clipped, self.marginal_variance_clipped)
        step = jnp.arange(self.steps, dtype=jnp.int32)
        return StepTables(step, *(jnp.asarray(c, jnp.float32) for c in columns))

    def select(self, rows: Int[np.ndarray, " n"]) -> "Schedule":
        """Thin the schedule to `rows`, rising indices of its rows. The network still gets the times of these rows."""
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
    """Make ResShift's schedule: sqrt(eta_t) = s_1 b^(((t-1)/(T-1))^p (T-1)) with b = (sqrt(eta_T)/s_1)^(1/(T-1)).

    Args:
        steps: T, at least 2.
        kappa: noise strength.
        min_noise_level: sets sqrt(eta_1) = s_1 = min(min_noise_level / kappa, min_noise_level).
        power: p; below 1 the schedule leaves the small etas sooner.
        sqrt_eta_end: sqrt(eta_T).
        input_scaling: normalisation of x_t before the network, see `Schedule`.
    Raises:
        ValueError: for fewer than 2 steps, a number that is not positive, or a first level that is not below the last.
    """
    numbers = {"kappa": kappa, "min_noise_level": min_noise_level, "power": power, "sqrt_eta_end": sqrt_eta_end}
    for name, number in numbers.items():
        if not number > 0:
            raise ValueError(f"exponential_schedule: {name} must be positive, got {number}.")
    if steps < 2:
        raise ValueError(f"exponential_schedule: needs at least 2 steps, got {steps}; thin a longer one with `thin`.")
    first = min(min_noise_level / kappa, min_noise_level)
    bend = np.linspace(0, 1, steps) ** power * (steps - 1)
    sqrt_eta = first * ((sqrt_eta_end / first) ** (1 / (steps - 1))) ** bend
    return Schedule(sqrt_eta**2, kappa, np.arange(steps), input_scaling)


def thin(schedule: Schedule, steps: int, *, keep: ThinningRule = "ends") -> Schedule:
    """Thin a schedule to `steps` of its rows. `Schedule.select` takes the rows themselves.

    With n = `steps` and i = 0..n-1: `ends` rounds an even spacing that keeps the first and the last row (a single step
    keeps the last). `quadratic` rounds (T-1) (i/(n-1))^2, as DDIM's quadratic spacing does: it keeps more of the rows
    with little noise. `released` keeps the rows int(T/n i), as the released ResShift models do; it drops the last row.

    Raises:
        ValueError: if `steps` is not in 1..T, or for an unknown rule.
    """
    check_word("keep", keep, THINNINGS)
    total = schedule.steps
    if not 1 <= steps <= total:
        raise ValueError(f"steps: this model's schedule has {total} steps, so ask for 1 to {total}, not {steps}.")
    if keep == "released":
        rows = np.array([int(total / steps * i) for i in range(steps)])
    elif keep == "quadratic" and steps > 1:
        i = np.arange(steps)
        rows = np.round((total - 1) * (i / (steps - 1)) ** 2).astype(int)
        rows = np.maximum.accumulate(rows - i) + i  # no row twice
    else:
        rows = np.round(np.linspace(total - 1, 0, steps)).astype(int)[::-1]
    return schedule.select(rows)

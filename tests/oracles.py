"""Provide an oracle without a network: the Gaussian world of the method, where every marginal is known."""

from collections.abc import Callable
from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np

from jaxsr.diffusion import Denoiser, Schedule


@dataclass(frozen=True)
class GaussianWorld:
    """x_0 | y_0 ~ N(m, s^2 I): the exact denoiser is linear and every sampler's marginals are Gaussian."""

    m: float = 0.3
    s: float = 0.5
    y: float = -0.4

    def gain(self, schedule: Schedule) -> np.ndarray:
        """Return g_t of E[x_0 | x_t] = m + g_t (x_t - (1 - eta_t) m - eta_t y)."""
        eta = schedule.eta
        return self.s**2 * (1 - eta) / ((1 - eta) ** 2 * self.s**2 + schedule.kappa**2 * eta)

    def denoiser(self, schedule: Schedule) -> Denoiser:
        gain, eta = jnp.asarray(self.gain(schedule), jnp.float32), jnp.asarray(schedule.eta, jnp.float32)
        return lambda x, i: self.m + gain[i] * (x - (1 - eta[i]) * self.m - eta[i] * self.y)

    def step_line(self, schedule: Schedule, i: int) -> tuple[float, float]:
        """Return (slope, offset) of the mean of the ancestral step, a linear function of x_t."""
        eta, g = schedule.eta[i], self.gain(schedule)[i]
        slope = schedule.coef_x[i] + schedule.coef_x0[i] * g
        return slope, schedule.coef_x0[i] * (self.m - g * ((1 - eta) * self.m + eta * self.y))

    def ancestral_moments(
        self, schedule: Schedule, push: Callable[[int, float, float], tuple[float, float]] = lambda i, a, b: (a, b)
    ) -> tuple[list[float], list[float]]:
        """Return the mean and variance after every step, by the two-number recursion; the first entry is the start's.

        `push` maps (row, slope, offset) of a step's mean to the slope and offset of the guided step's mean.
        """
        means, variances = [self.y], [schedule.kappa**2 * schedule.eta[-1]]
        for i in reversed(range(schedule.steps)):
            slope, offset = push(i, *self.step_line(schedule, i))
            means.append(slope * means[-1] + offset)
            variances.append(slope**2 * variances[-1] + schedule.variance[i])
        return means, variances

    def true_variance(self, eta: float, kappa: float) -> float:
        """Return the variance of x_t under (F)."""
        return (1 - eta) ** 2 * self.s**2 + kappa**2 * eta

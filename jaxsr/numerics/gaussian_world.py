"""The Gaussian world: posterior diffusion with every number known in closed form, without a network.

If x_0 | y_0 ~ N(m, s^2 I), then E[x_0 | x_t] = m + g_t (x_t - (1 - eta_t) m - eta_t y_0) is linear in x_t. Every step
of every sampler, guided or not, is therefore x -> slope x + offset (+ noise). A sample's marginal is a Gaussian, which
two numbers per step describe. All numbers are per element, float64. Steps are in the schedule's order (t = 1 first).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from jaxsr.diffusion import Denoiser, Guidance, Schedule, find_sampler

Numbers = Float[np.ndarray, " n"]


class Marginals(NamedTuple):
    """The mean and variance of the samples at every eta, T + 1 of each, in sampling order: from eta_T down to 0."""

    eta: Numbers
    mean: Numbers
    variance: Numbers


class StepLines(NamedTuple):
    """The mean of every step as a linear function of x_t: slope x_t + offset, T of each, t = 1 first."""

    slope: Numbers
    offset: Numbers


@dataclass(frozen=True)
class GaussianWorld:
    """The world x_0 | y_0 ~ N(m, s^2 I), with y_0 = y everywhere and noise strength kappa.

    Every method that takes a schedule raises ValueError for a schedule with another kappa.
    """

    m: float = 0.3
    s: float = 0.5
    y: float = -0.4
    kappa: float = 2.0

    def marginal(self, eta: Any) -> tuple[Any, Any]:
        """Compute the mean and variance of x_t under the forward process (F)."""
        return (1 - eta) * self.m + eta * self.y, (1 - eta) ** 2 * self.s**2 + self.kappa**2 * eta

    def predict(self, x: Any, eta: Any) -> Any:
        """Compute E[x_0 | x_t = x], the exact denoiser. `eta` is a number or an array of x's type that broadcasts."""
        mean, variance = self.marginal(eta)
        return self.m + self.s**2 * (1 - eta) / variance * (x - mean)

    def flow(self, x: Any, eta: Any, eta_to: Any) -> Any:
        """Move x along the exact flow from eta to eta_to: its quantile in the marginal stays the same."""
        (mean, variance), (mean_to, variance_to) = self.marginal(eta), self.marginal(eta_to)
        return mean_to + (variance_to / variance) ** 0.5 * (x - mean)

    def denoiser(self, schedule: Schedule) -> Denoiser:
        """Make the exact denoiser in the form that samplers take, float32."""
        self._check(schedule)
        eta = jnp.asarray(schedule.eta, jnp.float32)
        return lambda x, step: self.predict(x, eta[step])

    def lines(self, schedule: Schedule, sampler: str = "ancestral", guidance: Sequence[Guidance] = ()) -> StepLines:
        """Compute the mean of every step of a sampler, corrected by `guidance` (each reference is one number)."""
        self._check(schedule)
        slope, offset = self._step_lines(schedule, sampler)
        new_slope, new_offset = slope, offset
        for one in guidance:
            center = float(jnp.asarray(one.reference).reshape(()))
            if one.form.reference_mean == "shifted":
                center = center + schedule.eta_prev * (self.y - center)
            pull = np.asarray(one.scale, np.float64) * (slope if one.form.through == "state" else 1.0)
            if one.form.reference_variance == "marginal":
                pull = pull * schedule.variance_clipped / schedule.marginal_variance_clipped
            mask = float(jnp.asarray(one.mask).reshape(()))
            new_slope = new_slope + mask * pull * slope
            new_offset = new_offset + mask * (pull * (offset - center) + np.asarray(one.offset, np.float64))
        return StepLines(new_slope, new_offset)

    def moments(
        self,
        schedule: Schedule,
        sampler: str = "ancestral",
        guidance: Sequence[Guidance] = (),
        temperature: float | Numbers = 1.0,
    ) -> Marginals:
        """Compute a sampler's marginals from its start N(y, kappa^2 eta_T) to its result, by a two-number recursion."""
        slope, offset = self.lines(schedule, sampler, guidance)
        noise = _noise(schedule, sampler) * np.square(temperature)
        mean, variance = [self.y], [self.kappa**2 * schedule.eta[-1]]
        for i in reversed(range(schedule.steps)):
            mean.append(slope[i] * mean[-1] + offset[i])
            variance.append(slope[i] ** 2 * variance[-1] + noise[i])
        return Marginals(np.append(schedule.eta[::-1], 0.0), np.array(mean), np.array(variance))

    def _check(self, schedule: Schedule) -> None:
        if schedule.kappa != self.kappa:
            raise ValueError(
                f"GaussianWorld: its kappa is {self.kappa}, but the schedule's is {schedule.kappa}; make both equal."
            )

    def _prediction(self, eta: Numbers) -> StepLines:
        offset = self.predict(0.0, eta)
        return StepLines(self.predict(1.0, eta) - offset, offset)

    def _step_lines(self, schedule: Schedule, sampler: str) -> StepLines:
        """Compute the mean of every step in closed form. Raises ValueError for a sampler without a closed form."""
        find_sampler(sampler)
        forms = {"ancestral": self._ancestral, "deterministic": self._euler, "heun": self._heun}
        if sampler not in forms:
            raise ValueError(
                f"sampler: the Gaussian world has no closed form for {sampler!r}; choose {', '.join(forms)}."
            )
        return forms[sampler](schedule)

    def _ancestral(self, schedule: Schedule) -> StepLines:
        gain, rest = self._prediction(schedule.eta)
        return StepLines(schedule.coef_x + schedule.coef_x0 * gain, schedule.coef_x0 * rest)

    def _flow_step(self, schedule: Schedule, f: StepLines) -> StepLines:
        """Follow the flow for a prediction f: r x + ((1 - eta') - r (1 - eta)) f + (eta' - r eta) y, r^2 = eta'/eta."""
        eta, to = schedule.eta, schedule.eta_prev
        root = np.sqrt(to / eta)
        weight, rest = (1 - to) - root * (1 - eta), (to - root * eta) * self.y
        return StepLines(root + weight * f.slope, rest + weight * f.offset)

    def _euler(self, schedule: Schedule) -> StepLines:
        return self._flow_step(schedule, self._prediction(schedule.eta))

    def _heun(self, schedule: Schedule) -> StepLines:
        """Take Euler's step, corrected by the prediction at its end. The last step, to eta = 0, is not corrected."""
        to = schedule.eta_prev
        f, euler, end = self._prediction(schedule.eta), self._euler(schedule), self._prediction(to)
        slope = np.where(to == 0, f.slope, (f.slope + end.slope * euler.slope) / 2)
        offset = np.where(to == 0, f.offset, (f.offset + end.slope * euler.offset + end.offset) / 2)
        return self._flow_step(schedule, StepLines(slope, offset))


def _noise(schedule: Schedule, sampler: str) -> Numbers:
    return schedule.variance if find_sampler(sampler).draws_noise else np.zeros(schedule.steps)


def restoring_scales(world: GaussianWorld, schedule: Schedule, sampler: str = "ancestral") -> Numbers:
    """Compute the scale of every step (shape (T,), t = 1 first) that gives each marginal its true variance.

    The scales have a closed form. For a step with slope a and noise Sigma that starts from the variance V,
    (1 + scale)^2 a^2 V + Sigma must equal the true variance at eta_{t-1}. The scales are for guidance through the mean
    with the variance `posterior`, and any reference.
    """
    slope = world.lines(schedule, sampler).slope
    variance = world.marginal(schedule.eta)[1]
    variance[-1] = world.kappa**2 * schedule.eta[-1]  # the variance of the chain's start, close to the true one
    wanted = world.marginal(schedule.eta_prev)[1] - _noise(schedule, sampler)
    return np.sqrt(wanted / variance) / slope - 1


def restoring_temperature(world: GaussianWorld, schedule: Schedule) -> float:
    """Compute the temperature of all steps that gives the result of the ancestral sampler its true variance s^2.

    It has a closed form, because the variance of the result is linear in the squared temperature: the noise of a step
    reaches the result through the slopes of the later steps. Raises ValueError for a single step, which draws no noise.
    """
    if schedule.steps == 1:
        raise ValueError("restoring_temperature: a single step draws no noise; take two or more.")
    cold, plain = (world.moments(schedule, temperature=number).variance[-1] for number in (0.0, 1.0))
    return float(np.sqrt((world.s**2 - cold) / (plain - cold)))


def constant_scale(world: GaussianWorld, schedule: Schedule, sampler: str = "ancestral") -> float:
    """Find the constant scale that gives the result, but not the steps before it, its true variance s^2."""
    from scipy.optimize import brentq

    def excess(scale: float) -> float:
        guidance = Guidance(reference=world.y, scale=scale)
        return world.moments(schedule, sampler, [guidance]).variance[-1] - world.s**2

    high = 0.1
    while excess(high) < 0:
        high *= 2
    return brentq(excess, -0.99, high, xtol=1e-14)  # pyright: ignore[reportReturnType]


def divergence_scale(world: GaussianWorld, schedule: Schedule, sampler: str = "ancestral") -> float:
    """Compute the constant scale beyond which the chain diverges: prod_t slope_t^(-1/T) - 1.

    Two chains with the same noise end prod_t (1 + scale) slope_t times as far apart as they began. The product of the
    slopes tends to a constant as steps get finer, so this threshold falls as 1/T, below any fixed scale. The distance
    and the result's variance then grow as (1 + scale)^T.
    """
    return float(np.exp(-np.mean(np.log(np.abs(world.lines(schedule, sampler).slope)))) - 1)


def distortion_front(world: GaussianWorld, perception: Numbers, spread: float = 0.0) -> Numbers:
    """Compute the least mean squared error, per element, of estimators at the distance `perception` (W2) from the data.

    D(P) = D* + max(P* - P, 0)^2 (Freirich, Michaeli and Meir, NeurIPS 2021), where the posterior mean has D* = s^2 and
    P* = sqrt(spread^2 + s^2) - spread. `spread` is the standard deviation of m over images; y moves along with m. With
    0, the perception compares the results of one LR image with the data given that image.
    """
    at_mean = np.hypot(spread, world.s) - spread
    return world.s**2 + np.maximum(at_mean - perception, 0) ** 2


def distortion_place(world: GaussianWorld, mean: Any, variance: Any, spread: float = 0.0) -> tuple[Any, Any]:
    """Compute (perception W2, distortion MSE) per element of a sampler with results N(mean, variance), from `moments`.

    The sampler draws anew: given y_0, its results are independent of x_0. For `spread`, see `distortion_front`.
    """
    bias = np.square(mean - world.m)
    gap = np.sqrt(spread**2 + variance) - np.hypot(spread, world.s)
    return np.sqrt(bias + np.square(gap)), bias + variance + world.s**2

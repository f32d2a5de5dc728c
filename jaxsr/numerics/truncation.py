"""Local truncation error: one coarse step of a sampler against the exact flow from the same x_t.

The exact flow is dv/dlam = f(x, s) in s = sqrt(eta), v = x/s - s y, lam = 1/s - s (see `jaxsr.diffusion.sampler`).
It has three sources:

- the Gaussian world: `GaussianWorld.flow`, closed form;
- `continuous_ends`, for a denoiser of continuous eta: diffrax (Dopri5, adaptive), float64;
- `fine_ends`, for a network, which knows only the times of its own schedule: our `heun` over every row in between,
  60 steps from eta_T to 0 for the models here, float32. Compared with the closed form, its own error is below 0.1 % of
  the error of a first-order sampler's step with 4 steps, and 3 % where the schedule's own rows are farthest apart
  (t = 2). From eta_1 to 0 both take one Euler step. Nothing is therefore measured at t = 1 if the coarse schedule keeps
  the first row.

`ancestral` is stochastic: its mean is that of the reverse SDE, which leaves room for the noise. The mean differs from
the flow by a term of first order in the step, however fine. It is measured all the same, as in the paper.
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from jaxsr.diffusion import Denoiser, Schedule, StepTables, find_sampler
from jaxsr.diffusion.process import Latent
from jaxsr.errors import install

States = Float[Array, "t b h w c"]
ContinuousDenoiser = Callable[[Any, Any], Any]
"""(x_t, eta) -> x0_hat for any eta in (0, 1), in x_t's own floating-point type."""

_LAST_S = 1e-6  # sqrt(eta) from which one Euler step ends the flow, because (x - f)/s is 0/0 at the end


def rows_of(fine: Schedule, coarse: Schedule) -> Int[np.ndarray, " t"]:
    """Return the rows of `fine` that its thinning `coarse` keeps.

    Raises ValueError if `coarse` has an eta that `fine` lacks.
    """
    rows = np.searchsorted(fine.eta, coarse.eta * (1 - 1e-12))
    if rows.max() >= fine.steps or not np.allclose(fine.eta[rows], coarse.eta, rtol=1e-9, atol=0):
        raise ValueError("truncation: the coarse schedule must be a thinning of the fine one.")
    return rows


def restrict(denoise: Denoiser, rows: Int[np.ndarray, " n"]) -> Denoiser:
    """Make the denoiser of `schedule.select(rows)` from the denoiser of `schedule`."""
    table = jnp.asarray(rows, jnp.int32)
    return lambda x, step: denoise(x, table[step])


def fine_ends(
    denoise: Denoiser,
    fine: Schedule,
    z_lr: Float[Array, "b h w c"],
    states: States,
    start: Int[np.ndarray, " t"],
    end: Int[np.ndarray, " t"],
    *,
    sampler: str = "heun",
) -> States:
    """Move every state along the flow from row `start` to row `end` of `fine` (-1: to eta = 0). Pure.

    Raises ValueError for a `sampler` that does not follow the flow.
    """
    stepper, draws_noise = find_sampler(sampler)
    if draws_noise:
        raise ValueError(
            f"sampler: {sampler!r} draws noise, so it does not follow the flow; choose heun or deterministic."
        )
    tables = fine.tables()

    def flow(scanned: tuple[Latent, Array, Array]) -> Latent:
        x, first, last = scanned

        def body(k: Array, x: Latent) -> Latent:
            row = jax.tree.map(lambda column: column[first - k], tables)
            return stepper(denoise, x, z_lr, row)[1]

        return jax.lax.fori_loop(0, first - last, body, x)

    return jax.lax.map(flow, (states, jnp.asarray(start, jnp.int32), jnp.asarray(end, jnp.int32)))


def continuous_ends(
    f: ContinuousDenoiser,
    z_lr: Float[Array, "b h w c"],
    states: States,
    eta: Float[np.ndarray, " t"],
    eta_to: Float[np.ndarray, " t"],
    *,
    rtol: float = 1e-9,
    atol: float = 1e-9,
) -> Float[np.ndarray, "t b h w c"]:
    """Move every state along the flow from `eta` to `eta_to` (0 for the data), by diffrax in float64, on the host.

    Dopri5, with relative and absolute tolerances `rtol` and `atol` per step, solves for x over s = sqrt(eta):
    dx/ds = (x - f)/s + s (y - f). Do not call this function inside `jit`.
    Raises ModuleNotFoundError if diffrax is missing.
    """
    try:
        import diffrax  # pyright: ignore[reportMissingImports]
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(f"continuous_ends needs diffrax: {install('notebooks')}.") from error

    def slope(s: Any, x: Any, y: Any) -> Any:
        prediction = f(x, s * s)
        return (x - prediction) / s + s * (y - prediction)

    @jax.jit
    def solve(x: Latent, y: Latent, s: Array, s_to: Array) -> Latent:
        controller = diffrax.PIDController(rtol=rtol, atol=atol)
        solution = diffrax.diffeqsolve(
            diffrax.ODETerm(slope), diffrax.Dopri5(), s, s_to, None, x, args=y,
            stepsize_controller=controller, saveat=diffrax.SaveAt(t1=True), max_steps=100_000,
        )  # fmt: skip
        return solution.ys[0]  # pyright: ignore[reportOptionalSubscript]

    ends = []
    with jax.enable_x64(True):
        y = jnp.asarray(np.asarray(z_lr, np.float64))
        for x, s, s_to in zip(np.asarray(states, np.float64), np.sqrt(eta), np.sqrt(eta_to), strict=True):
            x = solve(jnp.asarray(x), y, jnp.asarray(s), jnp.asarray(max(s_to, _LAST_S)))
            ends.append(np.asarray(x if s_to else f(x, jnp.asarray(_LAST_S**2))))
    return np.stack(ends)


def step_means(
    denoise: Denoiser, rows: StepTables, z_lr: Float[Array, "b h w c"], states: States, sampler: str
) -> States:
    """Compute the mean of the sampler's step from every state, with one row of `schedule.tables()` for each. Pure.

    Raises ValueError for an unknown sampler.
    """
    stepper = find_sampler(sampler).step
    step = lambda scanned: stepper(denoise, scanned[0], z_lr, scanned[1])[1]  # noqa: E731
    return jax.lax.map(step, (states, rows))


def local_errors(
    denoise: Denoiser,
    schedule: Schedule,
    z_lr: Float[Array, "b h w c"],
    states: States,
    ends: States,
    sampler: str = "ancestral",
) -> States:
    """Compute exact - approximate: x_{t-1} of the flow minus the mean of the sampler's step, from the same x_t. Pure.

    Args:
        denoise, schedule: denoiser and schedule of the coarse steps; t = 1 first, as everywhere.
        z_lr: latent of the LR image.
        states: x_t of every step.
        ends: the states moved along the exact flow to eta_{t-1}.
        sampler: the sampler whose step is measured.
    """
    return ends - step_means(denoise, schedule.tables(), z_lr, states, sampler)


def spans_to_rows(row: int, spans: Sequence[int]) -> tuple[Int[np.ndarray, " n"], Int[np.ndarray, " n"]]:
    """Return (start, end) rows of steps from `row` over `spans` rows. Raises ValueError if a step leaves the rows."""
    if not all(1 <= span <= row for span in spans):
        raise ValueError(f"order: steps from row {row} can span 1 to {row} rows, not {list(spans)}.")
    return np.full(len(spans), row), row - np.asarray(spans)


def span_means(
    denoise: Denoiser, fine: Schedule, z_lr: Float[Array, "b h w c"], x: Latent, row: int, spans: Sequence[int],
    sampler: str,
) -> States:  # fmt: skip
    """Compute the means of the sampler's steps over `spans` rows of `fine`, all from `x` at `row`. Pure."""
    pairs = np.stack(spans_to_rows(row, spans)[::-1], 1)
    tables = [jax.tree.map(lambda column: column[1], fine.select(pair).tables()) for pair in pairs]
    rows = jax.tree.map(lambda *columns: jnp.stack(columns), *tables)
    rows = rows._replace(step=2 * jnp.arange(len(pairs), dtype=jnp.int32) + 1)
    return step_means(restrict(denoise, pairs.reshape(-1)), rows, z_lr, jnp.stack([x] * len(pairs)), sampler)

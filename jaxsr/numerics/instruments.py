"""The instruments of the study, set up for one model. Each is a function of one pair of images to named arrays.

The arrays are small (no images). They are kept on disk image by image, and `jaxsr.numerics.tables` makes them tables.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key

from jaxsr.diffusion import SAMPLERS, Denoiser, Guidance, Noise, Schedule, normal_noise, trajectory
from jaxsr.models.model import Model, Params
from jaxsr.models.problem import Problem, pose
from jaxsr.numerics.dispersion import measure_point
from jaxsr.numerics.errors import forward_states, modular_error, patch_sums
from jaxsr.numerics.regression import regress
from jaxsr.numerics.trajectories import REFERENCE_KINDS, Paths, alignment, paths, pca_plane, radial_spectrum
from jaxsr.numerics.truncation import fine_ends, local_errors, restrict, span_means, spans_to_rows
from jaxsr.runtime.compilation import compiler_options

LR = Float[Any, "1 h w 3"]
HR = Float[Any, "1 H W 3"]
Results = dict[str, np.ndarray]
Measure = Callable[[Params, LR, HR, Key[Array, ""]], Results]
"""(parameters, LR image, HR image, key), images in [0, 1] -> named arrays."""

_PATCH_VALUES = 48


class UnfitError(ValueError):
    """An instrument cannot measure this model. The message says why."""


@dataclass(frozen=True, eq=False)
class Setup:
    """The setup of a study: the model, its schedules, the sampler, and the settings that the dispersion compares.

    Attributes:
        model: the model's pure functions.
        fine: the finest schedule that the network knows, for the reference.
        rows: rows of `fine` that the coarse schedule keeps.
        sampler: sampler at whose states the errors are measured.
        compared: schedules of different step counts (thinnings of `fine`), for the dispersion.
        scales: constant guidance scales of the coarse schedule, for the dispersion.
        draws: samples of each image, for the dispersion.
    """

    model: Model
    fine: Schedule
    rows: Int[np.ndarray, " t"]
    sampler: str
    compared: Sequence[Schedule]
    scales: Sequence[float]
    draws: int = 4

    @property
    def coarse(self) -> Schedule:
        """The schedule that is studied."""
        return self.fine.select(self.rows)

    @property
    def spans(self) -> tuple[int, ...]:
        """The lengths of the order study's steps, in rows of `fine`. The reference takes 4 steps for the shortest."""
        return tuple(2**k for k in range(2, 12) if 2**k <= self.order_row)

    @property
    def order_row(self) -> int:
        """The row of `fine` where the steps of the order study start: two thirds of the way."""
        return 2 * (self.fine.steps - 1) // 3

    def problem(self, params: Params, lr: LR, key: Key[Array, ""]) -> Problem:
        """Pose an LR image on the finest schedule, with the noise of a chain of the coarse schedule."""
        return pose(self.model, params, self.fine, lr, partial(self.noise, key))

    def noise(self, key: Key[Array, ""], shape: tuple[int, ...]) -> Noise:
        """Make the noise of a chain of the coarse schedule."""
        return normal_noise(key, len(self.rows), shape)


def _on_host(function: Callable[..., dict]) -> Callable[..., Results]:
    jitted = jax.jit(function, compiler_options=compiler_options())
    return lambda *arguments: {name: np.asarray(values) for name, values in jitted(*arguments).items()}


def errors_instrument(setup: Setup) -> Measure:
    """Make the instrument for modular errors (at forward states and the sampler's) and sums for cumulative errors."""

    def measure(params: Params, lr: LR, hr: HR, key: Key[Array, ""]) -> dict[str, Array]:
        sampler_key, forward_key = jax.random.split(key)
        problem = setup.problem(params, lr, sampler_key)
        z_lr, z_hr, coarse = problem.z_lr, problem.encode(hr), setup.coarse
        denoise = restrict(problem.denoise, setup.rows)
        steps = trajectory(denoise, coarse, z_lr, problem.noise, sampler=setup.sampler)
        forward = forward_states(coarse, z_lr, z_hr, setup.noise(forward_key, z_lr.shape))
        ours = steps.x_t[::-1]
        return {
            "modular/forward": modular_error(denoise, coarse, z_hr, forward)[:, 0],
            "modular/sampler": modular_error(denoise, coarse, z_hr, ours)[:, 0],
            "ours": jnp.concatenate([steps.sample[-1:], ours[:-1]])[:, 0] - z_lr,
            "truth": jnp.concatenate([z_hr[None], forward[:-1]])[:, 0] - z_lr,
        }

    on_host = _on_host(measure)

    def with_sums(*arguments: Any) -> Results:
        found = on_host(*arguments)
        for name in ("ours", "truth"):
            states = found.pop(name)
            patch = max(1, round((_PATCH_VALUES / states.shape[-1]) ** 0.5))
            found |= {f"{name}/{field}": v for field, v in patch_sums(states, patch)._asdict().items()}
        return found

    return with_sums


def truncation_instrument(setup: Setup) -> Measure:
    """Make the instrument for local errors: RMS, joint moments with every KL gradient, and steps of several lengths.

    `reference_gap` is the RMS between the fine reference and the first-order sampler over the same rows: an upper
    bound of the reference's own error.
    Raises UnfitError if the network's schedule is too short for a reference.
    """
    fine, rows, coarse = setup.fine, setup.rows, setup.coarse
    if fine.steps < 2 * len(rows) or not setup.spans:
        raise UnfitError(
            f"truncation: the network knows {fine.steps} steps, too few for a reference of {len(rows)} steps; "
            "study fewer --steps, or a model trained with more."
        )
    ends_at = np.array([-1, *rows[:-1]])

    def measure(params: Params, lr: LR, hr: HR, key: Key[Array, ""]) -> dict[str, Array]:
        problem = setup.problem(params, lr, key)
        denoise_fine, z_lr, z_hr = problem.denoise, problem.z_lr, problem.encode(hr)
        denoise = restrict(denoise_fine, rows)
        steps = trajectory(denoise, coarse, z_lr, problem.noise, sampler=setup.sampler)
        states = steps.x_t[::-1]
        ends = fine_ends(denoise_fine, fine, z_lr, states, rows, ends_at)
        first_order = fine_ends(denoise_fine, fine, z_lr, states, rows, ends_at, sampler="deterministic")
        found = {"reference_gap": _rms(ends - first_order), "moved": _rms(ends - states)}
        for sampler in SAMPLERS:
            errors = local_errors(denoise, coarse, z_lr, states, ends, sampler)
            found[f"rms/{sampler}"] = _rms(errors)
            for gradient, sums in regress(denoise, coarse, z_lr, z_hr, states, errors, sampler=sampler).items():
                found["/".join(("regress", sampler, *gradient.words().values()))] = jnp.stack(sums)[..., 0]
        return found | _order(setup, denoise_fine, z_lr, z_hr, problem.noise(jnp.int32(0)))

    return _on_host(measure)


def _order(setup: Setup, denoise: Denoiser, z_lr: Array, z_hr: Array, eps: Array) -> dict[str, Array]:
    fine, row, spans = setup.fine, setup.order_row, setup.spans
    eta = float(fine.eta[row])
    x = z_hr + eta * (z_lr - z_hr) + fine.kappa * eta**0.5 * eps
    start, end = spans_to_rows(row, spans)
    ends = fine_ends(denoise, fine, z_lr, jnp.stack([x] * len(spans)), start, end)
    means = {sampler: span_means(denoise, fine, z_lr, x, row, spans, sampler) for sampler in SAMPLERS}
    return {f"order/{sampler}": _rms(ends - mean) for sampler, mean in means.items()}


def _rms(values: Float[Array, "t b h w c"]) -> Float[Array, " t"]:
    return jnp.sqrt(jnp.square(values).mean((1, 2, 3, 4)))


def trajectories_instrument(setup: Setup) -> Measure:
    """Make the instrument for paths (alignment and plane, every kind of reference) and spectra of decoded results."""

    def measure(params: Params, lr: LR, hr: HR, key: Key[Array, ""]) -> dict[str, Any]:
        problem = setup.problem(params, lr, key)
        latents, denoise = (problem.z_lr, problem.encode(hr)), restrict(problem.denoise, setup.rows)
        choose = partial(paths, denoise, setup.coarse, *latents, problem.noise, sampler=setup.sampler)
        found = {kind: choose(reference=kind) for kind in REFERENCE_KINDS}
        images = [problem.decode(z, clip=False) for z in (found["diffusion"].sr[0], problem.z_lr)]
        return {**{kind: jnp.stack(p) for kind, p in found.items()}, "sr": images[0], "lr": images[1]}

    on_host = _on_host(measure)

    def described(params: Params, lr: LR, hr: HR, key: Key[Array, ""]) -> Results:
        found, results = on_host(params, lr, hr, key), {}
        for kind in REFERENCE_KINDS:
            three = Paths(*found[kind])
            plane = pca_plane(three)
            results[f"alignment/{kind}"] = alignment(three)[:, 0]
            results[f"plane/{kind}"] = np.stack([plane.points[name] for name in Paths._fields])
            results[f"explained/{kind}"] = plane.explained
        sr, original = found["sr"], np.asarray(hr)
        pictures = {"hr": original, "sr": sr, "lr": found["lr"], "error": sr - original}
        spectra = {name: radial_spectrum(picture) for name, picture in pictures.items()}
        return results | {f"spectrum/{name}": one.power[0] for name, one in spectra.items()}

    return described


def dispersion_instrument(setup: Setup) -> Measure:
    """Make the instrument for points: one for every compared step count and every scale of the coarse schedule."""

    def at(schedule: Schedule) -> Callable[..., Results]:
        rows = np.searchsorted(setup.fine.eta, schedule.eta)

        def measure(params: Params, lr: LR, hr: HR, key: Key[Array, ""], scale: Float[Any, ""]) -> dict[str, Array]:
            problem = setup.problem(params, lr, key)
            options = {"draws": setup.draws, "sampler": setup.sampler, "border": setup.model.preset.scale}
            guidance = [Guidance(reference=problem.z_lr, scale=scale)]
            denoise, decode = restrict(problem.denoise, rows), partial(problem.decode, clip=False)
            found = measure_point(denoise, schedule, problem.z_lr, hr, decode, key, guidance=guidance, **options)
            return found._asdict()

        return _on_host(measure)

    measures = {schedule.steps: at(schedule) for schedule in (*setup.compared, setup.coarse)}
    settings = [(schedule.steps, 0.0) for schedule in setup.compared]
    settings += [(len(setup.rows), scale) for scale in setup.scales]

    def measure(*arguments: Any) -> Results:
        found = {f"{n} {scale}": measures[n](*arguments, np.float32(scale)) for n, scale in settings}
        return {
            f"{name}/{field}": np.asarray(values[0]) for name, point in found.items() for field, values in point.items()
        }

    return measure


INSTRUMENTS: dict[str, Callable[[Setup], Measure]] = {
    "errors": errors_instrument,
    "truncation": truncation_instrument,
    "trajectories": trajectories_instrument,
    "dispersion": dispersion_instrument,
}

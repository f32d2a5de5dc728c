"""A whole calibration: the open loop over all pairs, the closed loop over all candidates, and their presets."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jaxtyping import Float

from jaxsr.calibration import objectives
from jaxsr.calibration.candidates import Numbers, plain_numbers, rows_of
from jaxsr.calibration.closed_loop import closed_loop, describe_preset, numbers_of
from jaxsr.calibration.journal import Journal
from jaxsr.calibration.passes import OPEN, go_through
from jaxsr.calibration.plan import CalibrationRun, describe, make_chain
from jaxsr.calibration.scores import keep_images, load_networks, make_score, network_shapes
from jaxsr.calibration.sweep import Networks, image_keys, open_function, sweep_function
from jaxsr.calibration.work import calls_left
from jaxsr.guidance.calibration_file import Calibration
from jaxsr.guidance.fits import fit_lr_scale, fit_reference
from jaxsr.guidance.moments import Moments
from jaxsr.runtime.compilation import compiler_options
from jaxsr.runtime.devices import image_mesh, over_images, replicate
from jaxsr.storage import part_file

_ASKED = (
    "losses",
    "metric_weights",
    "metrics",
    "multiples",
    "profiles",
    "projections",
    "rule",
    "search",
    "temperatures",
)

Extras = Callable[[Calibration], None]


def calibrate(
    run: CalibrationRun, output: Path, *, overwrite: bool = False, extras: Extras = lambda calibration: None
) -> Calibration:
    """Calibrate a model and write the file `output`. A stopped run resumes from `<output>.part`.

    With `overwrite`, a stopped run with other choices is dropped. `extras` writes what stands beside the file, in
    process 0. It comes before the file, so that a run killed in between is resumed.

    Raises:
        ValueError: if crops or steps do not fit the model or a metric, a stopped run has other choices, or the weights
            of a metric are damaged.
        OSError: if the weights of a metric are unavailable.
        NotFiniteError: if the model or a metric returns numbers that are not finite.
    """
    choices = run.choices
    _check_metrics(run)
    described, networks = describe(run.upscaler, run.pairs, choices), load_networks(choices.metrics)
    chain = make_chain(run.upscaler, run.pairs, choices)
    variance = chain.schedule.variance_clipped
    with Journal(part_file(output), described, overwrite=overwrite) as journal:
        run.announce(calls_left(run, journal), chain.model, chain.schedule)
        calibration = _measure(run, journal, described, networks, variance)
        if jax.process_index() == 0:
            extras(calibration)
            calibration.write(output)
        journal.remove()
    return calibration


def _measure(
    run: CalibrationRun,
    journal: Journal,
    described: dict[str, Any],
    networks: Networks,
    variance: Float[np.ndarray, " steps"],
) -> Calibration:
    """Measure what the journal lacks, and choose the presets."""
    choices = run.choices
    moments, against_hr = (open_loop(run, journal, name) for name in OPEN)
    grid = np.array(choices.multiples)
    opened = objectives.choose(moments, grid, choices.objective, variance).tolist()
    closed = closed_loop(run, journal, np.array(opened), networks) if choices.metrics else None
    scales = {
        "open-loop": (plain_numbers(opened), f"{choices.objective} objective"),
        "fitted": (plain_numbers(fit_lr_scale([moments], "lstsq", variance)), "pooled least squares"),
    }
    if closed:
        closed["metric_weights"] = described.get("metric_weights", {})
        picked = {name: closed["rows"][row] for name, row in closed["picks"].items()}
        scales |= {name: (numbers_of(row), choices.rules[name]) for name, row in picked.items()}
    presets = {
        name: describe_preset(choices, closed, *numbers, picked=name in choices.rules)
        for name, numbers in scales.items()
    }
    slope, offset = fit_reference([against_hr])
    return Calibration(
        **{key: value for key, value in described.items() if key not in _ASKED},
        model=run.name,
        presets=presets,
        reference={"slope": list(slope), "offset": list(offset)},
        open_loop=objectives.table(moments, grid, variance, seed=choices.seed, groups=run.pairs.groups),
        closed_loop=closed,
    )


def open_loop(run: CalibrationRun, journal: Journal, name: str) -> Moments:
    """Measure the moments of Algorithm 1 over all pairs, float64, in the pass `name`: against LR or HR."""
    mesh, seed = image_mesh(), run.choices.seed
    params = replicate(mesh, run.upscaler.weights(run.choices.options.precision))
    chain = make_chain(run.upscaler, run.pairs, run.choices)
    call = over_images(mesh, open_function(chain, run.choices.forward_ode, "lr" if name == OPEN[0] else "hr"))
    go_through(run, journal, name, lambda lr, hr: call(params, image_keys(seed, lr), lr, hr), (1, "pairs"))
    return Moments(**journal.stacked(name, range(len(run.pairs))))


def example_images(run: CalibrationRun, numbers: Sequence[Numbers]) -> Float[np.ndarray, "k h w 3"]:
    """Enlarge the first pair with each of these numbers, to images in [0, 1], on one device of this process."""
    chain = make_chain(run.upscaler, run.pairs, run.choices)
    strengths = tuple(dict.fromkeys(one.projection for one in numbers))
    sweep = sweep_function(chain, keep_images, run.candidate_batch, strengths)
    program = jax.jit(sweep, compiler_options=compiler_options())
    lr, hr = (crop[None] for crop in run.pairs[0])
    keys, params = image_keys(run.choices.seed, lr), run.upscaler.weights(run.choices.options.precision)
    images = np.asarray(program(params, keys, lr, hr, rows_of(numbers))["images"])[:, 0]
    return images[[i * len(strengths) + strengths.index(one.projection) for i, one in enumerate(numbers)]]


def _check_metrics(run: CalibrationRun) -> None:
    """Raise ValueError for crops that a metric cannot take, before anything is computed."""
    size, scale = run.pairs.crop, run.upscaler.preset.scale
    lr, hr = (jax.ShapeDtypeStruct((1, side, side, 3), np.float32) for side in (size, size * scale))
    for name in run.choices.metrics:
        try:
            jax.eval_shape(make_score((name,), scale), hr, hr, lr, network_shapes((name,)))
        except ValueError as error:
            raise ValueError(f"--crop: LR crops of {size} pixels are too small for {name}: {error}") from error

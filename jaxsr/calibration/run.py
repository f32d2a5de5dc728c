"""A whole calibration: the open loop over all pairs, the closed loop over all candidates, and their presets."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

import jax
import numpy as np
from jaxtyping import Float, UInt8

from jaxsr.calibration import objectives, selection_rules
from jaxsr.calibration.candidates import Candidate, even_chunks, expand
from jaxsr.calibration.journal import Journal
from jaxsr.calibration.plan import Choices, describe, make_chain
from jaxsr.calibration.scores import keep_images, load_networks, make_score, network_shapes
from jaxsr.calibration.sweep import Networks, image_keys, open_function, sweep_function
from jaxsr.data.pairs import PairSet
from jaxsr.data.prefetch import prefetch
from jaxsr.errors import NotFiniteError
from jaxsr.guidance.calibration_file import Calibration, KnobPreset
from jaxsr.guidance.moments import Moments
from jaxsr.runtime.compilation import compiler_options
from jaxsr.runtime.devices import image_mesh, over_images, own_share, replicate
from jaxsr.upscaling.upscaler import Upscaler

Values = dict[str, np.ndarray]
Call = Callable[[np.ndarray, np.ndarray], Values]
"""(LR crops, HR crops) of one batch -> {name: (rows, b)}."""
_ASKED = ("profiles", "metrics", "rule", "metric_weights")


@dataclass(frozen=True, kw_only=True)
class CalibrationRun:
    """One calibration: the model, the pairs, the choices and the batch sizes. `calibrate` carries it out.

    Attributes:
        upscaler, name: the model and its name.
        pairs: pairs to calibrate on.
        choices: choices that decide the numbers.
        batch: images per call and device; affects only speed and memory.
        candidate_batch: candidates in the network at once; affects only speed and memory.
        progress: called with one line of text after every call.
    """

    upscaler: Upscaler
    name: str
    pairs: PairSet
    choices: Choices
    batch: int = 1
    candidate_batch: int = 16
    progress: Callable[[str], None] = lambda line: None


def calibrate(run: CalibrationRun, output: Path, *, overwrite: bool = False) -> Calibration:
    """Calibrate a model and write the file `output`. A stopped run resumes from `<output>.part`.

    With `overwrite`, a stopped run with other choices is dropped.

    Raises:
        ValueError: if crops or steps do not fit the model or a metric, a stopped run has other choices, or the weights
            of a metric are damaged.
        OSError: if the weights of a metric are unavailable.
        NotFiniteError: if the model or a metric returns numbers that are not finite.
    """
    choices = run.choices
    _check_metrics(run)
    described, networks = describe(run.upscaler, run.pairs, choices), load_networks(choices.metrics)
    journal = Journal(output.with_name(f"{output.name}.part"), described, overwrite=overwrite)
    moments, grid = open_loop(run, journal), np.array(choices.candidates)
    scales = {"open-loop": objectives.choose(moments, grid, choices.objective)}
    closed = closed_loop(run, journal, scales["open-loop"], networks) if choices.metrics else None
    if closed:
        closed["metric_weights"] = described.get("metric_weights", {})
        scales |= {preset: np.array(closed["rows"][row]["scale"]) for preset, row in closed["picks"].items()}
    stated = {"open-loop": f"{choices.objective} objective"} | choices.rules
    calibration = Calibration(
        **{key: value for key, value in described.items() if key not in _ASKED},
        model=run.name,
        presets={preset: KnobPreset(scale=scale.tolist(), rule=stated[preset]) for preset, scale in scales.items()},
        open_loop=objectives.table(moments, grid, seed=choices.seed, groups=run.pairs.groups),
        closed_loop=closed,
    )
    if jax.process_index() == 0:
        calibration.write(output)
    journal.remove()
    return calibration


def open_loop(run: CalibrationRun, journal: Journal) -> Moments:
    """Measure the moments of Algorithm 1 over all pairs, float64."""
    mesh, seed = image_mesh(), run.choices.seed
    params = replicate(mesh, run.upscaler.weights(run.choices.options.precision))
    chain = make_chain(run.upscaler, run.pairs, run.choices)
    call = over_images(mesh, open_function(chain, run.choices.forward_ode))
    _go_through(run, journal, "open", lambda lr, hr: call(params, image_keys(seed, lr), lr, hr), (1, "pairs"))
    return Moments(**journal.stacked("open", range(len(run.pairs))))


def closed_loop(
    run: CalibrationRun, journal: Journal, open_scale: Float[np.ndarray, " t"], networks: Networks
) -> dict[str, Any]:
    """Run the guided sampler for every candidate and pair, and return the table of `closed_table`.

    `networks` are the networks of the metrics, from `load_networks`.
    """
    mesh, choices = image_mesh(), run.choices
    weights = run.upscaler.weights(choices.options.precision)
    params, networks = replicate(mesh, (weights, dict(networks)))
    candidates = expand(choices.candidates, choices.profiles, open_scale)
    scales, chunk = even_chunks(candidates, run.candidate_batch)
    score = make_score(choices.metrics, run.upscaler.preset.scale)
    chain = make_chain(run.upscaler, run.pairs, choices)
    sweep = over_images(mesh, sweep_function(chain, score, chunk), common=2)

    def call(lr: np.ndarray, hr: np.ndarray) -> Values:
        values = sweep(params, image_keys(choices.seed, lr), lr, hr, scales, networks)
        return {key: value[: len(candidates)] for key, value in values.items()}

    _go_through(run, journal, "closed", call, (len(candidates), "candidate-images"))
    return closed_table(choices, candidates, journal.stacked("closed", range(len(run.pairs))))


def closed_table(
    choices: Choices, candidates: Sequence[Candidate], values: dict[str, Float[np.ndarray, "k n"]]
) -> dict[str, Any]:
    """Collect every candidate with its mean scores, the Pareto front, and the row of each preset, as JSON values.

    A candidate that diverged on some image has no score there. Its mean is null, and no rule picks it.
    """
    table = {name: scores.mean(1) for name, scores in values.items()}
    fidelity, perception = choices.stands_for("fidelity"), choices.stands_for("perception")
    picks = {
        preset: selection_rules.pick(table, selection_rules.parse(rule, fidelity, perception), 0)
        for preset, rule in choices.rules.items()
    }
    means = [{name: float(table[name][k]) for name in table} for k in range(len(candidates))]
    finite = [{name: value if np.isfinite(value) else None for name, value in row.items()} for row in means]
    rows = [asdict(candidate) | row for candidate, row in zip(candidates, finite, strict=True)]
    front = selection_rules.pareto_front(table, fidelity, perception)
    return {"fidelity": fidelity, "perception": perception, "rows": rows, "front": front, "picks": picks}


def example_images(run: CalibrationRun, scales: Float[np.ndarray, "k t"]) -> Float[np.ndarray, "k h w 3"]:
    """Enlarge the first pair with each row of scales, to images in [0, 1], on one device of this process."""
    chain = make_chain(run.upscaler, run.pairs, run.choices)
    sweep = sweep_function(chain, keep_images, run.candidate_batch)
    program = jax.jit(sweep, compiler_options=compiler_options())
    lr, hr = (crop[None] for crop in run.pairs[0])
    keys, params = image_keys(run.choices.seed, lr), run.upscaler.weights(run.choices.options.precision)
    return np.asarray(program(params, keys, lr, hr, scales.astype(np.float32))["images"])[:, 0]


def _check_metrics(run: CalibrationRun) -> None:
    """Raise ValueError for crops that a metric cannot take, before anything is computed."""
    size, scale = run.pairs.crop, run.upscaler.preset.scale
    lr, hr = (jax.ShapeDtypeStruct((1, side, side, 3), np.float32) for side in (size, size * scale))
    for name in run.choices.metrics:
        try:
            jax.eval_shape(make_score((name,), scale), hr, hr, lr, network_shapes((name,)))
        except ValueError as error:
            raise ValueError(f"--crop: LR crops of {size} pixels are too small for {name}: {error}") from error


def _go_through(run: CalibrationRun, journal: Journal, name: str, call: Call, work: tuple[int, str]) -> None:
    """Make the rows of a pass that the journal lacks, batch by batch over all devices. The next pairs load meanwhile.

    `work` is the amount that one pair adds to the work in the reported rate, and the unit of that work.
    """
    todo = sorted(set(range(len(run.pairs))) - journal.done(name))
    size = run.batch * jax.device_count()
    groups = [todo[start : start + size] for start in range(0, len(todo), size)]
    began, made = perf_counter(), 0
    for group, (lr, hr) in zip(groups, prefetch(_read(run.pairs, groups, size)), strict=True):
        values = call(lr, hr)
        _check_finite(name, values, [run.pairs.name(i) for i in group])
        rows = {i: {key: value[:, at].tolist() for key, value in values.items()} for at, i in enumerate(group)}
        journal.append(name, rows)
        made += len(group)
        rate = made * work[0] / (perf_counter() - began)
        done, left = len(run.pairs) - len(todo) + made, (len(todo) - made) * work[0] / rate
        run.progress(f"{name} loop: {done}/{len(run.pairs)} pairs, {rate:.3g} {work[1]}/s, {left:.0f} s left")


def _read(
    pairs: PairSet, groups: Sequence[Sequence[int]], size: int
) -> Iterator[tuple[UInt8[np.ndarray, "b p p 3"], UInt8[np.ndarray, "b s s 3"]]]:
    """Yield this process's (LR crops, HR crops) of every group. Copies of a group's last pair fill it up to `size`."""
    for group in groups:
        full = [*group, *[group[-1]] * (size - len(group))]
        lr, hr = zip(*(pairs[i] for i in own_share(full)), strict=True)
        yield np.stack(lr), np.stack(hr)


def _check_finite(pass_name: str, values: Values, names: Sequence[str]) -> None:
    """Raise NotFiniteError for numbers that are not finite.

    In the closed loop only the plain sampler is checked, because a candidate may diverge.
    """
    for at, name in enumerate(names):
        rows = {key: value[:, at] if pass_name == "open" else value[:1, at] for key, value in values.items()}
        bad = [key for key, numbers in rows.items() if not np.isfinite(numbers).all()]
        if bad and (pass_name == "open" or len(bad) == len(rows)):
            raise NotFiniteError(
                f"{name}: the network returned numbers that are not finite; check the model's weights, or give "
                "--precision fp32."
            )
        if bad:
            raise NotFiniteError(f"{name}: {bad[0]} is not finite for this image; leave out the image, or the metric.")

"""The closed loop: every candidate samples every pair, rules pick rows of the table, and a search refines the picks."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from jaxtyping import Float

from jaxsr.calibration import selection_rules
from jaxsr.calibration.candidates import Candidate, Numbers, even_chunks, expand, with_projections
from jaxsr.calibration.journal import Journal
from jaxsr.calibration.passes import CLOSED, Values, go_through
from jaxsr.calibration.plan import CalibrationRun, Choices, make_chain
from jaxsr.calibration.scores import make_score
from jaxsr.calibration.search import search
from jaxsr.calibration.sweep import Networks, image_keys, sweep_function
from jaxsr.guidance.calibration_file import KnobPreset
from jaxsr.runtime.devices import image_mesh, over_images, replicate

Scores = dict[str, Float[np.ndarray, "k n"]]
"""Metric -> its value for every candidate and pair."""


def closed_loop(
    run: CalibrationRun, journal: Journal, open_scale: Float[np.ndarray, " t"], networks: Networks
) -> dict[str, Any]:
    """Run the guided sampler for every candidate and pair, search on, and return the table of `closed_table`.

    `networks` are the networks of the metrics, from `load_networks`.
    """
    mesh, choices, pairs = image_mesh(), run.choices, range(len(run.pairs))
    weights = run.upscaler.weights(choices.options.precision)
    params, networks = replicate(mesh, (weights, dict(networks)))
    score = make_score(choices.metrics, run.upscaler.preset.scale)
    chain = make_chain(run.upscaler, run.pairs, choices)
    scores: Scores = {}

    def measure(name: str, candidates: list[Candidate]) -> None:
        rows, chunk = even_chunks(candidates, run.candidate_batch)
        sweep = over_images(mesh, sweep_function(chain, score, chunk, choices.projections), common=2)
        count = len(candidates) * len(choices.projections)

        def call(lr: np.ndarray, hr: np.ndarray) -> Values:
            values = sweep(params, image_keys(choices.seed, lr), lr, hr, rows, networks)
            return {key: value[:count] for key, value in values.items()}

        go_through(run, journal, name, call, (count, "candidate-images"))
        for key, values in journal.stacked(name, pairs).items():
            scores[key] = np.concatenate([scores[key], values]) if key in scores else values

    first = expand(choices.candidates, choices.profiles, open_scale, choices.temperatures)
    measure(CLOSED, first)
    rows = with_projections(first, choices.projections)
    pick = lambda rows: pick_rows(choices, scores)  # noqa: E731
    settings = {"projections": choices.projections, "warm": bool(choices.temperatures)}
    rows = search(rows, choices.search, pick, measure, **settings)
    return closed_table(choices, rows, scores)


def pick_rows(choices: Choices, scores: Scores) -> dict[str, int]:
    """Return the row that each rule picks, by the names of their presets."""
    table, words = _means(scores), (choices.stands_for("fidelity"), choices.stands_for("perception"))
    return {
        preset: selection_rules.pick(table, selection_rules.parse(rule, *words), 0)
        for preset, rule in choices.rules.items()
    }


def closed_table(choices: Choices, candidates: Sequence[Candidate], scores: Scores) -> dict[str, Any]:
    """Collect every candidate with its mean scores, the Pareto front, and the row of each preset, as JSON values.

    A candidate that diverged on some image has no score there. Its mean is null, and no rule picks it. The entry
    `picks_before_search` holds what the rules pick without the rows of the search, and `picks_constant` what they pick
    among rows with one scale for all steps. `range` is the range of the front's scales per step, and `constant_range`
    that of the front of one scale for all steps; it is empty if no such scale was tried.
    """
    table = _means(scores)
    fidelity, perception = choices.stands_for("fidelity"), choices.stands_for("perception")
    finite = [
        {name: float(values[k]) if np.isfinite(values[k]) else None for name, values in table.items()}
        for k in range(len(candidates))
    ]
    before = sum(candidate.profile != "search" for candidate in candidates)
    constant = [k for k, one in enumerate(candidates) if len(set(one.scale)) == len(set(one.temperature)) == 1]
    front = selection_rules.pareto_front(table, fidelity, perception)
    some = {name: values[constant] for name, values in scores.items()}
    constant_front = [constant[k] for k in selection_rules.pareto_front(_means(some), fidelity, perception)]
    scales = np.array([candidate.scale for candidate in candidates])
    ends, tried = scales[constant_front, 0], len({candidates[k].scale for k in constant})
    return {
        "fidelity": fidelity,
        "perception": perception,
        "rows": [asdict(candidate) | row for candidate, row in zip(candidates, finite, strict=True)],
        "front": front,
        "picks": pick_rows(choices, scores),
        "picks_before_search": pick_rows(choices, {name: values[:before] for name, values in scores.items()}),
        "picks_constant": {name: constant[row] for name, row in pick_rows(choices, some).items()},
        "range": np.stack([scales[front].min(0), scales[front].max(0)], 1).tolist(),
        "constant_range": [[float(ends.min()), float(ends.max())]] if tried > 1 else [],
        "profiles": list(choices.profiles),
        "temperatures": list(choices.temperatures),
        "projections": list(choices.projections),
        "search": choices.search,
    }


def describe_preset(
    choices: Choices,
    closed: Mapping[str, Any] | None,
    numbers: Numbers,
    rule: str,
    *,
    picked: bool,
) -> KnobPreset:
    """Describe the numbers of a preset, with what the closed loop measured of them.

    Scales that no rule `picked` may lose much: if they lose more fidelity than `vivid` may, a warning says so.
    """
    row = _find_row(closed, numbers) if closed else None
    scale, temperature, projection = numbers
    lists = {"scale": list(scale), "temperature": list(temperature)}
    preset = KnobPreset(**lists, projection=projection, rule=rule, change={}, warning="")
    if closed is None or row is None:
        return preset
    names, plain = choices.metrics, closed["rows"][0]
    if any(row[name] is None for name in names):
        return KnobPreset({**preset, "warning": "diverged on the pairs of its calibration"})
    change = {name: row[name] - plain[name] for name in names}
    fidelity = selection_rules.check_metric(closed["fidelity"])
    words = (closed["fidelity"], closed["perception"])
    most = selection_rules.parse(choices.rules["vivid"], *words)
    lost = -change[closed["fidelity"]] if fidelity.more_is_better else change[closed["fidelity"]]
    budget = most.budget * (abs(plain[closed["fidelity"]]) if most.relative else 1)
    warning = f"lost {lost:.3g} {fidelity.unit or ''} of {closed['fidelity']} on the pairs of its calibration"
    warning = "" if picked or lost <= budget else warning.replace("  ", " ")
    if picked and rule == choices.rules["vivid"] and len(set(closed["picks"].values())) == 1:
        warning = "is the same as the other presets: give more candidates or more pairs"
    elif picked and row is plain:
        warning = "is the plain sampler: no candidate kept within its rule was better on the pairs of its calibration"
    return KnobPreset({**preset, "change": change, "warning": warning})


def numbers_of(row: Mapping[str, Any]) -> Numbers:
    """Return what a row of the closed loop's table changes."""
    return Numbers(tuple(row["scale"]), tuple(row["temperature"]), row["projection"])


def _find_row(closed: Mapping[str, Any], numbers: Numbers) -> dict[str, Any] | None:
    return next((row for row in closed["rows"] if numbers_of(row) == numbers), None)


def _means(scores: Scores) -> dict[str, Float[np.ndarray, " k"]]:
    return {name: values.mean(1) for name, values in scores.items()}

"""Makes the paper's table with our data: bicubic, other programs' results, and models plain and guided, on sets."""

import json
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from jaxsr.evaluation.datasets import fit_list, open_dataset
from jaxsr.evaluation.external import VARIANTS
from jaxsr.evaluation.images import load
from jaxsr.evaluation.methods import Method, bicubic_method, model_method
from jaxsr.evaluation.metrics import default_metrics, describe, why_missing
from jaxsr.evaluation.pairs import Item, attach_some
from jaxsr.evaluation.protocol_files import load_protocol
from jaxsr.evaluation.quoted import quoted
from jaxsr.evaluation.result import Result, restrict
from jaxsr.evaluation.resume import file_hashes, fingerprint
from jaxsr.evaluation.run import Evaluation, Report, evaluate, method_record, part_file
from jaxsr.evaluation.tables import render
from jaxsr.evaluation.timing import seconds_per_image, timing_table
from jaxsr.metrics.catalogue import METRICS
from jaxsr.options import Options
from jaxsr.storage import write_whole
from jaxsr.upscaling.upscaler import Upscaler

PROTOCOLS = {"set5": "set5", "set14": "set14", "div2k": "div2k-sub", "realsr": "realsr-sub", "kodak": "plain"}
PRESETS = ("faithful", "balanced", "vivid")
PRINTED = "open-loop"
"""The preset with the scales of the paper's Algorithm 1."""
STEPS = (4, 1, 15, 60)
NETWORKS = ("lpips", "dists")
"""Metrics that join the protocols' own where their weights are on this machine."""


@dataclass(frozen=True, kw_only=True)
class Suite:
    """A comparison of several methods on several sets.

    Attributes:
        models: the models by the names under which the user requested them, all of one scale.
        data: the folder that holds the sets.
        sets: names of sets in PROTOCOLS.
        protocol: name or file of one protocol for all sets; None for the protocol of each set in PROTOCOLS.
        limit: number of images of each set, spread evenly over it; None for all.
        steps: numbers of steps of the plain sampler. The other methods are compared with the first model at the first
            number, and guidance uses the first number.
        results: folders of results of other programs, by their names in the table. A folder may have one subfolder per
            set. A set's images without a result are left out of its row, which then stands in a table of its own.
        others: further methods, which come after bicubic.
        time: timed runs of every method on the first image of the first set; 0 times none.
        seeds: seeds of the samples.
        metrics: names of metrics that replace the protocols' own and NETWORKS, or None.
        command: the command that the results record.
        report: called with the name of each row of the table; returns the function to call after every result.
    """

    models: Mapping[str, Upscaler]
    data: Path
    sets: Sequence[str] = tuple(PROTOCOLS)
    protocol: str | None = None
    limit: int | None = None
    steps: Sequence[int] = STEPS
    results: Mapping[str, Path] = field(default_factory=dict)
    others: Sequence[Method] = ()
    time: int = 0
    seeds: tuple[int, ...] = (0,)
    metrics: tuple[str, ...] | None = None
    command: str = ""
    report: Callable[[str], Report] = lambda row: lambda count, name: None

    @property
    def base(self) -> str:
        """The name of the row that all others are compared with."""
        return in_steps(next(iter(self.models)), self.steps[0])

    @property
    def scale(self) -> int:
        return next(iter(self.models.values())).preset.scale


def run_suite(suite: Suite, folder: Path) -> list[Result]:
    """Evaluate every method on every set into `folder`, and write table.md, .csv and .tex there.

    An existing result is used as it is, and a stopped evaluation resumes. table.md also has published rows, marked as
    quoted.

    Raises:
        ValueError: if the data are missing, if the models differ in scale, if a folder has results of no set, or if an
            existing result belongs to another job.
    """
    scales = {name: upscaler.preset.scale for name, upscaler in suite.models.items()}
    if len(set(scales.values())) > 1:
        raise ValueError(
            f"--model: {', '.join(f'{name} has scale {n}' for name, n in scales.items())}; give one scale."
        )
    jobs = _jobs(suite)
    results = [_take_or_make(folder / job.data / file_name(job.name), job) for job in jobs]
    shown = [*results, *_on_the_images_of(results, {job.name for job in jobs if job.method is None})]
    extra = {"md": quoted(suite.sets) + _times(suite, jobs)}
    for form, name in (("md", "table.md"), ("csv", "table.csv"), ("latex", "table.tex")):
        write_whole(folder / name, render(shown, form, against=suite.base) + extra.get(form, ""))
    return results


def _times(suite: Suite, jobs: Sequence[Evaluation]) -> str:
    """Time the methods, and format the table; empty without timed runs."""
    if not suite.time:
        return ""
    first = [job for job in jobs if job.data == suite.sets[0] and job.method is not None]
    pair = load(first[0].items[0], first[0].protocol, make_lr=True).pairs[0]
    timed = [job.method for job in first if job.method is not None]
    return timing_table(seconds_per_image(timed, pair, suite.time), pair, suite.time, suite.scale)


def file_name(name: str) -> str:
    """Return the name of the file for the results of a method."""
    return f"{re.sub(r'[^A-Za-z0-9.]+', '-', name)}.json"


def in_steps(name: str, steps: int) -> str:
    """Name a model's row for a number of steps."""
    return f"{name}, {steps} step{'s' * (steps > 1)}"


def spread(items: Sequence[Item], limit: int | None) -> list[Item]:
    """Select `limit` items, spread evenly from the first on; all items if `limit` is None or too large."""
    count = min(limit or len(items), len(items))
    return [items[i * len(items) // count] for i in range(count)]


def methods(suite: Suite) -> list[Method]:
    """List the methods, one per row of the table, in order."""
    rows = [bicubic_method(suite.scale), *suite.others]
    for name, upscaler in suite.models.items():
        rows += _model_rows(name, upscaler, suite.steps)
    return rows


def _model_rows(name: str, upscaler: Upscaler, steps: Sequence[int]) -> list[Method]:
    """List the rows of a model: plain at all numbers of steps, guided by the LR image, and by the original."""
    presets, base = upscaler.find_calibration(Options(steps=steps[0])).calibration.presets, Options(steps=steps[0])
    guided = {PRINTED: "Algorithm 1"} | {preset: preset for preset in PRESETS}
    rows = [model_method(upscaler, Options(steps=n), name=in_steps(name, n), model=name) for n in sorted({*steps})]
    rows += [
        model_method(upscaler, base, name=f"{name}, {word}", model=name, preset=preset)
        for preset, word in guided.items()
        if preset in presets
    ]
    return [*rows, model_method(upscaler, base, name=f"{name}, HR guidance", model=name, hr_guidance=True)]


def _jobs(suite: Suite) -> list[Evaluation]:
    """List the evaluations of all sets: every method, and every folder that has results of the set."""
    jobs, rows = [], methods(suite)
    for name in suite.sets:
        protocol = load_protocol(suite.protocol or PROTOCOLS[name])
        protocol.check_scale(suite.scale)
        items = spread(fit_list(open_dataset(name, suite.data), protocol), suite.limit)
        shared = {"data": name, "protocol": protocol, "command": suite.command, "make_lr": True}
        shared["metrics"] = suite.metrics or default_metrics(protocol, target=True, lr=True, networks=NETWORKS)
        for row, folder in suite.results.items():
            if found := attach_some(items, _folder_of(folder, name)):
                report = suite.report(f"{name}, {row}")
                jobs.append(Evaluation(name=row, items=found, method=None, report=report, **shared))
        for method in rows:
            seeds, report = suite.seeds if method.random else suite.seeds[:1], suite.report(f"{name}, {method.name}")
            jobs.append(Evaluation(name=method.name, items=items, method=method, seeds=seeds, report=report, **shared))
    for row, folder in suite.results.items():
        if all(job.name != row for job in jobs):
            raise ValueError(f"--results: {folder} has no result of {', '.join(suite.sets)}; check folder and names.")
    return jobs


def _folder_of(folder: Path, name: str) -> Path:
    return folder / name if (folder / name).is_dir() else folder


def _on_the_images_of(results: Sequence[Result], partial: Collection[str]) -> list[Result]:
    """Restrict all results of a set to the images of a folder that lacks some of them, so that they can be compared."""
    restricted = []
    for few in (result for result in results if result.name in partial):
        whole = [r for r in results if r.data["name"] == few.data["name"] and r.data["images"] > few.data["images"]]
        restricted += [restrict(result, few) for result in whole]
    return restricted


def _take_or_make(output: Path, job: Evaluation) -> Result:
    """Return the existing result of a job; make it if it is missing, or if a part of it can be tried again.

    Raises ValueError if the file is another job's result.
    """
    existing = Result.read(output) if output.is_file() else None
    if existing is None or existing.failed:
        return evaluate(job, output)
    same = is_result_of(existing, job)
    if same and now_available(existing, job):
        return evaluate(job, output, overwrite=True)
    if part_file(output).exists():
        return evaluate(job, output)
    if not same:
        raise ValueError(f"{output}: is of other images, options or metrics; give another --output, or remove it.")
    return existing


def is_result_of(result: Result, job: Evaluation) -> bool:
    """Whether a result is complete and the job would give it: same files, protocol, metrics, method and seeds."""
    ours = [asdict(job.protocol), method_record(job), list(job.seeds)]
    same = json.loads(json.dumps(ours)) == [result.protocol, result.method, result.seeds]
    images = result.data.get("files_sha256") == fingerprint(file_hashes(job.items))
    variants = all(_is_variant(entry, name, job) for name, entry in result.metrics.items() if name in result.scored)
    return same and images and variants and not result.failed and [*result.metrics] == [*job.metrics]


def now_available(result: Result, job: Evaluation) -> list[str]:
    """List the metrics that a result lacks because their weights were missing, but that can be computed now."""
    lacking = (name for name in result.without if METRICS[name].measure and not why_missing(name, job.protocol))
    return [name for name in lacking if not _is_variant(result.metrics[name], name, job)]


def _is_variant(entry: dict[str, Any], name: str, job: Evaluation) -> bool:
    """Return whether a metric's variant starts as the job's would. Its end is known only after the measurement."""
    if theirs := METRICS[name].external:
        return entry["variant"].startswith(VARIANTS[theirs].changed(job.protocol.variant(name)).id)
    return entry["variant"].startswith(describe(name, job.protocol))

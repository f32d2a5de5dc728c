"""Makes the paper's table with our data: bicubic, other programs' results, and models plain and guided, on sets."""

import json
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from jaxsr.evaluation.datasets import fit_list, open_dataset
from jaxsr.evaluation.external import VARIANTS
from jaxsr.evaluation.images import Loaded
from jaxsr.evaluation.methods import Method, bicubic_method, model_method
from jaxsr.evaluation.metrics import check_metrics, default_metrics, describe, why_missing
from jaxsr.evaluation.pairs import Item, attach_some
from jaxsr.evaluation.protocol_files import load_protocol
from jaxsr.evaluation.quoted import quoted
from jaxsr.evaluation.reading import read
from jaxsr.evaluation.result import Result, restrict
from jaxsr.evaluation.resume import file_hashes, fingerprint
from jaxsr.evaluation.run import Evaluation, Report, evaluate_together, method_record
from jaxsr.evaluation.tables import render
from jaxsr.evaluation.timing import time_table, told_seconds
from jaxsr.guidance.calibration_file import CalibrationError
from jaxsr.metrics.catalogue import METRICS
from jaxsr.options import Options
from jaxsr.runtime.locks import locked
from jaxsr.storage import part_file, write_whole
from jaxsr.upscaling.upscaler import Upscaler

PROTOCOLS = {"set5": "set5", "set14": "set14", "div2k": "div2k-sub", "realsr": "realsr-sub", "kodak": "plain"}
PRESETS = ("faithful", "balanced", "vivid")
PRINTED = "open-loop"
"""The preset with the scales of the paper's Algorithm 1."""
STEPS = (4, 1, 15, 60)
NETWORKS = ("lpips", "dists")
"""Metrics that join the protocols' own where their weights are on this machine."""
QUOTED_SCALE = 4
"""The scale of the published rows."""

_Told = Mapping[str, Mapping[Path, float]]  # the seconds of the results that are files, by row and file


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
        others: further methods, which come after bicubic and the folders of results.
        time: timed runs of every method on the first image of the first set; 0 times none. The times of `results` are
            those of their `times.json`, if they have one.
        overwrite: whether results of other choices are replaced.
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
    overwrite: bool = False
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

    All rows of a set take an image in turns, so that they share the features of its original (`evaluate_together`). An
    existing result is used as it is, and a stopped evaluation resumes. table.md also has published rows, marked as
    quoted, and the times of the last run that measured them.

    Raises:
        ValueError: before any work, if the data are missing, if the models differ in scale, if two rows have one name,
            if a metric is unknown, if a folder has no result of a set, or if an existing result belongs to another job,
            unless `suite.overwrite` replaces it, and if another process makes a suite in the folder.
    """
    scales = {name: upscaler.preset.scale for name, upscaler in suite.models.items()}
    if len(set(scales.values())) > 1:
        raise ValueError(
            f"--model: {', '.join(f'{name} has scale {n}' for name, n in scales.items())}; give one scale."
        )
    jobs, notes = _jobs(suite)
    told = {name: told_seconds(results) for name, results in suite.results.items()} if suite.time else {}
    with locked(
        folder / "table.md", f"{folder}: another suite is writing it; wait for its end, or give another --output."
    ):
        return _write_all(suite, folder, jobs, notes, told)


def _write_all(
    suite: Suite, folder: Path, jobs: Sequence[Evaluation], notes: Sequence[str], told: _Told
) -> list[Result]:
    """Make the results, the tables and the times."""
    results = _results(jobs, folder, suite.overwrite)
    shown = [*results, *_on_fewer_images(results, {job.name for job in jobs if job.method is None})]
    for form, name in (("csv", "table.csv"), ("latex", "table.tex")):
        write_whole(folder / name, render(shown, form, against=suite.base))
    text, times = render(shown, "md", against=suite.base), folder / "times.md"
    parts = [text, quoted(suite.sets) if suite.scale == QUOTED_SCALE else "", _list(notes)]
    write_whole(folder / "table.md", _join(parts, times))  # now, because the timing may be stopped
    if suite.time:
        write_whole(times, _times(suite, jobs, told))
        write_whole(folder / "table.md", _join(parts, times))
    return results


def _results(jobs: Sequence[Evaluation], folder: Path, overwrite: bool) -> list[Result]:
    """Take the results that are there, and make the others of each set together. Return all in the jobs' order."""
    found: list[Any] = [take_or_make(folder / job.data / file_name(job.name), job, overwrite) for job in jobs]
    for name in dict.fromkeys(job.data for job in jobs):
        places = [i for i, job in enumerate(jobs) if job.data == name and isinstance(found[i], tuple)]
        made = evaluate_together([found[i] for i in places])
        for i, result in zip(places, made, strict=True):
            found[i] = result
    return found


def _join(parts: Sequence[str], times: Path) -> str:
    return "\n".join(filter(None, [*parts, times.read_text(encoding="utf-8") if times.is_file() else ""]))


def _list(notes: Sequence[str]) -> str:
    return "## Notes\n\n" + "".join(f"- {note}\n" for note in notes) if notes else ""


def _times(suite: Suite, jobs: Sequence[Evaluation], told: _Told) -> str:
    """Time the methods on the first image of the first set that can be read."""
    first = [job for job in jobs if job.data == suite.sets[0]]
    methods = [job.method for job in first if job.method is not None]
    for chunk in read(first[0].items, first[0].protocol, 1, make_lr=True):
        item, content = chunk[0]
        if isinstance(content, Loaded):
            files = [(job.name, one.pred) for job in first for one in job.items if one.name == item.name]
            noted = {name: told[name][file] for name, file in files if file and file in told.get(name, {})}
            return time_table(methods, content.pairs[0], suite.time, suite.scale, noted)
    raise ValueError(f"--time: no image of {suite.sets[0]} can be read.")


def file_name(name: str) -> str:
    """Return the name of the file for the results of a method."""
    return re.sub(r"[^\w.]+", "-", name) + ".json"


def in_steps(name: str, steps: int) -> str:
    """Name a model's row for a number of steps."""
    return f"{name}, {steps} step{'s' * (steps > 1)}"


def spread(items: Sequence[Item], limit: int | None) -> list[Item]:
    """Select `limit` items, spread evenly from the first on; all items if `limit` is None or too large."""
    count = min(limit or len(items), len(items))
    return [items[i * len(items) // count] for i in range(count)]


def methods(suite: Suite) -> tuple[list[Method], list[str]]:
    """List the methods, one per row of the table, in order; and notes about rows that a model cannot have."""
    rows, notes = [bicubic_method(suite.scale), *suite.others], []
    for name, upscaler in suite.models.items():
        presets = _presets(upscaler, suite.steps[0])
        rows += _model_rows(name, upscaler, suite.steps, presets)
        if not presets:
            notes.append(f"{name} has no calibration for {suite.steps[0]} steps, and therefore no row of LR guidance.")
    return rows, notes


def _presets(upscaler: Upscaler, steps: int) -> Collection[str]:
    try:
        return upscaler.find_calibration(Options(steps=steps)).calibration.presets
    except CalibrationError:
        return ()


def _model_rows(name: str, upscaler: Upscaler, steps: Sequence[int], presets: Collection[str]) -> list[Method]:
    """List the rows of a model: plain at all numbers of steps, guided by the LR image, and by the original."""
    base, guided = Options(steps=steps[0]), {PRINTED: "Algorithm 1"} | {preset: preset for preset in PRESETS}
    rows = [model_method(upscaler, Options(steps=n), name=in_steps(name, n), model=name) for n in sorted({*steps})]
    rows += [
        model_method(upscaler, base, name=f"{name}, {word}", model=name, preset=preset)
        for preset, word in guided.items()
        if preset in presets
    ]
    return [*rows, model_method(upscaler, base, name=f"{name}, HR guidance", model=name, hr_guidance=True)]


def _jobs(suite: Suite) -> tuple[list[Evaluation], list[str]]:
    """List the evaluations of all sets: bicubic, every folder that has results of the set, and all other methods.

    Also returns notes about rows and images that are missing.
    """
    jobs, (rows, notes) = [], methods(suite)
    _check_names([*(row.name for row in rows), *suite.results])
    for name in suite.sets:
        protocol = load_protocol(suite.protocol or PROTOCOLS[name])
        protocol.check_scale(suite.scale)
        items = spread(fit_list(open_dataset(name, suite.data), protocol), suite.limit)
        own = default_metrics(protocol, target=True, lr=True, networks=NETWORKS)
        metrics = check_metrics(suite.metrics or own, protocol, target=True, lr=True)
        shared = {"data": name, "protocol": protocol, "command": suite.command, "make_lr": True, "metrics": metrics}
        for method in rows:
            seeds, report = suite.seeds if method.random else suite.seeds[:1], suite.report(f"{name}, {method.name}")
            jobs.append(Evaluation(name=method.name, items=items, method=method, seeds=seeds, report=report, **shared))
            if method is rows[0]:
                jobs += _jobs_of_files(suite, items, notes, shared)
    for row, folder in suite.results.items():
        if all(job.name != row for job in jobs):
            raise ValueError(f"--results: {folder} has no result of {', '.join(suite.sets)}; check folder and names.")
    return jobs, notes


def _jobs_of_files(suite: Suite, items: list[Item], notes: list[str], shared: dict[str, Any]) -> Iterator[Evaluation]:
    """Yield the evaluations of folders of results on one set, and add what they lack to the notes."""
    name = shared["data"]
    for row, folder in suite.results.items():
        found = attach_some(items, folder / name if (folder / name).is_dir() else folder, "--results")
        if found:
            yield Evaluation(name=row, items=found, method=None, report=suite.report(f"{name}, {row}"), **shared)
        if lacking := [item.name for item in items if item.name not in {one.name for one in found}]:
            shown = f"{', '.join(lacking[:8])}{f' and {len(lacking) - 8} more' if len(lacking) > 8 else ''}"
            notes.append(f"{row} has results of {len(found)} of {len(items)} images of {name}; without {shown}.")


def _check_names(names: Sequence[str]) -> None:
    """Refuse rows of one name, or whose results would have one file."""
    for i, name in enumerate(names):
        for other in names[:i]:
            if file_name(name) == file_name(other):
                same = f"two rows are called {name}" if name == other else f"{other} and {name} would share a file"
                raise ValueError(f"--results, --model: {same}; rename one.")


def _on_fewer_images(results: Sequence[Result], names: Collection[str]) -> list[Result]:
    """Restrict all results to the images of every folder that lacks some, so that they can be compared with it.

    Folders with results of the same images share a table.
    """
    fewer = {result.protocol_sha256: result for result in results if result.name in names}
    return [
        restrict(result, few)
        for few in fewer.values()
        for result in results
        if result.data["name"] == few.data["name"] and few.names < result.names
    ]


def take_or_make(output: Path, job: Evaluation, overwrite: bool) -> Result | tuple[Evaluation, Path, bool]:
    """Return the existing result of a job; if it is missing or a part can be tried again, what makes it.

    That is the job, its file, and whether the file is overwritten. Raises ValueError if the file is another job's
    result, unless `overwrite` replaces it.
    """
    existing = Result.read(output) if output.is_file() else None
    if existing is None or existing.failed:
        return job, output, overwrite
    same = is_result_of(existing, job)
    if same and now_available(existing, job):
        return job, output, True
    if part_file(output).exists():
        return job, output, overwrite
    if not same and overwrite:
        return job, output, True
    if not same:
        had, asked = " ".join(existing.metrics), " ".join(job.metrics)
        metrics = f" (it has {had}, not {asked})" if had != asked else ""
        raise ValueError(
            f"{output}: is of other images, options or metrics{metrics}; give --overwrite, or another --output."
        )
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

"""Makes the paper's table with our data: bicubic, the plain sampler, LR guidance and HR guidance, on several sets."""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from jaxsr.evaluation.datasets import fit_list, open_dataset
from jaxsr.evaluation.external import VARIANTS
from jaxsr.evaluation.methods import Method, bicubic_method, model_method
from jaxsr.evaluation.metrics import default_metrics, describe, why_missing
from jaxsr.evaluation.pairs import Item
from jaxsr.evaluation.protocol_files import load_protocol
from jaxsr.evaluation.result import Result
from jaxsr.evaluation.resume import file_hashes, fingerprint
from jaxsr.evaluation.run import Evaluation, Report, evaluate, method_record, part_file
from jaxsr.evaluation.tables import render
from jaxsr.metrics.catalogue import METRICS
from jaxsr.options import Options
from jaxsr.storage import write_whole
from jaxsr.upscaling.upscaler import Upscaler

PROTOCOLS = {"set5": "set5", "set14": "set14", "div2k": "div2k-sub", "realsr": "realsr-sub"}
PRESETS = ("faithful", "balanced", "vivid")
STEPS = (4, 15, 60)


@dataclass(frozen=True, kw_only=True)
class Suite:
    """A comparison of several methods on several sets.

    Attributes:
        upscaler, model: the model, and the name by which the user requested it.
        data: the folder that holds the sets.
        sets: names of sets in PROTOCOLS.
        protocol: name or file of one protocol for all sets; None for the protocol of each set in PROTOCOLS.
        limit: number of images of each set, spread evenly over it; None for all.
        steps: numbers of steps of the plain sampler. The other methods are compared with the first, and guidance uses
            it.
        seeds: seeds of the samples.
        metrics: names of metrics that replace the protocols' own, or None.
        command: the command that the results record.
        report: called with the name of each row of the table; returns the function to call after every result.
    """

    upscaler: Upscaler
    model: str
    data: Path
    sets: Sequence[str] = tuple(PROTOCOLS)
    protocol: str | None = None
    limit: int | None = None
    steps: Sequence[int] = STEPS
    seeds: tuple[int, ...] = (0,)
    metrics: tuple[str, ...] | None = None
    command: str = ""
    report: Callable[[str], Report] = lambda row: lambda count, name: None


def run_suite(suite: Suite, folder: Path) -> list[Result]:
    """Evaluate every method on every set into `folder`, and write table.md, .csv and .tex there.

    An existing result is used as it is, and a stopped evaluation resumes.

    Raises:
        ValueError: if the data are missing, or if an existing result belongs to another job.
    """
    results = list(_results(suite, folder))
    plain = f"plain, {suite.steps[0]} steps"
    for form, name in (("md", "table.md"), ("csv", "table.csv"), ("latex", "table.tex")):
        write_whole(folder / name, render(results, form, against=plain))
    return results


def spread(items: Sequence[Item], limit: int | None) -> list[Item]:
    """Select `limit` items, spread evenly from the first on; all items if `limit` is None or too large."""
    count = min(limit or len(items), len(items))
    return [items[i * len(items) // count] for i in range(count)]


def methods(suite: Suite) -> list[Method]:
    """List the methods, one per row of the table, in order."""
    base = suite.steps[0]
    presets = suite.upscaler.find_calibration(Options(steps=base)).calibration.presets

    def sampled(name: str, steps: int, **guidance: Any) -> Method:
        return model_method(suite.upscaler, Options(steps=steps), name=name, model=suite.model, **guidance)

    rows = [bicubic_method(suite.upscaler.preset.scale)]
    rows += [sampled(f"plain, {steps} steps", steps) for steps in suite.steps]
    rows += [sampled(f"LR guidance, {name}", base, preset=name) for name in PRESETS if name in presets]
    return [*rows, sampled(f"HR guidance, {base} steps", base, hr_guidance=True)]


def _results(suite: Suite, folder: Path) -> Iterator[Result]:
    rows = methods(suite)
    for name in suite.sets:
        protocol = load_protocol(suite.protocol or PROTOCOLS[name])
        protocol.check_scale(suite.upscaler.preset.scale)
        items = spread(fit_list(open_dataset(name, suite.data), protocol), suite.limit)
        for method in rows:
            output = folder / name / f"{method.name.replace(', ', '-').replace(' ', '-')}.json"
            job = Evaluation(
                name=method.name,
                items=items,
                data=name,
                protocol=protocol,
                metrics=suite.metrics or default_metrics(protocol, target=True, lr=True),
                method=method,
                seeds=suite.seeds if method.random else suite.seeds[:1],
                command=suite.command,
                report=suite.report(f"{name}, {method.name}"),
            )
            yield _take_or_make(output, job)


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

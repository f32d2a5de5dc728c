"""The table of the paper on our data: bicubic, the plain sampler, LR guidance and HR guidance, on several sets."""

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
from jaxsr.evaluation.run import Evaluation, Report, evaluate, part_file, told
from jaxsr.evaluation.tables import render
from jaxsr.metrics.catalogue import METRICS
from jaxsr.options import Options
from jaxsr.storage import write_whole
from jaxsr.upscaling.calibrated import find_calibration
from jaxsr.upscaling.upscaler import Upscaler

PROTOCOLS = {"set5": "set5", "set14": "set14", "div2k": "div2k-sub", "realsr": "realsr-sub"}
PRESETS = ("faithful", "balanced", "vivid")
STEPS = (4, 15, 60)


@dataclass(frozen=True, kw_only=True)
class Suite:
    """What is to be put side by side.

    Attributes:
        upscaler, model: the model, and as which it was asked for.
        data: the folder that holds the sets.
        sets: of PROTOCOLS.
        protocol: one for all sets, a name or a file; None for that of PROTOCOLS for each.
        limit: images of each set, spread evenly over it; None for all.
        steps: of the plain sampler; the first is what the others are compared with, and what guidance takes.
        seeds: of the samples.
        metrics: in place of the protocols' own, or None.
        report: called after every result, with the name of the table's row.
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

    A result that is there is taken as it is, and a stopped one goes on.

    Raises:
        ValueError: for data that is not there, or a model without the presets.
    """
    results = list(_results(suite, folder))
    plain = f"plain, {suite.steps[0]} steps"
    for form, name in (("md", "table.md"), ("csv", "table.csv"), ("latex", "table.tex")):
        write_whole(folder / name, render(results, form, against=plain))
    return results


def spread(items: Sequence[Item], limit: int | None) -> list[Item]:
    """As many items as `limit` says, evenly spread from the first on; all where it is None or there are no more."""
    count = min(limit or len(items), len(items))
    return [items[i * len(items) // count] for i in range(count)]


def methods(suite: Suite) -> list[Method]:
    """The rows of the table, in order."""
    few, presets = suite.steps[0], find_calibration(None, suite.upscaler.source).presets

    def sampled(name: str, steps: int, **more: Any) -> Method:
        return model_method(suite.upscaler, Options(steps=steps), name=name, model=suite.model, **more)

    rows = [bicubic_method(suite.upscaler.preset.scale)]
    rows += [sampled(f"plain, {steps} steps", steps) for steps in suite.steps]
    rows += [sampled(f"LR guidance, {name}", few, preset=name) for name in PRESETS if name in presets]
    return [*rows, sampled(f"HR guidance, {few} steps", few, hr_guidance=True)]


def _results(suite: Suite, folder: Path) -> Iterator[Result]:
    rows = methods(suite)
    scale = suite.upscaler.preset.scale
    for name in suite.sets:
        protocol = load_protocol(suite.protocol or PROTOCOLS[name])
        if protocol.scale != scale:
            raise ValueError(f"--protocol: {protocol.name} is of scale {protocol.scale}, the model {scale}.")
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
    """The job's result: as it is there, or made where it is not, or where something of it can be tried again.

    Raises ValueError for another job's result of that name.
    """
    found = Result.read(output) if output.is_file() else None
    if found is None or found.failed:
        return evaluate(job, output)
    same = is_result_of(found, job)
    if same and now_available(found, job):
        return evaluate(job, output, overwrite=True)
    if part_file(output).exists():
        return evaluate(job, output)
    if not same:
        raise ValueError(f"{output}: is of other images, options or metrics; give another --output, or remove it.")
    return found


def is_result_of(result: Result, job: Evaluation) -> bool:
    """Whether a result is what the job would give: same files, protocol, metrics, method and seeds, nothing failed."""
    ours = [asdict(job.protocol), told(job), list(job.seeds)]
    same = json.loads(json.dumps(ours)) == [result.protocol, result.method, result.seeds]
    images = result.data.get("files_sha256") == fingerprint(file_hashes(job.items))
    variants = all(_is_variant(found, name, job) for name, found in result.metrics.items() if name in result.scored)
    return same and images and variants and not result.failed and [*result.metrics] == [*job.metrics]


def now_available(result: Result, job: Evaluation) -> list[str]:
    """The metrics that a result lacks for want of weights which are here by now."""
    lacking = (name for name in result.without if METRICS[name].measure and not why_missing(name, job.protocol))
    return [name for name in lacking if not _is_variant(result.metrics[name], name, job)]


def _is_variant(found: dict[str, Any], name: str, job: Evaluation) -> bool:
    """Whether the variant of a metric begins as it would now; how it ends is known when it has been measured."""
    if theirs := METRICS[name].external:
        return found["variant"].startswith(VARIANTS[theirs].changed(job.protocol.variant(name)).id)
    return found["variant"].startswith(describe(name, job.protocol))

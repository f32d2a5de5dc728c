"""One evaluation: read or make every result, score it, note the numbers as they come; a stopped one goes on."""

import importlib.metadata
import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from jaxsr.data.prefetch import prefetch
from jaxsr.errors import IMAGE_FAILED
from jaxsr.evaluation import elsewhere
from jaxsr.evaluation.images import Loaded, Pair, ready
from jaxsr.evaluation.methods import Method
from jaxsr.evaluation.metrics import describe, why_missing
from jaxsr.evaluation.pairs import Item
from jaxsr.evaluation.protocols import Protocol, ProtocolError
from jaxsr.evaluation.reading import by_size, read, reason
from jaxsr.evaluation.result import Result, Row, summarise
from jaxsr.evaluation.resume import Hashes, external_line, external_scores, file_hashes, fingerprint, holding, kept_in
from jaxsr.evaluation.scoring import Scorer
from jaxsr.metrics.catalogue import METRICS
from jaxsr.runtime.journal import JournalFile

LIBRARIES = ("jaxsr", "jax", "flax", "numpy", "scipy", "pillow")
Report = Callable[[int, str], None]
"""Takes the number of results scored so far, and the name of the last one."""
_Loaded = tuple[Item, Loaded]


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """What is to be evaluated.

    Attributes:
        name: of the method, in tables.
        items: the images; with their results where there is no method.
        data: what the data set is called.
        protocol, metrics: what is measured.
        method: makes the results; None where they are files.
        seeds: one result of every image for each; files have one result.
        batch: images per call of the metrics.
        keep: folder for the results, or None.
        command: to be told in the result.
        report: called after every result.
    """

    name: str
    items: Sequence[Item]
    data: str
    protocol: Protocol
    metrics: tuple[str, ...]
    method: Method | None = None
    seeds: tuple[int, ...] = (0,)
    batch: int = 8
    keep: Path | None = None
    command: str = ""
    report: Report = lambda count, name: None


def evaluate(job: Evaluation, output: Path, *, overwrite: bool = False) -> Result:
    """Carry out a job and write the file `output`, going on from `<output>.part` where it was stopped.

    Images that fail are left out and told in the result's `failed`; run again, they are tried again, as are images
    whose files have changed since, and metrics of other libraries that gave no number.

    Raises:
        ValueError: if no image could be scored, or a stopped run of other choices is there.
        ProtocolError: for images that are not the protocol's.
    """
    missing = {name: reason for name in job.metrics if (reason := why_missing(name, job.protocol))}
    native = tuple(name for name in job.metrics if METRICS[name].measure and name not in missing)
    others = tuple(name for name in job.metrics if name not in (*native, *missing))
    files = job.keep or (output.with_name(f"{output.name}.files") if others else None)
    scorer = Scorer(native, job.protocol, job.batch)
    hashes = file_hashes(job.items)
    journal = JournalFile(part_file(output), _choices(job), what="evaluation", overwrite=overwrite)
    lines, failed = _still_holding(journal, hashes, files, output, overwrite), []
    for news in _score_all(job, scorer, lines, failed, files):
        for line in news:
            line |= {"files": hashes[line["image"]], "kept": kept_in(files)}
        journal.write(news)
        lines += news
    if not lines:
        raise ValueError(f"no image could be scored; the first: {failed[0] if failed else 'there is none'}")
    rows = [{"image": line["image"], "seed": line["seed"]} | row for line in lines for row in line["rows"]]
    found = _score_elsewhere(job, others, rows, files, journal, hashes) if files and others else elsewhere.Found()
    found.reasons.update(scorer.reasons | missing)
    result = _result(job, rows, lines, failed, found, fingerprint(hashes))
    result.write(output)
    if not failed and not set(others) & set(result.without):
        journal.remove()
        if files and files != job.keep:
            shutil.rmtree(files, ignore_errors=True)
    return result


def _still_holding(
    journal: JournalFile, hashes: Hashes, files: Path | None, output: Path, overwrite: bool
) -> list[dict[str, Any]]:
    """The journal's lines that need not be made again."""
    try:
        return holding(journal.found, hashes, files)
    except ValueError as error:
        if overwrite:
            return []
        raise ValueError(
            f"{part_file(output)}: {error}; give them to resume it, or --overwrite to start again."
        ) from error


def _score_elsewhere(
    job: Evaluation, names: Sequence[str], rows: Sequence[Row], files: Path, journal: JournalFile, hashes: Hashes
) -> elsewhere.Found:
    """The numbers of other libraries, each noted in the journal as it comes."""
    known = external_scores(journal.found, hashes)
    counts = Counter({name: len(numbers) for name, numbers in known.items()})

    def note(name: str, row: Row, value: float, by: str) -> None:
        journal.write([external_line(name, row, value, by, hashes)])
        counts[name] += 1
        job.report(min(counts[name], len(rows)), f"{name}: {row['image']}")

    return elsewhere.score(names, job.protocol, rows, files, known, note)


def _score_all(
    job: Evaluation, scorer: Scorer, lines: Sequence[Row], failed: list[str], files: Path | None
) -> Iterator[list[Row]]:
    """The lines of all that is not in `lines`, a batch at a time; `failed` gets the reasons of those that fail."""
    done, count = {(line["seed"], line["image"]) for line in lines}, len(lines)
    todo = [item for item in job.items if any((seed, item.name) not in done for seed in job.seeds)]
    size = job.batch if job.method is None else 1
    for chunk in prefetch(read(by_size(todo), job.protocol, size, make_lr=job.method is not None)):
        loaded = []
        for item, found in chunk:
            if isinstance(found, Loaded):
                loaded.append((item, found))
            else:
                failed.append(found)
        for seed in job.seeds:
            missing = [(item, found) for item, found in loaded if (seed, item.name) not in done]
            try:
                news = _score_some(job, scorer, missing, seed, files)
            except IMAGE_FAILED as error:
                if job.method is None or isinstance(error, ProtocolError):
                    raise
                failed += [reason(item.name, error) for item, _ in missing]
                continue
            count += len(news)
            if news:
                job.report(count, news[-1]["image"])
                yield news


def _score_some(job: Evaluation, scorer: Scorer, loaded: Sequence[_Loaded], seed: int, files: Path | None) -> list[Row]:
    """The lines of some items and one seed."""
    pairs = [pair for _, found in loaded for pair in found.pairs]
    made = pairs if job.method is None else [make(job.method, pair, seed, job.protocol) for pair in pairs]
    if files:
        elsewhere.keep(files, made, seed)
    scores = iter(scorer.score(made))
    return [
        {
            "seed": seed,
            "image": item.name,
            "hr": found.hr_hash,
            "lr": found.lr_hash,
            "rows": [{"patch": pair.patch} | next(scores) for pair in found.pairs],
        }
        for item, found in loaded
    ]


def make(method: Method, pair: Pair, seed: int, protocol: Protocol) -> Pair:
    """The pair with its result, rounded as the protocol says."""
    return replace(pair, sr=ready(method.make(pair, seed), protocol))


def _result(
    job: Evaluation,
    rows: Sequence[Row],
    lines: Sequence[Row],
    failed: Sequence[str],
    found: elsewhere.Found,
    files_sha256: str,
) -> Result:
    order = {name: i for i, name in enumerate(sorted({line["image"] for line in lines}))}
    hashes = {key: {line["image"]: line[key] or "" for line in lines} for key in ("hr", "lr")}
    lr = fingerprint(hashes["lr"]) if any(hashes["lr"].values()) else None
    result = Result(
        name=job.name,
        protocol=asdict(job.protocol),
        protocol_sha256=job.protocol.hash(hashes["hr"]),
        data={"name": job.data, "images": len(order), "lr_sha256": lr, "files_sha256": files_sha256},
        method=told(job),
        seeds=list(job.seeds),
        metrics={},
        images=sorted(rows, key=lambda row: (row["seed"], order[row["image"]], row["patch"])),
        failed=list(failed),
        versions={name: importlib.metadata.version(name) for name in LIBRARIES},
        command=job.command,
    )
    variants = {name: found.variants.get(name) or describe(name, job.protocol) for name in job.metrics}
    if lr:
        variants |= {name: f"{variants[name]}, LR images {lr[:12]}" for name in job.metrics if METRICS[name].needs_lr}
    return replace(result, metrics=summarise(result, variants, found.reasons, found.whole))


def part_file(output: Path) -> Path:
    """The journal of a stopped evaluation."""
    return output.with_name(f"{output.name}.part")


def _choices(job: Evaluation) -> dict[str, Any]:
    """All that a stopped run must have in common with this one, to go on with it; the images' files may change."""
    return {
        "protocol": asdict(job.protocol),
        "choice of metrics": {name: describe(name, job.protocol) for name in job.metrics},
        "method": told(job),
        "list of seeds": list(job.seeds),
        "list of images": sorted(item.name for item in job.items),
    }


def told(job: Evaluation) -> dict[str, Any]:
    """What makes the results, as JSON can hold it."""
    return job.method.told if job.method else {"kind": "files"}

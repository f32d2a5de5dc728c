"""Runs one evaluation: reads or makes every result, scores it and records the numbers. A stopped run resumes."""

import importlib.metadata
import json
import shutil
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import jax

from jaxsr.choices import Batch
from jaxsr.data.prefetch import prefetch
from jaxsr.errors import IMAGE_FAILED
from jaxsr.evaluation import external_scoring
from jaxsr.evaluation.images import Loaded, Pair, ready
from jaxsr.evaluation.methods import Method
from jaxsr.evaluation.metrics import describe, why_missing
from jaxsr.evaluation.pairs import Item
from jaxsr.evaluation.protocols import Protocol, ProtocolError
from jaxsr.evaluation.reading import by_size, read, reason
from jaxsr.evaluation.result import Result, Row, summarise
from jaxsr.evaluation.resume import Hashes, external_line, external_scores, file_hashes, fingerprint, holding, kept_in
from jaxsr.evaluation.scoring import AUTO, Scorer
from jaxsr.metrics.catalogue import METRICS
from jaxsr.runtime.devices import broadcast, gather_bytes
from jaxsr.runtime.journal import JournalFile
from jaxsr.storage import part_file
from jaxsr.version import __version__

LIBRARIES = ("jax", "flax", "numpy", "scipy", "pillow")
Extras = Callable[[Result], None]
Report = Callable[[int, str], None]
"""A function that takes the number of results scored so far, and the name of the last one."""
_Loaded = tuple[Item, Loaded]


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """An evaluation to run.

    Attributes:
        name: name of the method in tables.
        items: the images, with their results if there is no method.
        data: name of the data set.
        protocol, metrics: what is measured.
        method: makes the results; None if they are files.
        seeds: every image gets one result per seed; files have one result.
        make_lr: whether missing LR images are made by bicubic without a method too, for metrics that need them.
        batch: images per call of the metrics, or `auto`, as many as the memory holds.
        keep: folder for the results, or None.
        command: the command that the result records.
        report: called after every result.
    """

    name: str
    items: Sequence[Item]
    data: str
    protocol: Protocol
    metrics: tuple[str, ...]
    method: Method | None = None
    seeds: tuple[int, ...] = (0,)
    make_lr: bool = False
    batch: Batch = 8
    keep: Path | None = None
    command: str = ""
    report: Report = lambda count, name: None


def evaluate(job: Evaluation, output: Path, *, overwrite: bool = False, extras: Extras = lambda found: None) -> Result:
    """Run a job and write the file `output`; see `by_image`."""
    running = by_image(job, output, overwrite=overwrite, extras=extras)
    while True:
        try:
            next(running)
        except StopIteration as end:
            return end.value


def evaluate_together(jobs: Sequence[tuple[Evaluation, Path, bool]]) -> list[Result]:
    """Run several jobs on the same images, image by image, so that results of one image share what takes long.

    Each job comes with the file to write, and with whether it may be overwritten. Raises what `by_image` raises; the
    other jobs can then be resumed.
    """
    scorers: dict[str, Scorer] = {}
    running: dict[int, Generator[None, None, Result]] = {}
    for i, (job, output, overwrite) in enumerate(jobs):
        native, _, _ = split_metrics(job)
        key = repr((native, asdict(job.protocol), job.batch))
        shared = scorers.setdefault(key, Scorer(native, job.protocol, job.batch, keeps_features=True))
        running[i] = by_image(job, output, overwrite=overwrite, scorer=replace(shared, reasons={}))
    results: dict[int, Result] = {}
    try:
        while running:
            for i, run in [*running.items()]:
                try:
                    next(run)
                except StopIteration as end:
                    results[i] = end.value
                    del running[i]
    finally:
        for run in running.values():
            run.close()
    return [results[i] for i in range(len(jobs))]


def split_metrics(job: Evaluation) -> tuple[tuple[str, ...], tuple[str, ...], dict[str, str]]:
    """Split the metrics of a job: those computed here, those of other libraries, and the missing ones with reasons."""
    missing = {name: reason for name in job.metrics if (reason := why_missing(name, job.protocol))}
    there = [name for name in job.metrics if name not in missing]
    native = tuple(name for name in there if METRICS[name].measure)
    return native, tuple(name for name in there if name not in native), missing


def _kept_files(job: Evaluation, output: Path, others: Sequence[str]) -> Path | None:
    """Return the folder of the results: the one that the job keeps, or one for the metrics of other libraries."""
    return job.keep or (output.with_name(f"{output.name}.files") if others else None)


def by_image(
    job: Evaluation,
    output: Path,
    *,
    overwrite: bool = False,
    extras: Extras = lambda found: None,
    scorer: Scorer | None = None,
) -> Generator[None, None, Result]:
    """Run a job and write the file `output`, and pause after each image. A stopped run resumes from `<output>.part`.

    `extras` writes what stands beside the file. It comes before the file, so that a run killed in between is resumed.

    Several processes deal out the images among them, and all return the same result, which process 0 writes. They must
    see one folder of `output`.

    Images that fail are left out, and the result lists them in `failed`. A repeated run tries them again. It also
    repeats images whose files have changed since, and metrics of other libraries that gave no number.

    Raises:
        ValueError: if no image could be scored, or if `<output>.part` belongs to a run with other choices.
        ProtocolError: if the images are not the ones that the protocol lists.
    """
    native, others, missing = split_metrics(job)
    files, hashes = _kept_files(job, output, others), file_hashes(job.items)
    scorer = scorer or Scorer(native, job.protocol, job.batch)
    settings = {"what": "evaluation", "overwrite": overwrite, "each": True}
    with JournalFile(part_file(output), _choices(job), **settings) as journal:
        lines, failed = _still_holding(journal, hashes, files, output, overwrite), []
        todo = by_size(_undone(job.items, job.seeds, lines))
        todo = todo[jax.process_index() :: jax.process_count()]  # neighbours in size take alike long
        yield from _score_into(journal, job, todo, scorer, lines, failed, files, hashes)
        lines, failed, scorer = _of_all_processes(lines, failed, scorer)
        if not lines:
            journal.remove()
            raise ValueError(f"no image could be scored; the first: {failed[0] if failed else 'there are no images'}")
        rows = [{"image": line["image"], "seed": line["seed"]} | row for line in lines for row in line["rows"]]
        found = external_scoring.Found()
        first = jax.process_index() == 0
        if files and others and first:
            found = _score_externally(job, others, rows, files, journal, hashes)
        found.reasons.update(scorer.reasons | missing)
        result = _result(job, rows, lines, failed, found, fingerprint(hashes))
        if first:
            extras(result)
            result.write(output)
        done = broadcast(b"done" if not failed and not set(others) & set(result.without) else b"") == b"done"
        if done:
            journal.remove()
            if files and files != job.keep and first:
                shutil.rmtree(files, ignore_errors=True)
    return result


def score_shard(job: Evaluation, output: Path, shard: tuple[int, int], *, overwrite: bool = False) -> list[str]:
    """Score one of N shards of a job's images, (I, N) with I from 1 to N, into `<output>.part.I`.

    `evaluate` of the same job takes the shards over that lie beside its output, and scores what they lack. A stopped
    shard resumes.

    Returns:
        The reasons of failed images.
    Raises:
        ValueError: if `<output>.part.I` belongs to a run with other choices, or another process writes it.
        ProtocolError: if the images are not the ones that the protocol lists.
    """
    native, others, _ = split_metrics(job)
    files, hashes = _kept_files(job, output, others), file_hashes(job.items)
    scorer, part, failed = Scorer(native, job.protocol, job.batch), part_file(output), []
    path, own = part.with_name(f"{part.name}.{shard[0]}"), by_size(job.items)[shard[0] - 1 :: shard[1]]
    with JournalFile(path, _choices(job), what="evaluation", overwrite=overwrite) as journal:
        lines = _still_holding(journal, hashes, files, output, overwrite)
        todo = _undone(own, job.seeds, lines)
        for _ in _score_into(journal, job, todo, scorer, lines, failed, files, hashes):
            pass
    return failed


def _undone(items: Sequence[Item], seeds: Sequence[int], lines: Sequence[Row]) -> list[Item]:
    """List the items that lack a line for one of the seeds."""
    done = {(line["seed"], line["image"]) for line in lines}
    return [item for item in items if any((seed, item.name) not in done for seed in seeds)]


def _score_into(
    journal: JournalFile,
    job: Evaluation,
    todo: Sequence[Item],
    scorer: Scorer,
    lines: list[Row],
    failed: list[str],
    files: Path | None,
    hashes: Hashes,
) -> Iterator[None]:
    """Score what `lines` lack of some items, append it to them and to the journal, and pause after each image."""
    for new_lines in _score_all(job, todo, scorer, lines, failed, files):
        for line in new_lines:
            line |= {"files": hashes[line["image"]], "kept": kept_in(files)}
        journal.write(new_lines)
        lines += new_lines
        yield


def _of_all_processes(lines: list[Row], failed: list[str], scorer: Scorer) -> tuple[list[Row], list[str], Scorer]:
    """Gather what the processes of a run have found. Several hold the lines of a stopped run, which count once."""
    if jax.process_count() == 1:
        return lines, failed, scorer
    own = json.dumps([lines, failed, scorer.reasons]).encode()
    found = [json.loads(data) for data in gather_bytes(own)]
    rows = {(line["seed"], line["image"]): line for part, _, _ in found for line in part}
    reasons = {name: why for _, _, part in reversed(found) for name, why in part.items()}
    return [*rows.values()], [why for _, part, _ in found for why in part], replace(scorer, reasons=reasons)


def _still_holding(
    journal: JournalFile, hashes: Hashes, files: Path | None, output: Path, overwrite: bool
) -> list[dict[str, Any]]:
    """Select the journal's lines that are still valid and need no recomputation."""
    try:
        return holding(journal.found, hashes, files)
    except ValueError as error:
        if overwrite:
            return []
        raise ValueError(
            f"{part_file(output)}: {error}; give them to resume it, or --overwrite to start again."
        ) from error


def _score_externally(
    job: Evaluation, names: Sequence[str], rows: Sequence[Row], files: Path, journal: JournalFile, hashes: Hashes
) -> external_scoring.Found:
    """Score the rows by the metrics of other libraries. The journal records each number as it arrives."""
    known = external_scores(journal.found, hashes)
    counts = Counter({name: len(numbers) for name, numbers in known.items()})

    def note(name: str, row: Row, value: float, by: str) -> None:
        journal.write([external_line(name, row, value, by, hashes)])
        counts[name] += 1
        job.report(min(counts[name], len(rows)), f"{name}: {row['image']}")

    return external_scoring.score(names, job.protocol, rows, files, known, note)


def _score_all(
    job: Evaluation,
    todo: Sequence[Item],
    scorer: Scorer,
    lines: Sequence[Row],
    failed: list[str],
    files: Path | None,
) -> Iterator[list[Row]]:
    """Yield the lines of the images `todo` and of all seeds that are not in `lines`, batch by batch.

    Reasons of failed images are appended to `failed`.
    """
    done, count = {(line["seed"], line["image"]) for line in lines}, len(lines)
    size = _read_together(job)
    for chunk in prefetch(read(todo, job.protocol, size, make_lr=job.make_lr or job.method is not None)):
        loaded = []
        for item, content in chunk:
            if isinstance(content, Loaded):
                loaded.append((item, content))
            else:
                failed.append(content)
        for seed in job.seeds:
            missing = [(item, content) for item, content in loaded if (seed, item.name) not in done]
            for new_lines in _score_or_fail(job, scorer, missing, seed, failed, files):
                count += len(new_lines)
                job.report(count, new_lines[-1]["image"])
                yield new_lines


def _read_together(job: Evaluation) -> int:
    """Return the number of images that are read at a time."""
    if job.method is not None:
        return job.method.together
    return AUTO if job.batch == "auto" else job.batch


def _score_or_fail(
    job: Evaluation, scorer: Scorer, missing: Sequence[_Loaded], seed: int, failed: list[str], files: Path | None
) -> Iterator[list[Row]]:
    """Yield the lines of some items. If one of several fails, each is made by itself."""
    if not missing:
        return
    try:
        found = _score_some(job, scorer, missing, seed, files)
    except IMAGE_FAILED as error:
        if job.method is None or isinstance(error, ProtocolError):
            raise
        if len(missing) == 1:
            failed.append(reason(missing[0][0].name, error))
            return
        for one in missing:
            yield from _score_or_fail(job, scorer, [one], seed, failed, files)
    else:
        yield found


def _score_some(job: Evaluation, scorer: Scorer, loaded: Sequence[_Loaded], seed: int, files: Path | None) -> list[Row]:
    """Make and score the results of some items for one seed, and return their lines."""
    pairs = [pair for _, content in loaded for pair in content.pairs]
    made = pairs if job.method is None else make(job.method, pairs, seed, job.protocol)
    if files:
        external_scoring.keep(files, made, seed)
    scores = iter(scorer.score(made))
    return [
        {
            "seed": seed,
            "image": item.name,
            "hr": content.hr_hash,
            "lr": content.lr_hash,
            "transparent": content.transparent,
            "recoloured": content.recoloured,
            "rows": [{"patch": pair.patch} | next(scores) for pair in content.pairs],
        }
        for item, content in loaded
    ]


def make(method: Method, pairs: Sequence[Pair], seed: int, protocol: Protocol) -> list[Pair]:
    """Make the results of pairs, rounded as the protocol says, and return the pairs with them."""
    results = method.results(pairs, seed)
    return [replace(pair, sr=ready(sr, protocol)) for pair, sr in zip(pairs, results, strict=True)]


def _result(
    job: Evaluation,
    rows: Sequence[Row],
    lines: Sequence[Row],
    failed: Sequence[str],
    outcome: external_scoring.Found,
    files_sha256: str,
) -> Result:
    order = {name: i for i, name in enumerate(sorted({line["image"] for line in lines}))}
    hashes = {key: {line["image"]: line[key] or "" for line in lines} for key in ("hr", "lr")}
    lr = fingerprint(hashes["lr"]) if any(hashes["lr"].values()) else None
    noted = {n: len({line["image"] for line in lines if line.get(n)}) for n in ("transparent", "recoloured")}
    data = {"name": job.data, "images": len(order), "lr_sha256": lr, "files_sha256": files_sha256}
    result = Result(
        name=job.name,
        protocol=asdict(job.protocol),
        protocol_sha256=job.protocol.hash(hashes["hr"]),
        data=data | {name: count for name, count in noted.items() if count},
        method=method_record(job),
        seeds=list(job.seeds),
        metrics={},
        images=sorted(rows, key=lambda row: (row["seed"], order[row["image"]], row["patch"])),
        failed=list(failed),
        versions={"jaxsr": __version__} | {name: importlib.metadata.version(name) for name in LIBRARIES},
        command=job.command,
    )
    variants = {name: outcome.variants.get(name) or describe(name, job.protocol) for name in job.metrics}
    if lr:
        variants |= {name: f"{variants[name]}, LR images {lr[:12]}" for name in job.metrics if METRICS[name].needs_lr}
    return replace(result, metrics=summarise(result, variants, outcome.reasons, outcome.whole))


def _choices(job: Evaluation) -> dict[str, Any]:
    """Return the choices that a stopped run must share with this one to be resumed. The images' files may change."""
    return {
        "protocol": asdict(job.protocol),
        "choice of metrics": {name: describe(name, job.protocol) for name in job.metrics},
        "method": method_record(job),
        "list of seeds": list(job.seeds),
        "list of images": sorted(item.name for item in job.items),
    }


def method_record(job: Evaluation) -> dict[str, Any]:
    """Describe what makes the results, as JSON values."""
    return job.method.record if job.method else {"kind": "files"}

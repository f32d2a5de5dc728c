"""One evaluation: read or make every result, score it, note the numbers as they come; a stopped one goes on."""

import hashlib
import importlib.metadata
import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from jaxsr.calibration.journal import Lines
from jaxsr.checkpoint import sha256_file
from jaxsr.command import IMAGE_FAILED
from jaxsr.evaluation import elsewhere
from jaxsr.evaluation.images import Loaded, Pair, load, ready
from jaxsr.evaluation.methods import Method
from jaxsr.evaluation.metrics import METRICS, How, describe
from jaxsr.evaluation.pairs import Item
from jaxsr.evaluation.protocols import Protocol, ProtocolError
from jaxsr.evaluation.result import Result, Row, summarise
from jaxsr.evaluation.scoring import Scorer
from jaxsr.training.data import prefetch
from jaxsr.training.photographs import image_sizes

LIBRARIES = ("jaxsr", "jax", "flax", "numpy", "scipy", "pillow")
Report = Callable[[int, str], None]
"""Takes the number of results scored so far, and the name of the last one."""
_Loaded = tuple[Item, Loaded]


@dataclass(frozen=True, kw_only=True)
class Job:
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


def evaluate(job: Job, output: Path, *, overwrite: bool = False) -> Result:
    """Carry out a job and write the file `output`, going on from `<output>.part` where it was stopped.

    Images that fail are left out and told in the result's `failed`; run again, they are tried again.

    Raises:
        ValueError: if no image could be scored, or a stopped run of other choices is there.
        ProtocolError: for images that are not the protocol's.
    """
    missing = {name: reason for name in job.metrics if (reason := why_missing(name, job.protocol))}
    native = tuple(name for name in job.metrics if METRICS[name].native and name not in missing)
    others = tuple(name for name in job.metrics if name not in (*native, *missing))
    files = job.keep or (output.with_name(f"{output.name}.files") if others else None)
    scorer = Scorer(native, job.protocol, job.batch)
    journal = Lines(_part(output), _identity(job, native), what="evaluation", overwrite=overwrite)
    lines, failed = list(journal.found), []
    for news in _score_all(job, scorer, lines, failed, files):
        journal.write(news)
        lines += news
    if not lines:
        raise ValueError(f"no image could be scored; the first: {failed[0] if failed else 'there is none'}")
    rows = [{"image": line["image"], "seed": line["seed"]} | row for line in lines for row in line["rows"]]
    found = elsewhere.score(others, job.protocol, rows, files) if others and files else elsewhere.Found()
    found.reasons.update(scorer.reasons | missing)
    result = _result(job, rows, lines, failed, found)
    result.write(output)
    if not failed:
        journal.remove()
    if files and files != job.keep and not failed:
        shutil.rmtree(files, ignore_errors=True)
    return result


def is_result_of(result: Result, job: Job) -> bool:
    """Whether a result is what the job would give: same images, protocol, metrics, method and seeds, nothing failed."""
    ours = [asdict(job.protocol), job.method.told if job.method else {"kind": "files"}, list(job.seeds)]
    same = json.loads(json.dumps(ours)) == [result.protocol, result.method, result.seeds]
    images = {row["image"] for row in result.images}
    return same and not result.failed and images == {i.name for i in job.items} and [*result.metrics] == [*job.metrics]


def why_missing(name: str, protocol: Protocol) -> str | None:
    """Why a metric cannot be had, or None."""
    return METRICS[name].missing(How(protocol, variant=protocol.variant(name)))


def _score_all(
    job: Job, scorer: Scorer, lines: Sequence[Row], failed: list[str], files: Path | None
) -> Iterator[list[Row]]:
    """The lines of all that is not in `lines`, a batch at a time; `failed` gets the reasons of those that fail."""
    done, count = {(line["seed"], line["image"]) for line in lines}, len(lines)
    todo = [item for item in job.items if any((seed, item.name) not in done for seed in job.seeds)]
    size = job.batch if job.method is None else 1
    for chunk in prefetch(_read(job, _by_size(todo), size)):
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
                failed += [_reason(item.name, error) for item, _ in missing]
                continue
            count += len(news)
            if news:
                job.report(count, news[-1]["image"])
                yield news


def _by_size(items: Sequence[Item]) -> list[Item]:
    """The items with those of one size side by side, as their headers say; what cannot be read comes first."""

    def size(item: Item) -> tuple[int, ...]:
        try:
            return image_sizes([item.target])[0] if isinstance(item.target, Path) else (0, 0)
        except IMAGE_FAILED:
            return (0, 0)

    return sorted(items, key=lambda item: (size(item), item.name))


def _read(job: Job, items: Sequence[Item], size: int) -> Iterator[list[tuple[Item, Loaded | str]]]:
    """So many items at a time, each with its images or why it has none."""
    for start in range(0, len(items), size):
        chunk: list[tuple[Item, Loaded | str]] = []
        for item in items[start : start + size]:
            try:
                chunk.append((item, load(item, job.protocol, make_lr=job.method is not None)))
            except ProtocolError:
                raise
            except IMAGE_FAILED as error:
                chunk.append((item, _reason(item.name, error)))
        yield chunk


def _reason(name: str, error: BaseException) -> str:
    text = str(error) or type(error).__name__
    return text if name in text.split(": ")[0] and ": " in text else f"{name}: {text}"


def _score_some(job: Job, scorer: Scorer, loaded: Sequence[_Loaded], seed: int, files: Path | None) -> list[Row]:
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
    job: Job,
    rows: Sequence[Row],
    lines: Sequence[Row],
    failed: Sequence[str],
    found: elsewhere.Found,
) -> Result:
    order = {name: i for i, name in enumerate(sorted({line["image"] for line in lines}))}
    hashes = {key: {line["image"]: line[key] or "" for line in lines} for key in ("hr", "lr")}
    lr = hashlib.sha256(repr(sorted(hashes["lr"].items())).encode()).hexdigest() if any(hashes["lr"].values()) else None
    result = Result(
        name=job.name,
        protocol=asdict(job.protocol),
        protocol_sha256=job.protocol.hash(hashes["hr"]),
        data={"name": job.data, "images": len(order), "lr_sha256": lr},
        method=job.method.told if job.method else {"kind": "files"},
        seeds=list(job.seeds),
        metrics={},
        images=sorted(rows, key=lambda row: (row["seed"], order[row["image"]], row["patch"])),
        failed=list(failed),
        versions={name: importlib.metadata.version(name) for name in LIBRARIES},
        command=job.command,
    )
    variants = {name: found.variants.get(name) or describe(name, job.protocol) for name in job.metrics}
    return replace(result, metrics=summarise(result, variants, found.reasons, found.whole))


def _part(output: Path) -> Path:
    return output.with_name(f"{output.name}.part")


def _identity(job: Job, native: Sequence[str]) -> dict[str, Any]:
    """All that a stopped run must have in common with this one, to go on with it."""
    sources = [source for item in job.items for source in (item.target, item.lr, item.pred)]
    paths = [source for source in sources if isinstance(source, Path)]
    with ThreadPoolExecutor() as pool:
        contents = list(pool.map(_content, paths))
    names = [item.name for item in job.items]
    return {
        "protocol": asdict(job.protocol),
        "metrics": {name: describe(name, job.protocol) for name in native},
        "method": job.method.told if job.method else {"kind": "files"},
        "seeds": list(job.seeds),
        "images": hashlib.sha256(repr((names, contents)).encode()).hexdigest(),
    }


def _content(path: Path) -> str:
    try:
        return sha256_file(path)
    except OSError:  # told when it is its turn
        return ""

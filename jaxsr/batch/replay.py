"""Results made again from their records, and what differs if the bytes do."""

import shlex
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from jaxsr.batch.enlarge import begin, make_many
from jaxsr.batch.jobs import Job, sidecar_path
from jaxsr.batch.recipe import read_recipe
from jaxsr.batch.request import GUIDE_FILES, Request, RequestError, SourceFile
from jaxsr.batch.sidecar import surroundings
from jaxsr.imaging.files import hash_photo, read_decoded
from jaxsr.imaging.record import read_record
from jaxsr.plain_data import parse_json
from jaxsr.runtime.cpu import processor
from jaxsr.storage import sha256_file
from jaxsr.upscaling.upscaler import Progress, Upscaler

_SURROUNDINGS = ("jaxsr", "jax", "pillow", "device", "processor")


class ReplayError(ValueError):
    """A result cannot be made again; the message names what is missing or differs."""


@dataclass(frozen=True)
class FoundRecord:
    """The record of a result.

    Attributes:
        path: the file that the user named.
        result: the file of the result, which may be missing.
        request: the request with the options that were used.
        made_with: what it was made with, by the names of `jaxsr.batch.sidecar.surroundings` and `processor`.
        sha256: hash of the result's bytes.
        places: folders and paths where its input may lie besides those in `request`.
    """

    path: Path
    result: Path
    request: Request
    made_with: dict[str, str]
    sha256: str
    places: tuple[Path, ...] = ()


def find_record(path: Path) -> FoundRecord:
    """Read the record of a result from its sidecar, or from the result itself.

    A result's sidecar goes before the record inside of it, if it belongs to the same bytes.

    Raises ReplayError, ImageFileError, RequestError and OSError.
    """
    if path.suffix.lower() == ".json":
        return _from_sidecar(path, path.with_name(path.name[: -len(path.suffix)]))
    actual = hash_photo(path)
    with suppress(ReplayError, RequestError, OSError):
        found = _from_sidecar(sidecar_path(path), path)
        if found.sha256 == actual:
            return found
    text = read_record(path)
    if text is None:
        raise ReplayError(f"{path}: holds no record of how it was made; give its sidecar, {path.name}.json.")
    record = _parse(path, text)
    return FoundRecord(path, path, _request(path, record), _made_with(record), actual)


def _from_sidecar(path: Path, result: Path) -> FoundRecord:
    record = _parse(path, path.read_bytes())
    try:
        used = record | {"requested": record["options"], "requested_batch": record["batch"]}
        sha256 = record["output_sha256"]
        if not isinstance(sha256, str):
            raise ReplayError(f"{path}: its output_sha256 is no text.")
    except KeyError as error:
        raise ReplayError(f"{path}: is no sidecar of a result, because it lacks {error}.") from error
    places = [word.removeprefix("--input=") for word in _words(record) if word.startswith("--input=")]
    return FoundRecord(path, result, _request(path, used), _made_with(record), sha256, tuple(map(Path, places)))


def _parse(path: Path, text: str | bytes) -> dict[str, Any]:
    try:
        record = parse_json(text)
    except ValueError as error:
        raise ReplayError(f"{path}: its record cannot be read ({error}).") from error
    if not isinstance(record, dict):
        raise ReplayError(f"{path}: its record is no object of named fields.")
    return record


def _words(record: dict[str, Any]) -> list[str]:
    try:
        return shlex.split(str(record.get("command", "")))
    except ValueError:
        return []


def _request(path: Path, record: dict[str, Any]) -> Request:
    try:
        return Request.from_record(record)
    except RequestError as error:
        raise ReplayError(f"{path}: {error}") from error


def _made_with(record: dict[str, Any]) -> dict[str, str]:
    return {name: value for name in _SURROUNDINGS if isinstance(value := record.get(name), str)}


def locate(found: FoundRecord, given: Path | None = None) -> Request:
    """Find the files of a request: where its record says, beside the record, or the input where the user says.

    Raises ReplayError if a file is missing, or if it has other bytes than recorded.
    """
    request = found.request
    if given is not None and not given.is_file():
        raise ReplayError(f"--input: there is no file {given}; check the name, or leave the option out.")
    source = _locate(found, "input", request.input, given, found.places)
    files: dict[str, SourceFile] = {name: _locate(found, name, file) for name, file in request.guide_files.items()}
    return replace(request, input=source, **files)


def _locate(
    found: FoundRecord, name: str, file: SourceFile, given: Path | None = None, more: Sequence[Path] = ()
) -> SourceFile:
    """Find a file of a request: `given`, or else the first of the usual places that has its bytes."""
    here = found.path.parent
    usual = [file.path, here / file.path, here / file.path.name, here.parent / file.path.name, *more]
    places = usual if given is None else [given]
    there = [place for place in dict.fromkeys(places) if _is_file(place)]
    for place in there:
        if hash_photo(place) == file.sha256:
            return SourceFile(place, file.sha256)
    if not there:
        advice = "give --input" if name == "input" else "put it beside the record"
        raise ReplayError(f"{found.path}: its {name} {file.path} is not there; {advice}.")
    raise ReplayError(
        f"{found.path}: the {name} differs: {there[0]} has the SHA-256 {hash_photo(there[0])[:12]}..., but the record "
        f"has {file.sha256[:12]}...; find the file that was enlarged."
    )


def _is_file(path: Path) -> bool:
    """Return whether a path is a file. A name that is too long for the file system is none."""
    try:
        return path.is_file()
    except OSError:
        return False


def check_model(found: FoundRecord, upscaler: Upscaler) -> None:
    """Raise ReplayError if the model is not the one of the record."""
    recorded = found.request.model_sha256
    if upscaler.sha256 != recorded:
        raise ReplayError(
            f"{found.path}: the model differs: {upscaler.source.name} has the SHA-256 {upscaler.sha256[:12]}..., but "
            f"the record has {recorded[:12]}...; give the right one with --model."
        )


def differences(found: FoundRecord) -> list[str]:
    """List what is not as it was when the result was made, such as `jax 0.10.2, not 0.10.1`."""
    now = surroundings() | {"processor": processor()}
    return [f"{name} {now[name]}, not {old}" for name, old in found.made_with.items() if now[name] != old]


def make_again(
    upscaler: Upscaler,
    request: Request,
    target: Path,
    *,
    progress: Progress | None = None,
    accept_license: bool = False,
) -> str:
    """Make a result again in the file `target`, with its sidecar, and return the SHA-256 of its bytes.

    Raises the errors of `jaxsr.batch.enlarge.begin`, and those of the network.
    """
    job = Job(request.input.path, target, request.sample)
    files = {name: file.path for name, file in request.guide_files.items() if name in GUIDE_FILES and name != "mask"}
    begun = begin(upscaler, job, request, read_recipe(**files), progress=progress)
    ((_, made),) = make_many(upscaler, [begun], batch=request.batch, accept_license=accept_license)
    if isinstance(made, BaseException):
        raise made
    return sha256_file(target)


def compare_pixels(one: Path, other: Path) -> str | None:
    """Say in words how the pixels of two results differ; None if they are equal."""
    first, second = (read_decoded(str(path)).pixels for path in (one, other))
    if first.shape != second.shape or first.dtype != second.dtype:
        return f"one is {_shape(first)}, the other {_shape(second)}"
    gap = np.abs(first.astype(np.int32) - second)
    if not gap.any():
        return None
    share = np.count_nonzero(gap) / gap.size
    return f"{share:.2%} of the values differ, by at most {gap.max()} of {np.iinfo(first.dtype).max}"


def _shape(pixels: np.ndarray) -> str:
    return f"{pixels.shape[1]}x{pixels.shape[0]} of {pixels.shape[2]} channels and {8 * pixels.itemsize} bits"


def verdict(found: FoundRecord, made: Path, sha256: str) -> tuple[bool, str]:
    """Compare a result that was made again with the first one: whether the bytes are equal, and a sentence."""
    changed = differences(found)
    also = f" (made with {'; '.join(changed)})" if changed else ""
    if sha256 == found.sha256:
        return True, f"{found.result}: the same bytes, SHA-256 {sha256[:12]}...{also}"
    known = found.result.is_file() and sha256_file(found.result) == found.sha256
    words = compare_pixels(found.result, made) if known else "its pixels are unknown here"
    pixels = "the pixels are the same, the file is not" if words is None else words
    cause = "; ".join(changed) if changed else "nothing that the record names has changed"
    return False, f"{found.result}: differs: {pixels}; {cause}"

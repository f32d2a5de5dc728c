"""Files to enlarge and files to write: which result belongs to which input, what is done already, and sidecars.

A result's sidecar (`result.png.json`) holds all that is needed to make it again. A result counts as done when its
sidecar names the same input, model and options, and its own hash; so a killed run goes on where it was.
"""

import json
import os
import platform
import re
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jaxsr.checkpoint import sha256_file
from jaxsr.imaging.decode import Pixels
from jaxsr.imaging.files import JPEG, WEBP, WRITTEN, ImageFileError, Photo, list_images, write_pixels


@dataclass(frozen=True)
class Job:
    """One result to make: the sample number `sample` of the image `source`, written to `target`."""

    source: Path
    target: Path
    sample: int

    @property
    def sidecar(self) -> Path:
        """The JSON file beside the result."""
        return _sidecar(self.target)


class ExistsError(ValueError):
    """A result is there that was made otherwise."""


def _sidecar(path: Path) -> Path:
    return path.with_name(f"{path.name}.json")


def find_inputs(inputs: Sequence[Path], output: Path, *, recursive: bool) -> list[tuple[Path, Path]]:
    """Every image file of files and folders, with its path relative to what was named, for the mirrored tree.

    Results under `output` (images with a sidecar) are no inputs, where the output lies inside an input folder.

    Raises:
        ValueError: for a path that does not exist, or a folder without images.
    """
    results, found = output.resolve(), []
    for path in inputs:
        if not path.exists():
            raise ValueError(f"--input: there is no {path}; check the name.")
        if not path.is_dir():
            found.append((path, Path(path.name)))
            continue
        images = [
            image
            for image in list_images(path, recursive)
            if not (_sidecar(image).exists() and results in image.resolve().parents)
        ]
        if not images:
            folders = any(child.is_dir() and not child.name.startswith(".") for child in path.iterdir())
            below = " (give --recursive to look below it)" if folders and not recursive else ""
            raise ValueError(f"--input: there is no image to enlarge in the folder {path}{below}.")
        found += [(image, image.relative_to(path)) for image in images]
    return list(dict.fromkeys(found))


def check_output(folder: Path) -> None:
    """Refuse an output that is no folder and cannot become one, before time is spent; nothing is made.

    Raises:
        ValueError: if it, or what it would lie in, is a file or a folder that this user cannot write.
    """
    there = next(path for path in (folder, *folder.absolute().parents) if os.path.lexists(path))
    if not there.is_dir():
        raise ValueError(f"--output: {there} is not a folder; give the name of one.")
    if not os.access(there, os.W_OK | os.X_OK):
        raise ValueError(f"--output: the folder {there} cannot be written; choose another, or change its permissions.")


def plan_jobs(
    inputs: Sequence[tuple[Path, Path]], output: Path, *, suffix: str, ext: str | None, n_samples: int
) -> list[Job]:
    """One job per image and sample; results mirror the input's tree under `output`.

    A result keeps the input's name, with `suffix` before the extension and `_0`, `_1`... when there are several
    samples; the extension is `ext`, or the input's own where it can be written, else png.

    Raises:
        ValueError: if two inputs would write the same result, or a result would replace an input.
    """
    jobs: dict[Path, Job] = {}
    sources = {source.resolve() for source, _ in inputs}
    for source, relative in inputs:
        extension = f".{ext}" if ext else (source.suffix if source.suffix.lower() in WRITTEN else ".png")
        for sample in range(n_samples):
            number = f"_{sample}" if n_samples > 1 else ""
            target = output / relative.with_name(f"{relative.stem}{suffix}{number}{extension}")
            if target in jobs:
                raise ValueError(
                    f"--output: {jobs[target].source} and {source} would both be written to {target}; rename one."
                )
            if target.resolve() in sources:
                raise ValueError(f"--output: {target} would replace an input; choose another folder or a --suffix.")
            jobs[target] = Job(source, target, sample)
    return list(jobs.values())


def requested(job: Job, model_sha256: str, options: dict[str, Any], *, seed: int, quality: int) -> dict[str, Any]:
    """What decides the bits of a result besides its input, as JSON has it; `quality` only where the format knows it."""
    lossy = job.target.suffix.lower() in (*JPEG, *WEBP)
    chosen = options | {"seed": seed, "sample": job.sample} | ({"quality": quality} if lossy else {})
    return {"model_sha256": model_sha256, "options": json.loads(json.dumps(chosen))}


def is_done(job: Job, wanted: dict[str, Any]) -> bool:
    """Whether the result is there already, made from the same input and as `wanted` (see `requested`).

    The options may be those that were asked for then, or those that were used: `auto` says less than a number.

    Raises:
        ExistsError: if a file is there that was made otherwise.
        OSError: if the input or the result cannot be read.
    """
    if not job.target.exists():
        return False
    try:
        record = json.loads(job.sidecar.read_text(encoding="utf-8"))
        was = [{"model_sha256": record["model_sha256"], "options": record[key]} for key in ("requested", "options")]
        hashes = (record["input_sha256"], record["output_sha256"])
    except (OSError, ValueError, KeyError, TypeError):
        was, hashes = [], ()
    if wanted in was and hashes == (sha256_file(job.source), sha256_file(job.target)):
        return True
    raise ExistsError(f"{job.target} exists and was made otherwise; give --overwrite, a --suffix or another --output.")


def write_result(job: Job, pixels: Pixels, photo: Photo, record: dict[str, Any], *, quality: int) -> None:
    """Write the result and its sidecar so that a crash at any moment leaves no result that looks done but is not.

    `pixels` are as `write_pixels` wants them, `photo` is what they were made from.

    Raises:
        ImageFileError: if the format cannot hold the pixels, or the folder cannot be written.
    """
    try:
        with _temporary_folder(job.target.parent) as folder:
            result, sidecar = folder / job.target.name, folder / job.sidecar.name
            try:
                write_pixels(result, pixels, photo, quality=quality)
            except ImageFileError as error:
                raise ImageFileError(str(error).replace(str(result), str(job.target))) from error
            _write_synced(sidecar, json.dumps(record | {"output_sha256": sha256_file(result)}, indent=1) + "\n")
            # The sidecar knows the hash of the result before the result appears under its name.
            os.replace(sidecar, job.sidecar)
            os.replace(result, job.target)
    except OSError as error:
        reason = f"cannot be written ({error.strerror}); check the folder and its space"
        raise ImageFileError(f"{job.target}: {reason}") from error


@contextmanager
def _temporary_folder(parent: Path) -> Iterator[Path]:
    """A hidden folder of this process alone, on the same disk; its name tells `remove_leftovers` whose it is."""
    parent.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=f"{_prefix()}{os.getpid()}.", suffix=".tmp", dir=parent))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _write_synced(path: Path, text: str) -> None:
    with path.open("x", encoding="utf-8") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())


def remove_leftovers(folder: Path) -> None:
    """Remove the temporary folders of killed runs; those of runs that go on, or of other machines, stay."""
    for path in folder.iterdir() if folder.is_dir() else ():
        owner = re.fullmatch(rf"{re.escape(_prefix())}(\d{{1,9}})\..*\.tmp", path.name)
        if owner and _is_gone(int(owner[1])):
            shutil.rmtree(path, ignore_errors=True)


def _prefix() -> str:
    return f".jaxsr-{platform.node()}."


def _is_gone(process: int) -> bool:
    if os.name != "posix":  # elsewhere signal 0 is not a question
        return False
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return True
    except OSError:  # another user's
        pass
    return False

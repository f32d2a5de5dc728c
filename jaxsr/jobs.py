"""Files to enlarge and files to write: which result belongs to which input, what is done already, and sidecars.

A result's sidecar (`result.png.json`) holds all that decides its bits. A result counts as done when its sidecar names
the same input, model and options, and its own hash; so a killed run goes on where it was.
"""

import json
import os
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from jaxsr.checkpoint import sha256_file
from jaxsr.imaging.files import WRITTEN, Photo, list_images, write_photo

DECISIVE = ("input_sha256", "model_sha256", "options", "version")


@dataclass(frozen=True)
class Job:
    """One result to make: the sample number `sample` of the image `source`, written to `target`."""

    source: Path
    target: Path
    sample: int

    @property
    def sidecar(self) -> Path:
        """The JSON file beside the result."""
        return self.target.with_name(self.target.name + ".json")


class ExistsError(ValueError):
    """A result is there that was made otherwise."""


def find_inputs(inputs: Sequence[Path], recursive: bool) -> list[tuple[Path, Path]]:
    """Every image file of files and folders, with its path relative to what was named, for the mirrored tree.

    Raises:
        ValueError: for a path that does not exist, or a folder without images.
    """
    found: list[tuple[Path, Path]] = []
    for path in inputs:
        if path.is_dir():
            images = list_images(path, recursive)
            if not images:
                below = "" if recursive else " (give --recursive to look below it)"
                raise ValueError(f"--input: there is no image in the folder {path}{below}.")
            found += [(image, image.relative_to(path)) for image in images]
        elif path.exists():
            found.append((path, Path(path.name)))
        else:
            raise ValueError(f"--input: there is no {path}; check the name.")
    return found


def plan_jobs(
    inputs: Sequence[tuple[Path, Path]], output: Path, *, suffix: str, ext: str | None, n_samples: int
) -> list[Job]:
    """One job per image and sample; results mirror the input's tree under `output`.

    A result keeps the input's name, with `suffix` before the extension and `_0`, `_1`... when there are several
    samples; the extension is `ext`, or the input's own where it can be written, else png.

    Raises:
        ValueError: if two inputs would write the same result, or a result would replace its input.
    """
    jobs: dict[Path, Job] = {}
    for source, relative in inputs:
        own = source.suffix.lower()
        extension = f".{ext}" if ext else (source.suffix if own in WRITTEN else ".png")
        for sample in range(n_samples):
            number = f"_{sample}" if n_samples > 1 else ""
            target = output / relative.with_name(f"{relative.stem}{suffix}{number}{extension}")
            if target in jobs:
                raise ValueError(
                    f"--output: {jobs[target].source} and {source} would both be written to {target}; rename one."
                )
            if target.resolve() == source.resolve():
                raise ValueError(f"--output: {target} would replace its input; choose another folder or a --suffix.")
            jobs[target] = Job(source, target, sample)
    return list(jobs.values())


def is_done(job: Job, decisive: dict[str, Any], *, overwrite: bool) -> bool:
    """Whether the result is there already, made from the same input, model and options.

    Raises:
        ExistsError: if a file is there that was made otherwise, unless it may be overwritten.
    """
    if overwrite or not job.target.exists():
        return False
    try:
        record = json.loads(job.sidecar.read_text())
    except (OSError, ValueError):
        record = {}
    made_so = all(record.get(key) == decisive[key] for key in DECISIVE)
    if made_so and record.get("output_sha256") == sha256_file(job.target):
        return True
    raise ExistsError(f"{job.target} exists and was made otherwise; give --overwrite, a --suffix or another --output.")


def write_result(job: Job, photo: Photo, record: dict[str, Any], *, quality: int) -> None:
    """Write the result and its sidecar so that a crash at any moment leaves no result that looks done but is not."""
    # The sidecar knows the hash of the result before the result appears under its name.
    temporary = job.target.with_name(f".{uuid.uuid4().hex}{job.target.suffix}")
    sidecar = job.sidecar.with_name(f".{uuid.uuid4().hex}.json")
    try:
        write_photo(temporary, replace(photo, source=str(job.target)), quality=quality)
        text = json.dumps(record | {"output_sha256": sha256_file(temporary)}, indent=1, ensure_ascii=False)
        sidecar.write_text(text + "\n", encoding="utf-8")
        os.replace(sidecar, job.sidecar)
        os.replace(temporary, job.target)
    finally:
        temporary.unlink(missing_ok=True)
        sidecar.unlink(missing_ok=True)

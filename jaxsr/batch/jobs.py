"""Which files to enlarge, and which file each result is written to."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from jaxsr.imaging.files import WRITTEN, list_images


@dataclass(frozen=True)
class Job:
    """One result to make: the sample number `sample` of the image `source`, written to `target`."""

    source: Path
    target: Path
    sample: int

    @property
    def sidecar(self) -> Path:
        """The JSON file beside the result."""
        return sidecar_path(self.target)


def sidecar_path(result: Path) -> Path:
    """The JSON file beside a result: `result.png.json`."""
    return result.with_name(f"{result.name}.json")


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
            if not (sidecar_path(image).exists() and results in image.resolve().parents)
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

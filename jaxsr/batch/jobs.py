"""The jobs of a batch: the image files to enlarge, and the file of each result."""

import hashlib
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from jaxsr.imaging.files import OTHER_JPEG, WRITTEN
from jaxsr.imaging.folders import IMAGES, left_out, list_images

_DEALT = 2**16  # bytes of an image that decide its shard


@dataclass(frozen=True)
class Job:
    """One result to make: sample number `sample` of the image `source`, written to `target`.

    `relative` is the path of the image below the folder that was given, or its name.
    """

    source: Path
    target: Path
    sample: int
    relative: Path | None = None

    @property
    def sidecar(self) -> Path:
        """The JSON file beside the result."""
        return sidecar_path(self.target)


def in_shard(jobs: Sequence[Job], shard: tuple[int, int]) -> list[Job]:
    """Keep the jobs of one of N shards: (I, N), with I from 1 to N.

    The size and the first bytes of an image decide, with the number of the sample. So the shards are the same on every
    machine, in every order and for every part of a folder.
    """
    number, count = shard
    dealt = {source: _deal(source) for source in {job.source for job in jobs}}
    return [job for job in jobs if (dealt[job.source] + job.sample) % count == number - 1]


def _deal(source: Path) -> int:
    if not source.is_file():
        return 0  # a pipe gives its bytes only once
    try:
        with source.open("rb") as file:
            content = os.fstat(file.fileno()).st_size.to_bytes(8, "little") + file.read(_DEALT)
    except OSError:  # the shard that gets it will say so
        content = b""
    return int.from_bytes(hashlib.sha256(content).digest()[:8])


def sidecar_path(result: Path) -> Path:
    """Return the JSON file beside a result: `result.png.json`."""
    return result.with_name(f"{result.name}.json")


def find_inputs(inputs: Sequence[Path], output: Path, *, recursive: bool) -> list[tuple[Path, Path]]:
    """List every image file in files and folders, with its path relative to the given input, for the mirrored tree.

    If `output` lies inside an input folder, the results under it (images with a sidecar) are not inputs.

    Raises:
        ValueError: for a path that does not exist, or a folder without images.
    """
    output_root, listed = output.resolve(), []
    for path in inputs:
        if not path.exists():
            raise ValueError(f"{path}: there is no such file or folder; check the name.")
        if not path.is_dir():
            listed.append((path, Path(path.name)))
            continue
        images = [
            image
            for image in list_images(path, recursive)
            if not (exists(sidecar_path(image)) and output_root in image.resolve().parents)
        ]
        if not images:
            folders = any(child.is_dir() and not child.name.startswith(".") for child in path.iterdir())
            below = " (give --recursive to look below it)" if folders and not recursive else ""
            if note := left_out([path], recursive=recursive):
                below += f"; {note}"
            raise ValueError(f"there is no image to enlarge in the folder {path}{below}.")
        listed += [(image, image.relative_to(path)) for image in images]
    return list(dict.fromkeys(listed))


def exists(path: Path) -> bool:
    """Return whether a path exists. A name that is too long for the file system does not."""
    try:
        return path.exists()
    except OSError:
        return False


def check_name(job: Job) -> None:
    """Raise ValueError if the file system cannot hold the name of a job's result or of its sidecar."""
    folder = next(path for path in job.target.absolute().parents if path.exists())
    try:
        limit = os.pathconf(folder, "PC_NAME_MAX")
    except (AttributeError, OSError, ValueError):
        limit = 255
    name = job.sidecar.name
    if len(os.fsencode(name)) > limit:
        why = f"the result's record {name[:20]}...{name[-12:]} would have more than {limit} bytes"
        if job.target.stem.startswith(job.source.stem):
            advice = "rename the image" if len(job.source.stem) > limit // 2 else "choose a shorter --suffix"
            raise ValueError(f"{job.source}: its name is too long: {why}; {advice}.")
        raise ValueError(f"--output: the name of {job.target} is too long: {why}; choose a shorter one.")


def is_file_name(output: Path) -> bool:
    """Return whether an output is the name of an image file, and not that of a folder that exists.

    Raises ValueError for the name of an image file of a type that is not written.
    """
    suffix = output.suffix.lower()
    if output.is_dir() or suffix not in IMAGES:
        return False
    if suffix not in WRITTEN:
        raise ValueError(f"--output: {output}: {suffix} is not written; choose one of {', '.join(WRITTEN)}.")
    return True


def name_result(
    inputs: Sequence[tuple[Path, Path]], target: Path, *, n_samples: int, given: Sequence[str]
) -> list[Job]:
    """Plan the only job, whose result is the file `target`.

    Raises ValueError if there would be more results, if an option among `given` names the result too, or if the result
    would replace the input.
    """
    if (count := len(inputs) * n_samples) != 1:
        raise ValueError(f"--output: {target} is one file, but there would be {count} results; give a folder.")
    if given:
        raise ValueError(f"--{given[0]}: --output {target} names the file already; leave one of the two out.")
    source, relative = inputs[0]
    if target.resolve() == source.resolve():
        raise ValueError(f"--output: {target} would replace an input; choose another name.")
    return [Job(source, target, 0, relative)]


def find_masks(masks: Path) -> Callable[[Job], Path]:
    """Return the function that finds the mask of a job: the file `masks`, or a file in the folder `masks`.

    In a folder, the mask has the name of the image, in the same folder below; extensions may differ. The function
    raises ValueError if there is no such file, or more than one. This function raises it if there is no `masks`.
    """
    if not masks.exists():
        raise ValueError(f"--mask: there is no {masks}; check the name.")
    if not masks.is_dir():
        return lambda job: masks
    by_name: dict[Path, list[Path]] = {}
    for path in list_images(masks, True):
        by_name.setdefault(path.relative_to(masks).with_suffix(""), []).append(path)

    def mask_of(job: Job) -> Path:
        name = job.relative or Path(job.source.name)
        found = [path for path in by_name.get(name.with_suffix(""), ()) if not path.samefile(job.source)]
        exact = [path for path in found if path.name == job.source.name]
        if len(exact or found) != 1:
            what = "several masks" if found else "no mask"
            wanted = f"{what} of the name {name.with_suffix('')} for {job.source}"
            raise ValueError(f"--mask: {masks} has {wanted}; give one image of this name.")
        return (exact or found)[0]

    return mask_of


def check_new_file(option: str, path: Path, *, overwrite: bool) -> None:
    """Refuse a file that an option would write if it exists, or if its folder cannot be written to.

    Raises:
        ValueError: naming the option.
    """
    if path.is_dir():
        raise ValueError(f"{option}: {path} is a folder; give the name of a file.")
    if path.exists() and not overwrite:
        raise ValueError(f"{option}: {path} is there already; give another name or --overwrite.")
    if not path.parent.is_dir():
        raise ValueError(f"{option}: there is no folder {path.parent}; make it, or choose another.")
    if not os.access(path.parent, os.W_OK | os.X_OK):
        raise ValueError(f"{option}: the folder {path.parent} cannot be written to; choose another.")


def check_output(folder: Path) -> None:
    """Refuse an output that is not a folder and cannot become one, before any work. This function creates nothing.

    Raises:
        ValueError: if the output, or else the nearest parent that exists, is a file or a folder that this user cannot
            write to.
    """
    existing = next(path for path in (folder, *folder.absolute().parents) if os.path.lexists(path))
    if not existing.is_dir():
        raise ValueError(f"--output: {existing} is not a folder; give the name of a folder.")
    if not os.access(existing, os.W_OK | os.X_OK):
        raise ValueError(
            f"--output: the folder {existing} cannot be written; choose another, or change its permissions."
        )


def plan_jobs(
    inputs: Sequence[tuple[Path, Path]], output: Path, *, suffix: str, ext: str | None, n_samples: int
) -> list[Job]:
    """Plan one job per image and sample. The results mirror the input's tree under `output`.

    A result keeps the input's name, with `suffix` before the extension. If there are several samples, `_0`, `_1`...
    follow the suffix. The extension is `ext`, or the input's own if that format can be written, else jpg for a JPEG of
    another extension, else png.

    Raises:
        ValueError: if two inputs would write the same result, or a result would replace an input.
    """
    jobs: dict[Path, Job] = {}
    sources = {source.resolve() for source, _ in inputs}
    for source, relative in inputs:
        own = ".jpg" if source.suffix.lower() in OTHER_JPEG else ".png"
        extension = f".{ext}" if ext else (source.suffix if source.suffix.lower() in WRITTEN else own)
        for sample in range(n_samples):
            number = f"_{sample}" if n_samples > 1 else ""
            target = output / relative.with_name(f"{relative.stem}{suffix}{number}{extension}")
            if target in jobs:
                raise ValueError(
                    f"--output: {jobs[target].source} and {source} would both be written to {target}; rename one."
                )
            if target.resolve() in sources:
                raise ValueError(f"--output: {target} would replace an input; choose another folder or a --suffix.")
            jobs[target] = Job(source, target, sample, relative)
    return list(jobs.values())

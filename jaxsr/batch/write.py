"""Results are written so that a crash at any moment leaves no unfinished result that looks done."""

import json
import os
from pathlib import Path
from typing import Any

from jaxsr.batch.jobs import Job
from jaxsr.imaging.files import Photo, write_pixels
from jaxsr.imaging.pixels import ImageFileError, Pixels
from jaxsr.storage import sha256_file, temporary_folder


def write_result(job: Job, pixels: Pixels, photo: Photo, record: dict[str, Any], *, quality: int) -> None:
    """Write a result and its sidecar.

    Args:
        job: the job, which names both files.
        pixels: pixels as `write_pixels` takes them.
        photo: photograph that the pixels come from, for its profile and EXIF.
        record: the sidecar, without the hash of the result.
        quality: quality of JPEG and WebP.
    Raises:
        ImageFileError: if the format cannot hold the pixels, or the folder cannot be written to.
    """
    try:
        with temporary_folder(job.target.parent) as folder:
            result, sidecar = folder / job.target.name, folder / job.sidecar.name
            try:
                write_pixels(result, pixels, photo, quality=quality)
            except ImageFileError as error:
                raise ImageFileError(str(error).replace(str(result), str(job.target))) from error
            _write_synced(sidecar, json.dumps(record | {"output_sha256": sha256_file(result)}, indent=1) + "\n")
            # The sidecar appears first, so that no result ever lacks the hash that proves it whole.
            os.replace(sidecar, job.sidecar)
            os.replace(result, job.target)
    except OSError as error:
        reason = f"cannot be written ({error.strerror}); check the folder and its space"
        raise ImageFileError(f"{job.target}: {reason}") from error


def _write_synced(path: Path, text: str) -> None:
    with path.open("x", encoding="utf-8") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())

"""The record of a result with the names that a client knows, in place of our files: command line and sidecar.

The command line has no choice left open and names the client's own files, so that it makes the same bytes in the folder
where these lie.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from jaxsr.batch.jobs import Job
from jaxsr.batch.request import Request, SourceFile
from jaxsr.batch.sidecar import command
from jaxsr.plain_data import parse_json
from jaxsr.storage import write_whole
from jaxsr.upscaling.plan import ImageRun
from jaxsr.upscaling.upscaler import Upscaler


@dataclass(frozen=True)
class Names:
    """The client's names of the files of a request: of the photograph as `input`, and of each guide file."""

    names: Mapping[str, str]

    @classmethod
    def of(cls, request: Request, photo: str, files: Mapping[str, str]) -> "Names":
        """Make the names different from each other, since all files shall lie in one folder."""
        found = {"input": photo}
        for name in request.guide_files:
            shown = files[name]
            while shown in found.values():
                shown = f"{name.replace('_', '-')}-{shown}"
            found[name] = shown
        return cls(found)

    def renamed(self, request: Request) -> Request:
        """Return the request with these names in place of our paths."""
        files = {"input": request.input, **request.guide_files}
        return replace(
            request, **{name: SourceFile(Path(self.names[name]), file.sha256) for name, file in files.items()}
        )

    def of_result(self, job: Job, samples: int) -> str:
        """Return the name of the result's file that the command makes from the photograph."""
        own, number = Path(self.names["input"]), f"_{job.sample}" if samples > 1 else ""
        suffix = own.suffix if own.suffix.lower() == job.target.suffix else job.target.suffix
        return f"{own.stem}{number}{suffix}"


def shown_command(
    upscaler: Upscaler, request: Request, run: ImageRun, names: Names, *, accept_license: bool = False
) -> str:
    """Return the command line that makes the result again, from files with the client's names in the same folder."""
    return command(upscaler, names.renamed(request), run, accept_license=accept_license, absolute=False)


def write_shown_sidecar(path: Path, names: Names, command_line: str) -> dict[str, Any]:
    """Replace our paths in a sidecar by the client's names. Return the record."""
    record = parse_json(path.read_bytes()) | {"command": command_line, "input": names.names["input"]}
    guides = {name: shown for name, shown in names.names.items() if name != "input"}
    if "files" in record:
        record["files"] = {name: guides[name] for name in record["files"]}
    if "from_calibration" in record:
        record["from_calibration"][0] = Path(record["from_calibration"][0]).name
    if "guidance" in record:
        record["guidance"] |= {name: shown for name, shown in guides.items() if name in record["guidance"]}
    write_whole(path, json.dumps(record, indent=1) + "\n")
    return record

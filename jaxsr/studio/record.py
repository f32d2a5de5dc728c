"""The record of a result with the names that a client knows, in place of our files: command line and sidecar.

The command line has no choice left open and names the client's own files, so that it makes the same bytes in the folder
where these lie.
"""

import json
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from jaxsr.batch.jobs import Job
from jaxsr.batch.request import Request, SourceFile
from jaxsr.plain_data import parse_json
from jaxsr.storage import write_whole


@dataclass(frozen=True)
class Names:
    """The client's names of the files of a request: of the photograph as `input`, and of each guide file."""

    names: Mapping[str, str]

    @classmethod
    def of(cls, photo: str, files: Mapping[str, str]) -> "Names":
        """Make the names different from each other, since all files shall lie in one folder."""
        found = {"input": photo}
        for name, shown in files.items():
            while shown in found.values():
                shown = f"{name.replace('_', '-')}-{shown}"
            found[name] = shown
        return cls(found)

    def renamed(self, request: Request) -> Request:
        """Return the request with these names in place of our paths, for records. Nobody opens such a path."""
        files = {"input": request.input, **request.guide_files}
        shown = {name: SourceFile(Path(self.names[name]), file.sha256) for name, file in files.items()}
        if request.calibration is not None:
            shown["calibration"] = SourceFile(Path(request.calibration.path.name), request.calibration.sha256)
        return replace(request, **shown)

    def of_result(self, job: Job, samples: int) -> str:
        """Return the name of the result's file that the command makes from the photograph."""
        own, number = Path(self.names["input"]), f"_{job.sample}" if samples > 1 else ""
        suffix = own.suffix if own.suffix.lower() == job.target.suffix else job.target.suffix
        return f"{own.stem}{number}{suffix}"

    def in_command(self, line: str) -> str:
        """Return a command line with these names after the options of the files."""
        words = []
        for word in shlex.split(line):
            option = word.partition("=")[0]
            name = option.removeprefix("--").replace("-", "_")
            words.append(f"{option}={self.names[name]}" if name in self.names else word)
        return shlex.join(words)


def name_in_sidecar(sidecar: Path, names: Names) -> dict[str, Any]:
    """Let the command in a sidecar name the client's files, relative to the folder where it runs. Return the record."""
    record = parse_json(sidecar.read_bytes())
    record["command"] = names.in_command(record["command"])
    write_whole(sidecar, json.dumps(record, indent=1) + "\n")
    return record

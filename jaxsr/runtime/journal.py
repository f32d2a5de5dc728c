"""The journal of a run: JSON lines in a file beside the unfinished result, so that a killed run can be resumed."""

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax

from jaxsr.runtime.devices import broadcast
from jaxsr.storage import write_whole


class JournalFile:
    """A journal: the JSON lines of the file `path`, after a header with all choices of the run.

    Only process 0 reads and writes the file. All processes hold the same lines.

    Attributes:
        found: the lines of the stopped run, without the header; empty for a new run.
    """

    def __init__(self, path: Path, choices: Mapping[str, Any], *, what: str, overwrite: bool = False) -> None:
        """Read the lines of a stopped run, or start a new file.

        Args:
            path: the file.
            choices: all choices of the run, as JSON values by name.
            what: kind of the run, for the error message.
            overwrite: start a new file if the existing one has other choices.
        Raises:
            ValueError: for a file with other choices, unless `overwrite` is set.
        """
        self._path, self._choices = path, json.loads(json.dumps(choices))
        content = broadcast(path.read_bytes() if jax.process_index() == 0 and path.exists() else b"")
        content = content[: content.rfind(b"\n") + 1]  # drops a line that the run was writing when it was killed
        lines = content.splitlines()
        if lines and (difference := self._difference(lines[0])):
            if not overwrite:
                raise ValueError(
                    f"{path}: holds a stopped {what} with {difference}; give its choices to resume it, or --overwrite "
                    "to start again."
                )
            lines = []
        self.found: list[dict[str, Any]] = [json.loads(line) for line in lines[1:]]
        if jax.process_index() == 0:
            if lines:
                os.truncate(path, len(content))
            else:
                self._begin()

    def _begin(self) -> None:
        write_whole(self._path, json.dumps({"choices": self._choices}) + "\n")

    def _difference(self, header: bytes) -> str:
        """Describe how the choices in a file's header differ from this run's. Returns "" if they are equal."""
        try:
            stored = json.loads(header)["choices"]
        except (ValueError, KeyError, TypeError):
            return "another format"
        ours = self._choices
        return ", ".join(f"another {key}" for key in ours | stored if ours.get(key) != stored.get(key))

    def write(self, lines: Sequence[Mapping[str, Any]]) -> None:
        """Append lines to the file."""
        if jax.process_index() == 0:
            with self._path.open("a", encoding="utf-8") as file:
                file.write("".join(json.dumps(line) + "\n" for line in lines))

    def remove(self) -> None:
        """Delete the file. Call this when the result has been written."""
        if jax.process_index() == 0:
            self._path.unlink(missing_ok=True)

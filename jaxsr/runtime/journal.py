"""A journal: JSON lines beside a result that is being computed, so that a killed run can be resumed."""

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax

from jaxsr.runtime.devices import broadcast
from jaxsr.storage import write_whole


class JournalFile:
    """JSON lines of the file `path`, below a header with all choices that a run was begun with.

    Process 0 alone reads and writes the file; all processes hold the same lines.
    """

    def __init__(self, path: Path, choices: Mapping[str, Any], *, what: str, overwrite: bool = False) -> None:
        """Take up the lines of a stopped run, or begin. `what` names it in the error.

        Raises:
            ValueError: for a file of other choices, unless it may be overwritten.
        """
        self._path, self._choices = path, json.loads(json.dumps(choices))
        found = broadcast(path.read_bytes() if jax.process_index() == 0 and path.exists() else b"")
        found = found[: found.rfind(b"\n") + 1]  # a line without its end was being written when the run was killed
        lines = found.splitlines()
        if lines and (difference := self._difference(lines[0])):
            if not overwrite:
                raise ValueError(
                    f"{path}: holds a stopped {what} with {difference}; give its choices to go on with it, or "
                    "--overwrite to begin anew."
                )
            lines = []
        self.found: list[dict[str, Any]] = [json.loads(line) for line in lines[1:]]
        if jax.process_index() == 0:
            if lines:
                os.truncate(path, len(found))
            else:
                self._begin()

    def _begin(self) -> None:
        write_whole(self._path, json.dumps({"choices": self._choices}) + "\n")

    def _difference(self, first: bytes) -> str:
        """What the choices of a file's header have that ours have not; empty where they are equal."""
        try:
            stored = json.loads(first)["choices"]
        except (ValueError, KeyError, TypeError):
            return "another format"
        ours = self._choices
        return ", ".join(f"another {key}" for key in ours | stored if ours.get(key) != stored.get(key))

    def write(self, lines: Sequence[Mapping[str, Any]]) -> None:
        """Add some lines at the end of the file."""
        if jax.process_index() == 0:
            with self._path.open("a", encoding="utf-8") as file:
                file.write("".join(json.dumps(line) + "\n" for line in lines))

    def remove(self) -> None:
        """Delete the file, when its result has been written."""
        if jax.process_index() == 0:
            self._path.unlink(missing_ok=True)

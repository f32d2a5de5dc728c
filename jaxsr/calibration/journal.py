"""What a calibration has measured so far, line by line in a file beside its result, so that a killed one goes on."""

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jaxtyping import Float

from jaxsr.calibration.devices import broadcast

Row = dict[str, list[float]]
"""Name of a number -> its values, of one pair."""


class Journal:
    """Rows of `<output>.part`: a header with all choices, then one JSON line for each pass and pair.

    Process 0 alone reads and writes the file; all processes hold the same rows.
    """

    def __init__(self, path: Path, choices: Mapping[str, Any], *, overwrite: bool = False) -> None:
        """Take up the rows of a stopped run, or begin.

        Raises:
            ValueError: for a file of other choices, unless it may be overwritten.
        """
        self._path, self._rows = path, {}
        self._choices = json.loads(json.dumps(choices))
        found = broadcast(path.read_bytes() if jax.process_index() == 0 and path.exists() else b"")
        found = found[: found.rfind(b"\n") + 1]  # a line without its end was being written when the run was killed
        lines = found.splitlines()
        if lines and (difference := self._difference(lines[0])):
            if not overwrite:
                raise ValueError(
                    f"{path}: holds a stopped calibration with {difference}; give its choices to go on with it, or "
                    "--overwrite to begin anew."
                )
            lines = []
        for line in lines[1:]:
            self._keep(json.loads(line))
        if jax.process_index() == 0:
            if lines:
                os.truncate(path, len(found))
            else:
                self._begin()

    def _begin(self) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        temporary = self._path.with_name(f"{self._path.name}.{os.getpid()}.tmp")
        temporary.write_text(json.dumps({"choices": self._choices}) + "\n", encoding="utf-8")
        os.replace(temporary, self._path)

    def _difference(self, first: bytes) -> str:
        """What the choices of a file's header have that ours have not; empty where they are equal."""
        try:
            stored = json.loads(first)["choices"]
        except (ValueError, KeyError, TypeError):
            return "another format"
        ours = self._choices
        return ", ".join(f"another {key}" for key in ours | stored if ours.get(key) != stored.get(key))

    def _keep(self, line: dict[str, Any]) -> None:
        values = {name: np.array(numbers) for name, numbers in line["values"].items()}
        self._rows.setdefault(line["pass"], {})[line["pair"]] = values

    def done(self, name: str) -> set[int]:
        """Numbers of the pairs that a pass has been through."""
        return set(self._rows.get(name, ()))

    def append(self, name: str, rows: Mapping[int, Row]) -> None:
        """Write and keep the rows of some pairs."""
        lines = [{"pass": name, "pair": pair, "values": row} for pair, row in rows.items()]
        for line in lines:
            self._keep(line)
        if jax.process_index() == 0:
            with self._path.open("a", encoding="utf-8") as file:
                file.write("".join(json.dumps(line) + "\n" for line in lines))

    def stacked(self, name: str, pairs: Sequence[int]) -> dict[str, Float[np.ndarray, "rows n"]]:
        """The values of a pass over some pairs, side by side, float64."""
        rows = [self._rows[name][pair] for pair in pairs]
        return {key: np.stack([row[key] for row in rows], axis=1) for key in rows[0]}

    def remove(self) -> None:
        """Delete the file, when its result has been written."""
        if jax.process_index() == 0:
            self._path.unlink(missing_ok=True)

"""The journal of a calibration: its measurements, in a file beside its result, so that a killed run can be resumed."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from jaxsr.runtime.journal import JournalFile

Row = dict[str, list[float]]
"""Name of a number -> its values, for one pair."""


class Journal:
    """The rows of `<output>.part`: one line for each pass and pair."""

    def __init__(self, path: Path, choices: Mapping[str, Any], *, overwrite: bool = False) -> None:
        """Read the rows of a stopped calibration, or start a new file; see `JournalFile`."""
        self._rows: dict[str, dict[int, dict[str, np.ndarray]]] = {}
        self._lines = JournalFile(path, choices, what="calibration", overwrite=overwrite)
        for line in self._lines.found:
            self._keep(line)

    def _keep(self, line: dict[str, Any]) -> None:
        values = {name: np.array(numbers) for name, numbers in line["values"].items()}
        self._rows.setdefault(line["pass"], {})[line["pair"]] = values

    def done(self, name: str) -> set[int]:
        """Return the numbers of the pairs that a pass has measured."""
        return set(self._rows.get(name, ()))

    def append(self, name: str, rows: Mapping[int, Row]) -> None:
        """Write the rows of some pairs, and keep them in memory."""
        lines = [{"pass": name, "pair": pair, "values": row} for pair, row in rows.items()]
        for line in lines:
            self._keep(line)
        self._lines.write(lines)

    def stacked(self, name: str, pairs: Sequence[int]) -> dict[str, Float[np.ndarray, "rows n"]]:
        """Return the values of a pass over some pairs, one column per pair, float64."""
        rows = [self._rows[name][pair] for pair in pairs]
        return {key: np.stack([row[key] for row in rows], axis=1) for key in rows[0]}

    def remove(self) -> None:
        """Delete the file. Call this when the result has been written."""
        self._lines.remove()

    def __enter__(self) -> "Journal":
        return self

    def __exit__(self, *error: object) -> None:
        self._lines.close()

"""The log of a run: one JSON object a line, always; TensorBoard beside it where TensorFlow is installed."""

import importlib.util
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any


class RunLog:
    """Appends rows to `log.jsonl`; rows after `step` (of an earlier try that was cut off) are dropped at the start."""

    def __init__(self, folder: Path, step: int):
        self.path = folder / "log.jsonl"
        self._keep_up_to(step)
        self._board = None
        if importlib.util.find_spec("tensorflow"):
            from clu import metric_writers

            self._board = metric_writers.SummaryWriter(str(folder / "tensorboard"))

    def _keep_up_to(self, step: int) -> None:
        if not self.path.exists():
            return
        rows = [line for line in self.path.read_text().splitlines() if _step_of(line) <= step]
        part = self.path.with_suffix(".part")
        part.write_text("".join(f"{row}\n" for row in rows))
        os.replace(part, self.path)

    def write(self, row: Mapping[str, Any]) -> None:
        """Append one row; it has a `step`."""
        with self.path.open("a") as file:
            file.write(json.dumps(row) + "\n")
        if self._board:
            scalars = {key: value for key, value in row.items() if key != "step"}
            self._board.write_scalars(row["step"], scalars)


def _step_of(line: str) -> float:
    try:
        return json.loads(line)["step"]
    except (ValueError, KeyError):
        return float("inf")  # half a line, written when the run was killed

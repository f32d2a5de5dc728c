"""The log of a run: one JSON object per line, and TensorBoard files beside it if TensorFlow is installed."""

import importlib.util
import json
import math
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jaxtyping import Array

from jaxsr.plain_data import parse_json
from jaxsr.storage import write_whole


class RunLog:
    """A log that appends rows to `log.jsonl`. First, it drops rows after `step`, which an interrupted run left."""

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
        write_whole(self.path, "".join(f"{row}\n" for row in rows))

    def write(self, row: Mapping[str, Any]) -> None:
        """Append one row, which must have a `step`."""
        with self.path.open("a") as file:
            file.write(json.dumps(row) + "\n")
        if self._board:
            scalars = {key: value for key, value in row.items() if key != "step"}
            self._board.write_scalars(row["step"], scalars)
            self._board.flush()


class Meter:
    """A meter that gathers the updates since the last row of the log into the next row."""

    def __init__(self, batch_size: int):
        self._batch_size = batch_size
        self._restart()

    def _restart(self) -> None:
        self._losses: list[Mapping[str, Array]] = []
        self._since = time.perf_counter()

    def add(self, losses: Mapping[str, Array]) -> None:
        """Count one update, with its `loss` and the terms of the loss, without waiting for the device."""
        self._losses.append(losses)

    def row(self, step: int, grad_norm: Array) -> dict[str, int | float]:
        """Return the step, the mean loss and terms since the last row, this step's gradient norm, and the speed.

        A loss of a single term is not repeated as a term.

        The speed counts HR crops per second.

        Raises:
            FloatingPointError: if the loss or the gradient is not finite.
        """
        means = {name: float(np.mean(values)) for name, values in _columns(jax.device_get(self._losses)).items()}
        loss, norm = means.pop("loss"), float(grad_norm)
        if not (math.isfinite(loss) and math.isfinite(norm)):
            raise FloatingPointError(
                f"step {step}: the loss is {loss} and the gradient norm {norm}; lower learning_rate and start again."
            )
        speed = len(self._losses) * self._batch_size / (time.perf_counter() - self._since)
        self._restart()
        terms = means if len(means) > 1 else {}
        return {"step": step, "loss": loss, **terms, "grad_norm": norm, "images_per_s": round(speed, 2)}


def _columns(rows: list[Mapping[str, Any]]) -> dict[str, list[Any]]:
    return {name: [row[name] for row in rows] for name in rows[0]}


def _step_of(line: str) -> int | float:
    try:
        return parse_json(line)["step"]
    except (ValueError, KeyError, TypeError):
        return math.inf  # half a line, written when the run was killed

"""The progress bars of the commands, and their lines where no terminal shows a bar."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

Report = Callable[[int, str, int, int], None]
QUIET = 30.0
"""Seconds between lines of progress if the output is not a terminal."""


class PipedConsole(Console):
    """A console that leaves a reader who has gone to the command's end (see `jaxsr.cli.exits`).

    Rich's own ends the process with the code 1.
    """

    def on_broken_pipe(self) -> None:
        raise BrokenPipeError


@dataclass(frozen=True)
class PassState:
    """How far a pass over pairs is.

    Attributes:
        name: the pass.
        done, total: pairs.
        rate, unit: work per second, and its unit.
        left: seconds that are left.
    """

    name: str
    done: int
    total: int
    rate: float
    unit: str
    left: float

    def __str__(self) -> str:
        return f"{self.name}: {self.done}/{self.total} pairs, {self.rate:.3g} {self.unit}/s, {self.left:.0f} s left"


@contextmanager
def image_bar(images: int) -> Iterator[Report]:
    """Show a progress bar with tiles and images/s on stderr. Shows nothing if stderr is no terminal.

    Yields report(images finished, name of the current image, its finished tiles, its number of tiles).
    """
    began = time.perf_counter()
    with _bar() as bar:
        task = bar.add_task("", total=images, tiles="", rate="")

        def report(finished: int, name: str, done: int, total: int) -> None:
            position = finished + done / max(total, 1)
            rate = f"{position / (time.perf_counter() - began):.2g} images/s"
            tiles = f"{done}/{total} tiles" if total else ""
            bar.update(task, completed=position, description=name, tiles=tiles, rate=rate)

        yield report


@contextmanager
def pass_bar() -> Iterator[Callable[[PassState], None]]:
    """Show the progress of passes over pairs: the bar of `image_bar`, or lines on stderr if that is no terminal.

    Lines come at most every QUIET seconds.
    """
    with _bar() as bar:
        if bar.disable:
            yield _lines()
            return
        tasks: dict[str, TaskID] = {}

        def report(state: PassState) -> None:
            if state.name not in tasks:
                tasks[state.name] = bar.add_task(state.name, total=state.total, tiles="", rate="")
            bar.update(tasks[state.name], completed=state.done, rate=f"{state.rate:.3g} {state.unit}/s")

        yield report


def _lines() -> Callable[[PassState], None]:
    last = [-QUIET]

    def report(state: PassState) -> None:
        if (now := time.monotonic()) - last[0] >= QUIET:
            last[0] = now
            print(state, file=sys.stderr, flush=True)

    return report


def _bar() -> Progress:
    """Make a bar on stderr, which shows nothing if that is no terminal."""
    console = PipedConsole(stderr=True)
    texts = [TextColumn(f"{{task.fields[{name}]}}") for name in ("tiles", "rate")]
    name = TextColumn("{task.description}", markup=False)  # a file may be named [b].png
    columns = (name, BarColumn(), MofNCompleteColumn(), *texts, TimeRemainingColumn())
    return Progress(*columns, console=console, disable=not console.is_terminal)

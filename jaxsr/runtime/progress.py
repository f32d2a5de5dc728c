"""The progress bar of the sample command."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

Report = Callable[[int, str, int, int], None]


@contextmanager
def image_bar(images: int) -> Iterator[Report]:
    """Show a progress bar with tiles and images/s on stderr. Shows nothing if stderr is no terminal.

    Yields report(images finished, name of the current image, its finished tiles, its number of tiles).
    """
    console = Console(stderr=True)
    texts = [TextColumn(f"{{task.fields[{name}]}}") for name in ("tiles", "rate")]
    name = TextColumn("{task.description}", markup=False)  # a file may be named [b].png
    columns = (name, BarColumn(), MofNCompleteColumn(), *texts, TimeRemainingColumn())
    began = time.perf_counter()
    with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task("", total=images, tiles="", rate="")

        def report(finished: int, name: str, done: int, total: int) -> None:
            position = finished + done / max(total, 1)
            rate = f"{position / (time.perf_counter() - began):.2g} images/s"
            tiles = f"{done}/{total} tiles" if total else ""
            bar.update(task, completed=position, description=name, tiles=tiles, rate=rate)

        yield report

"""Execute notebooks and write them with their outputs: python notebooks/execute.py [-o DIR] [NOTEBOOK.py ...]

Without names, all notebooks of this folder are executed. Each `NAME.py` (jupytext, percent format) becomes `NAME.ipynb`
beside it, or in DIR. If a cell fails, nothing is written for that notebook, and the exit code is 1.
"""

import argparse
import sys
import time
from pathlib import Path

import jupytext
import nbclient
import nbformat

from jaxsr.storage import write_whole

FOLDER = Path(__file__).parent


def execute(source: Path, target: Path) -> None:
    """Run every cell in this folder, and write the notebook completely or not at all.

    Raises:
        CellExecutionError: if a cell fails.
    """
    notebook = jupytext.read(source)
    client = nbclient.NotebookClient(notebook, timeout=600, resources={"metadata": {"path": str(FOLDER)}})
    client.record_timing = False
    client.execute()
    for number, cell in enumerate(notebook.cells):
        cell.id = f"cell-{number}"  # by default it is random, so the file would differ each time
    notebook.metadata["language_info"] = {"name": "python"}
    write_whole(target, nbformat.writes(notebook) + "\n")


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("-o", "--output", type=Path, default=FOLDER, help="folder of the .ipynb files")
    parser.add_argument("notebooks", type=Path, nargs="*", help="notebooks, as NAME.py (default: all)")
    args = parser.parse_args(argv)
    failed = 0
    for source in args.notebooks or sorted(FOLDER.glob("[0-9]*.py")):
        started = time.perf_counter()
        try:
            execute(source, args.output / source.with_suffix(".ipynb").name)
        except nbclient.exceptions.CellExecutionError as error:
            print(f"{source.name}: {error}", file=sys.stderr)
            failed += 1
        else:
            print(f"{source.name}: {time.perf_counter() - started:.0f} s", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())

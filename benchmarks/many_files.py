"""Time a run over many pictures whose results are there: it checks them all, and makes none.

    python -m benchmarks.many_files --count 10000

The pictures are copies of the bundled photograph under other names, and so are their results.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.harness import command_line, machine, markdown, run_benchmark
from jaxsr.cli.shared_options import whole

PHOTO = Path(__file__).parents[1] / "examples/parrots.png"


def sample(folder: Path, model: str) -> str:
    """Run the command on the folder's pictures, and return its first line. Raises ValueError if it fails."""
    words = [sys.executable, "-m", "jaxsr.sample", "-n", model, "-i", folder / "in", "-o", folder / "out"]
    done = subprocess.run([*map(str, words), "--steps", "1"], capture_output=True, text=True, check=False)
    if done.returncode:
        raise ValueError(f"--model: {(done.stderr.strip().splitlines() or ['the command failed'])[-1]}")
    return done.stdout.splitlines()[0]


def write_copies(folder: Path, model: str, count: int) -> None:
    """Write `count` pictures and their results."""
    (folder / "in").mkdir()
    shutil.copyfile(PHOTO, folder / "in/000000.png")
    sample(folder, model)
    first = {path: path.read_bytes() for path in (folder / "in/000000.png", *(folder / "out").iterdir())}
    for number in range(1, count):
        for path, content in first.items():
            path.with_name(path.name.replace("000000", f"{number:06}")).write_bytes(content)


def make_parser() -> argparse.ArgumentParser:
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(prog="python -m benchmarks.many_files", description=__doc__, formatter_class=raw)
    parser.add_argument("--model", default="photo-x4")
    parser.add_argument("--count", type=whole(1), default=10_000, help="pictures (default: %(default)s)")
    return parser


def run(args: argparse.Namespace, command: str) -> None:
    """Measure, and print the table."""
    with tempfile.TemporaryDirectory() as name:
        write_copies(Path(name), args.model, args.count)
        before, began = os.times(), time.perf_counter()
        said = sample(Path(name), args.model)
        seconds, after = time.perf_counter() - began, os.times()
    computed = after.children_user + after.children_system - before.children_user - before.children_system
    if not said.startswith(f"0 made, {args.count} there already"):
        raise ValueError(f"--count: the second run did not find all results: {said}")
    row = {"pictures": args.count, "seconds": seconds, "seconds of the processors": computed}
    print(f"`{command}`  \n{machine()}\n\n{markdown([row])}")


def main(argv: Sequence[str] | None = None) -> int:
    args = make_parser().parse_args(argv)
    return run_benchmark(lambda: run(args, command_line("many_files", argv)))


if __name__ == "__main__":
    sys.exit(main())

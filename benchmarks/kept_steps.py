"""Search for the trained steps that a sampler of few network calls should keep.

    python -m benchmarks.kept_steps --hr ../shared/data/train/cid22_validation --limit 16 --words project=1 -o OUT

A search by coordinates. It begins with rows (trained steps) that are spread evenly, moves one row at a time by 16, 8,
4, 2 and 1, and keeps a move that lowers the mean LPIPS of the photographs' centres. The noisiest row stays, because
every chain begins there. Every fourth photograph, the validation part, takes no part in the search. The tables have
both parts, and every subset that was tried. A stopped search resumes.
"""

import argparse
import sys
from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np

import jaxsr
from benchmarks.correction_variants import Variant
from benchmarks.corrections import Columns, cells, keeper, load_pairs
from benchmarks.harness import command_line, machine, markdown, run_benchmark
from jaxsr.cli.shared_options import whole
from jaxsr.metrics.catalogue import METRICS as CATALOGUE
from jaxsr.storage import write_whole

METRICS = ("psnr", "lpips", "dists")
STRIDES = (16, 8, 4, 2, 1)
HELD_OUT = 4
"""Every HELD_OUT-th photograph is for validation."""
Rows = tuple[int, ...]


def even_rows(steps: int, kept: int) -> Rows:
    """Return `kept` rows of `steps`, spread evenly from 0 to the last."""
    return tuple(int(row) for row in np.round(np.linspace(0, steps - 1, kept)))


def search(loss: Callable[[Rows], float], rows: Rows, strides: Sequence[int] = STRIDES) -> Rows:
    """Move one row at a time, except for the last (the noisiest), while that lowers the loss. Returns the best rows."""
    best = loss(rows)
    for stride in strides:
        moved = True
        while moved:
            moved = False
            for k in range(len(rows) - 1):
                for step in (-stride, stride):
                    other = (*rows[:k], rows[k] + step, *rows[k + 1 :])
                    if other[0] >= 0 and all(a < b for a, b in pairwise(other)):
                        value = loss(other)
                        if value < best:
                            rows, best, moved = other, value, True
    return rows


def run(args: argparse.Namespace, command: str) -> None:
    Variant.parse(args.words)  # before any work
    upscaler = jaxsr.load(args.model)
    pairs = load_pairs(args.hr, args.lr, args.limit)
    if len(pairs) < HELD_OUT:
        raise ValueError(f"--hr, --limit: the search needs {HELD_OUT} photographs or more; there are {len(pairs)}.")
    numbers_of, asked = keeper(upscaler, pairs, METRICS, 8, args.output / "rows.jsonl"), set[Rows]()

    def numbers(rows: Rows) -> Columns:
        asked.add(rows)
        words = f"rows={','.join(map(str, rows))} {args.words}".strip()
        return numbers_of(words, Variant.parse(words))

    first = even_rows(upscaler.preset.schedule.steps, args.calls)
    found = search(lambda rows: float(np.mean(np.array(part(numbers(rows), False)["lpips"], float))), first)
    table = [
        {"rows": ", ".join(map(str, rows)), "photographs": "validation" if held else "search"}
        | cells(part(numbers(rows), held), part(numbers(first), held) if rows != first else None)
        for held in (False, True)
        for rows in dict.fromkeys((first, found))
    ]
    text = f"`{command}`  \n{machine()}, {len(pairs)} photographs, {len(asked)} subsets\n\n{markdown(table)}\n"
    text += f"\nEvery subset on the photographs of the search:\n\n{markdown(every(asked, numbers))}\n"
    write_whole(args.output / "table.md", text)
    print(text)


def every(asked: Iterable[Rows], numbers: Callable[[Rows], Columns]) -> list[dict[str, str]]:
    """List the means of all subsets, the lowest LPIPS of the search first."""
    rows = []
    for subset in sorted(asked):
        seen, held = (
            {name: float(np.mean(np.array(column, float))) for name, column in part(numbers(subset), out).items()}
            for out in (False, True)
        )
        words = {"rows": ", ".join(map(str, subset))}
        words |= {name: f"{seen[name]:.{CATALOGUE[name].digits}f}" for name in METRICS}
        rows.append((seen["lpips"], words | {"lpips, held out": f"{held['lpips']:.4f}"}))
    return [words for _, words in sorted(rows, key=lambda row: row[0])]


def part(columns: Columns, held: bool) -> Columns:
    """Select the numbers of the photographs for validation, or those of the others."""
    return {name: [x for i, x in enumerate(all_) if (i % HELD_OUT == 0) == held] for name, all_ in columns.items()}


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.kept_steps", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("--model", default="tiny-x4", help="name, folder or file of a model over pixels")
    parser.add_argument("--hr", type=Path, required=True, help="folder of photographs")
    parser.add_argument("--lr", type=Path, help="folder of their LR images, in the same order (default: bicubic)")
    parser.add_argument("--limit", type=whole(1), help="number of photographs")
    parser.add_argument("--calls", type=whole(2), default=4, help="network calls")
    parser.add_argument("--words", default="", help="words of `benchmarks.corrections` for every sampler")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="DIR", help="folder for the numbers")
    args = parser.parse_args(argv)
    return run_benchmark(lambda: run(args, command_line("kept_steps", argv)))


if __name__ == "__main__":
    sys.exit(main())

"""Give damaged files to a process with little memory, and count what becomes of them.

    python -m tests.reliability.fuzz --kinds image torch --count 5000

Wrong outcomes are tracebacks, ends of the process, and what takes longer than SECONDS. `--keep` keeps their files. The
peak of the process's memory is printed beside that of a control, which reads each whole file twice.
"""

import argparse
import select
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tests.reliability.mutate import damaged, damaged_header, damaged_json, damaged_zip
from tests.reliability.seeds import SEEDS

ROOT = Path(__file__).parents[2]
SECONDS = 20.0
MEMORY = 6 * 10**9
JSON = ("calibration", "protocol", "result", "sidecar")


class Worker:
    """A process that reads files; a new one takes its place when it has ended or takes too long."""

    def __init__(self, kind: str) -> None:
        self.kind, self.process = kind, None
        self.peak = 0
        """Most bytes of memory that a process has held; 0 where the system does not tell."""

    def ask(self, path: Path) -> str:
        process = self.process or self._start()
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(f"{path}\n")
        process.stdin.flush()
        if not select.select([process.stdout], [], [], SECONDS)[0]:
            self.stop()
            return f"wrong: took more than {SECONDS:g} s"
        if line := process.stdout.readline():
            self.peak = max(self.peak, peak_memory(process.pid))
            return line.rstrip("\n")
        code = process.wait()
        self.stop()
        return f"wrong: the process ended with {code}"

    def _start(self) -> subprocess.Popen:
        command = [sys.executable, "-m", "tests.reliability.worker", self.kind, str(MEMORY)]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
        self.process = subprocess.Popen(command, cwd=ROOT, text=True, bufsize=1, **pipes)
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == "ready\n"
        return self.process

    def stop(self) -> None:
        if self.process:
            self.process.kill()
            self.process.communicate()
        self.process = None


def peak_memory(process: int) -> int:
    """Return the most memory that a process has held, in bytes; 0 where the system does not tell."""
    status = Path(f"/proc/{process}/status")
    lines = status.read_text().splitlines() if status.exists() else []
    return next((1024 * int(line.split()[1]) for line in lines if line.startswith("VmHWM:")), 0)


@dataclass(frozen=True)
class Fuzzed:
    """What became of damaged files.

    Attributes:
        counts: number of files for each outcome.
        wrong: the wrong outcomes, by the file's name.
        peak: most bytes of memory that reading them took.
        control: the same for the whole files.
    """

    counts: Counter[str]
    wrong: dict[str, str]
    peak: int
    control: int


def fuzz(kind: str, count: int, seed: int, keep: Path | None = None) -> Fuzzed:
    """Read the whole files of a kind twice, then `count` damaged ones in another process."""
    with tempfile.TemporaryDirectory() as folder:
        seeds = SEEDS[kind](Path(folder, "seeds"))
        control = control_peak(kind, seeds, Path(folder))
        worker = Worker(kind)
        counts, wrong = read_all(worker, seeds, count, seed, Path(folder), keep)
        return Fuzzed(counts, wrong, worker.peak, control)


def control_peak(kind: str, seeds: Mapping[str, bytes], folder: Path) -> int:
    """Return the most bytes of memory that reading the whole files takes."""
    worker = Worker(kind)
    try:
        for name, data in [*seeds.items()] * 2:
            (folder / name).write_bytes(data)
            found = worker.ask(folder / name)
            assert found == "read", (name, found)
    finally:
        worker.stop()
    return worker.peak


def read_all(
    worker: Worker, seeds: Mapping[str, bytes], count: int, seed: int, folder: Path, keep: Path | None
) -> tuple[Counter[str], dict[str, str]]:
    """Read damaged files. Return the counts of outcomes, and the wrong ones by the file's name."""
    names, counts, wrong = [*seeds], Counter(), {}
    try:
        for number in range(count):
            rng = np.random.default_rng([seed, number])
            name = names[number % len(names)]
            data = _damaged(worker.kind, name, seeds, rng)
            path = folder / f"{number}-{name}"
            path.write_bytes(data)
            found = worker.ask(path)
            counts[found.partition(":")[0]] += 1
            if found.startswith("wrong"):
                wrong[path.name] = found
                if keep:
                    keep.mkdir(parents=True, exist_ok=True)
                    (keep / path.name).write_bytes(data)
            path.unlink(missing_ok=True)
    finally:
        worker.stop()
    return counts, wrong


def _damaged(kind: str, name: str, seeds: Mapping[str, bytes], rng: np.random.Generator) -> bytes:
    """Damage a file: what it holds, with lengths and checksums that are right, or its bytes."""
    data = seeds[name]
    if rng.random() < 0.6:
        if kind in JSON:
            return damaged_json(data.decode(), rng).encode()
        if kind == "torch" and data.startswith(b"PK"):
            return damaged_zip(data, rng)
        if name.endswith(".safetensors"):
            return damaged_header(data, rng)
    return damaged(data, rng, seeds[str(rng.choice([*seeds]))])


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.reliability.fuzz", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("--kinds", nargs="+", choices=[*SEEDS], default=[*SEEDS])
    parser.add_argument("--count", type=int, default=1000, help="files of each kind (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path, help="folder for the files with wrong outcomes")
    args = parser.parse_args()
    failed = False
    for kind in args.kinds:
        found = fuzz(kind, args.count, args.seed, args.keep)
        outcomes = ", ".join(f"{count} {name}" for name, count in sorted(found.counts.items()))
        print(f"{kind}: {outcomes}; {found.peak >> 20} MB, control {found.control >> 20} MB", flush=True)
        for name, outcome in found.wrong.items():
            print(f"  {name}: {outcome}", flush=True)
        failed |= bool(found.wrong)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())

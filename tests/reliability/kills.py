"""Kill commands by SIGKILL at random moments, let the next run resume, and compare the end with an undisturbed run.

    python -m tests.reliability.kills --commands sample train --count 100

The commands work on small random networks and pictures. After each run of kills, all files must equal those of the
undisturbed run to the byte, except for times and the insides of checkpoints, and no hidden file may be left.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tests.calibration.fake import write_photos
from tests.evaluation.pictures import noisy, picture, save
from tests.small_model import save_small, small_preset
from tests.training import tiny_run

ROOT = Path(__file__).parents[2]
ROUND = 12
"""Kills before a run may come to its end."""
_TIMES = re.compile(rb'"(seconds|images_per_s)": [\d.]+')


@dataclass(frozen=True)
class Command:
    """A command: its words for a folder of inputs and an output.

    Attributes:
        ignored: folders of files that count the times of a run.
        inexact: folders whose files say when they were written; only the names of what they hold must be equal.
    """

    words: Callable[[Path, Path], list[object]]
    ignored: tuple[str, ...] = ()
    inexact: tuple[str, ...] = ()


def _sample(data: Path, out: Path) -> list[object]:
    return ["jaxsr.sample", "-n", data / "model", "-i", data / "photos", "-o", out, "--tile", 32]


def _evaluate(data: Path, out: Path) -> list[object]:
    more = ("--csv", out / "r.csv", "--worst", out / "worst.png", "--batch", 1)
    return ["jaxsr.evaluate", "--pred", data / "sr", "--target", data / "hr", "-m", "psnr", "-o", out / "r.json", *more]


def _calibrate(data: Path, out: Path) -> list[object]:
    closed = ("--closed-loop", "psnr,swd", "--candidates", "-0.2:0.2:3", "--multiples", "0:0.2:3", "--crop", 16)
    return ["jaxsr.calibrate", "-n", data / "model", "--pairs", data / "photos", "-o", out / "c.json", *closed]


def _study(data: Path, out: Path) -> list[object]:
    small = ("--steps", 2, "--counts", 2, "--scales", "-0.1", "--draws", 2, "--crop", 8, "--instruments", "dispersion")
    return ["jaxsr.study", "-n", data / "model", "--pairs", data / "photos", "-o", out, *small]


def _train(data: Path, out: Path) -> list[object]:
    return ["jaxsr.train", "--config", data / "train.py", "-o", out]


COMMANDS = {
    "sample": Command(_sample),
    "evaluate": Command(_evaluate),
    "calibrate": Command(_calibrate),
    "study": Command(_study),
    "train": Command(_train, ignored=("tensorboard",), inexact=("checkpoints",)),
}


def write_inputs(data: Path) -> Path:
    """Write a small network, pictures, results to score, and a config of training."""
    save_small(data / "model", small_preset("channel"))
    write_photos(data / "photos", 6, (140, 132))
    for i in range(12):
        for folder, noise in (("hr", 0), ("sr", 9)):
            save(data / folder / f"{i:02}.png", noisy(picture(i), noise))
    (data / "train").mkdir()
    tiny_run.write_config(data / "train.py", data=str(tiny_run.write_photos(data / "train/photos")), steps=40)
    return data


class Killed(Exception):
    """A run was not as it should be."""


def start(words: list[object], cache: Path) -> subprocess.Popen:
    variables = os.environ | {"JAXSR_CACHE": "on", "JAXSR_CACHE_DIR": str(cache), "PYTHONPATH": str(ROOT)}
    variables |= {"MPLBACKEND": "agg"}
    command = [sys.executable, "-m", *map(str, words)]
    pipes = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE}
    return subprocess.Popen(command, cwd=cache, env=variables, text=True, **pipes)


def files_of(out: Path, command: Command) -> dict[str, bytes]:
    """Return all files of a finished run, without times and the path of their folder.

    Runs are only equal in folders of one name: some files have the name alone in them.
    """
    found = {}
    for path in sorted(out.rglob("*")):
        name = path.relative_to(out)
        if name.parts[0] in command.inexact and len(name.parts) == 2:
            found[str(name)] = b""
        elif path.is_file() and name.parts[0] not in (*command.ignored, *command.inexact):
            content = path.read_bytes().replace(str(out).encode(), b"OUT")
            found[str(name)] = _TIMES.sub(b"", content)
    return found


def kill_many(name: str, count: int, seed: int, folder: Path) -> dict[str, float]:
    """Kill a command `count` times. Return the counts and the seconds of a whole run; raise Killed for a difference."""
    command, data, cache = COMMANDS[name], write_inputs(folder / "data"), folder / "cache"
    cache.mkdir()

    def run(out: Path, seconds: float | None = None) -> int | None:
        """Run to the end, or kill the process after some seconds and return None."""
        process = start(command.words(data, out), cache)
        try:
            error = process.communicate(timeout=seconds)[1]
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            return None
        if process.returncode and "is there already" not in error:
            raise Killed(f"{name} ended with {process.returncode}: {error[-2000:]}")
        return process.returncode

    run(folder / "first/out")
    began = time.perf_counter()
    run(folder / "whole/out")
    whole_run, expected = time.perf_counter() - began, files_of(folder / "whole/out", command)
    if files_of(folder / "first/out", command) != expected:
        raise Killed(f"{name}: two undisturbed runs differ")
    rng, killed, rounds = np.random.default_rng(seed), 0, 0
    while killed < count:
        out, in_round = folder / f"{rounds:05}/out", 0
        while in_round < min(ROUND, count - killed) and run(out, rng.uniform(0.2, 1.05) * whole_run) is None:
            in_round += 1
        run(out)
        killed, rounds = killed + in_round, rounds + 1
        found = files_of(out, command)
        if different := sorted({n for n in found.keys() | expected.keys() if found.get(n) != expected.get(n)}):
            raise Killed(f"{name}: after {killed} kills these differ in {out}: {', '.join(different[:10])}")
    return {"kills": killed, "rounds": rounds, "whole run in s": round(whole_run, 1)}


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.reliability.kills", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("--commands", nargs="+", choices=[*COMMANDS], default=[*COMMANDS])
    parser.add_argument("--count", type=int, default=100, help="kills of each command (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path, help="new folder for the files, kept (default: a temporary one)")
    args = parser.parse_args()
    for name in args.commands:
        with tempfile.TemporaryDirectory() as temporary:
            folder = args.keep / name if args.keep else Path(temporary)
            print(f"{name}: {json.dumps(kill_many(name, args.count, args.seed, folder))}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())

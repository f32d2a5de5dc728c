"""Measure an accelerator by one command, for one file that says all: python -m benchmarks.gpu -o gpu/

The parts run one after the other, each in a process of its own:

    parity     the golden numbers of the original program, in float32 and bfloat16
    network    the released networks beside PyTorch, eager and compiled (needs PyTorch with CUDA; else jaxsr alone)
    guidance   the cost of guidance, beside the plain sampler
    sweep      the calibration sweep at K = 64, 256 and 1024 candidates, beside plain loops, and its memory
    folder     a folder of small and large pictures by `python -m jaxsr.sample`, on one device and on all

`gpu.json` holds the commands, the machine and all numbers; `gpu.md` the tables. A part that fails is in both files with
its last lines, and the others go on. `--small` measures small cases of everything in minutes, on a CPU too.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from PIL import Image

from benchmarks.harness import command_line, machine, markdown, run_benchmark, write_results
from jaxsr.storage import write_whole

FULL = {
    "network": "--rival --torch-compile --sizes 64 128 --batches 1 8",
    "guidance": "--size 64 --steps 4",
    "sweep": "--model random:realsr_s4_v3 --precision bf16 --candidates 64 256 1024 --candidate-batch 16",
    "folder": "400 8 --model photo-x4 --batch 16",
}
SMALL = {
    "network": "--model tiny_x4 --sizes 32 --batches 1 --stages unet s4 --runs 1",
    "guidance": "--size 32 --steps 2 --runs 1",
    "sweep": "--candidates 4 --candidate-batch 2 --crop 32 --steps 2 --repeats 1 --pairs 1 2",
    "folder": "6 1 --model tiny-x4 --batch 2",
}
"""The words of each part. Those of `folder` are the numbers of small and large pictures, and the command's options."""
PARTS = ("parity", "network", "guidance", "sweep", "folder")


def start(command: Sequence[str]) -> subprocess.CompletedProcess[str]:
    """Run a command to its end, with JAX's own settings of the device's memory."""
    environment = {name: value for name, value in os.environ.items() if name != "XLA_PYTHON_CLIENT_PREALLOCATE"}
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def measure(name: str, words: str, folder: Path) -> dict[str, Any]:
    """Run a benchmark in a process of its own, and return its command, seconds, exit code, output and JSON."""
    module = {"sweep": "bench_calibration"}.get(name, f"bench_{name}")
    file = folder / f"{name}.json"
    batch = ["--batch", str(jax.device_count())] if name == "sweep" else []
    output = [] if name == "guidance" else ["-o", str(file)]
    command = [sys.executable, "-m", f"benchmarks.{module}", *words.split(), *batch, *output]
    began = time.perf_counter()
    done = start(command)
    found = {"command": " ".join(["python", *command[1:]]), "seconds": round(time.perf_counter() - began, 1)}
    found |= {"code": done.returncode, "output": done.stdout}
    if done.returncode:
        return found | {"error": "\n".join(done.stderr.splitlines()[-5:])}
    return found | ({"found": json.loads(file.read_text())} if file.exists() else {})


def measure_folder(name: str, words: str, folder: Path) -> dict[str, Any]:
    """Enlarge a folder on one device and on all, twice each: the second run has the compiled programs."""
    small, large, *options = words.split()
    write_pictures(folder / "pictures", int(small), int(large))
    rows, command = [], [sys.executable, "-m", "jaxsr.sample", "-i", str(folder / "pictures"), *options]
    began = time.perf_counter()
    for devices in dict.fromkeys((1, jax.local_device_count())):
        seconds = []
        for turn in range(2):
            out = ["-o", str(folder / f"{devices}-{turn}"), "--devices", str(devices)]
            turned = time.perf_counter()
            done = start([*command, *out])
            seconds.append(time.perf_counter() - turned)
            if done.returncode:
                found = {"command": " ".join(["python", *command[1:]]), "code": done.returncode}
                return found | {"error": done.stderr[-2000:]}
        pixels = 16e-6 * (int(small) * 96 * 128 + int(large) * 1000 * 1500)
        row = {"devices": devices, "first run s": seconds[0], "second run s": seconds[1]}
        rows.append(row | {"images/s": (int(small) + int(large)) / seconds[1], "megapixels/s": pixels / seconds[1]})
    found = {"command": " ".join(["python", *command[1:]]), "seconds": round(time.perf_counter() - began, 1), "code": 0}
    return found | {"found": rows, "output": markdown(rows)}


def write_pictures(folder: Path, small: int, large: int) -> None:
    """Write pictures of noise over waves: small ones of 128x96 pixels, and large ones of 1500x1000."""
    folder.mkdir()
    for number in range(small + large):
        height, width = (96, 128) if number < small else (1000, 1500)
        y, x = np.mgrid[:height, :width][..., None]
        waves = 127 + 60 * np.sin(0.11 * x + number) * np.cos(0.07 * y)
        noise = np.random.default_rng(number).normal(0, 8, (height, width, 3))
        Image.fromarray((waves + noise).clip(0, 255).astype(np.uint8)).save(folder / f"{number:04}.png")


def run(args: argparse.Namespace, command: str) -> None:
    args.output.mkdir(parents=True, exist_ok=True)
    words, parts = SMALL if args.small else FULL, {}
    for name in args.parts:
        print(f"{name} ...", file=sys.stderr, flush=True)
        way: Callable[..., dict[str, Any]] = measure_folder if name == "folder" else measure
        with tempfile.TemporaryDirectory() as folder:
            parts[name] = way(name, words.get(name, ""), Path(folder))
        write_results(args.output / "gpu.json", command, devices=list(map(str, jax.devices())), parts=parts)
        write_whole(args.output / "gpu.md", f"`{command}`  \n{machine()}\n\n{as_markdown(parts)}")
    print(as_markdown(parts))
    if failed := [name for name, part in parts.items() if part["code"]]:
        raise ValueError(f"--parts: {', '.join(failed)} failed; {args.output / 'gpu.md'} has the reasons.")


def as_markdown(parts: dict[str, dict[str, Any]]) -> str:
    text = ""
    for name, part in parts.items():
        body = f"failed:\n\n```\n{part['error']}\n```" if part["code"] else part["output"].strip()
        text += f"## {name}\n\n`{part['command']}`\n\n{body}\n\n"
    return text


def main(argv: Sequence[str] | None = None) -> int:
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu", description=__doc__, formatter_class=raw)
    parser.add_argument(
        "-o", "--output", type=Path, required=True, metavar="DIR", help="folder for gpu.json and gpu.md"
    )
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS), help="what to measure (default: all)")
    parser.add_argument("--small", action="store_true", help="measure small cases, which takes minutes on a CPU")
    args = parser.parse_args(argv)
    os.environ["XLA_PYTHON_CLIENT_PREALLOCATE"] = "false"  # this process only counts devices; the parts need the memory
    return run_benchmark(lambda: run(args, command_line("gpu", argv)))


if __name__ == "__main__":
    sys.exit(main())

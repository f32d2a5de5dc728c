"""How long until a picture: python -m benchmarks.bench_start [--model tiny-x4] [--size 64] [--steps 4]

Prints the compute of one size x size image after compilation (median of several runs), and the wall time of the whole
command from a cold and from a warm compilation cache, each in a fresh process.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

import jaxsr
from benchmarks.harness import machine


def compute_seconds(model: str, size: int, steps: int, runs: int) -> list[float]:
    """Seconds of each run after a first one that compiles."""
    upscaler, image = jaxsr.load(model), np.random.default_rng(0).integers(0, 256, (size, size, 3), dtype=np.uint8)
    seconds = []
    for _ in range(runs + 1):
        began = time.perf_counter()
        upscaler.upscale(image, seed=0, steps=steps)
        seconds.append(time.perf_counter() - began)
    return seconds[1:]


def command_seconds(model: str, size: int, steps: int, runs: int) -> list[float]:
    """Wall seconds of the command in fresh processes that share a compilation cache, empty at first."""
    with tempfile.TemporaryDirectory() as folder:
        image = Path(folder, "photo.png")
        pixels = np.random.default_rng(0).integers(0, 256, (size, size, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(image)
        environment = os.environ | {"JAXSR_CACHE_DIR": str(Path(folder, "cache"))}
        command = [sys.executable, "-m", "jaxsr.sample", "-i", str(image), "-n", model, "--steps", str(steps)]
        seconds = []
        for i in range(runs + 1):
            began = time.perf_counter()
            arguments = ["-o", str(Path(folder, str(i)))]
            subprocess.run([*command, *arguments], check=True, env=environment, capture_output=True)
            seconds.append(time.perf_counter() - began)
        return seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="tiny-x4")
    parser.add_argument("--size", type=int, default=64, help="side of the input in pixels")
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--runs", type=int, default=5)
    args = parser.parse_args()
    chosen = (args.model, args.size, args.steps, args.runs)
    print(machine())
    compute = compute_seconds(*chosen)
    print(f"compute of {args.size}x{args.size} at {args.steps} steps: median {statistics.median(compute):.3f} s")
    cold, *warm = command_seconds(*chosen)
    print(f"whole command: cold cache {cold:.1f} s, warm cache median {statistics.median(warm):.1f} s")


if __name__ == "__main__":
    main()

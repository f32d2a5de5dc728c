"""Make small pictures for the tests of evaluation, and run the command as a process that a test can kill."""

import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from PIL import Image

from jaxsr.cli import evaluate
from jaxsr.evaluation import run

ROOT = Path(__file__).parents[2]


def picture(seed: int, height: int = 32, width: int = 48) -> np.ndarray:
    """Return a smooth random photograph, uint8 RGB."""
    coarse = np.random.default_rng(seed).integers(40, 216, (height // 4, width // 4, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC))


def noisy(pixels: np.ndarray, amount: int, seed: int = 9) -> np.ndarray:
    """Return the picture with uniform noise of up to `amount` grey levels."""
    noise = np.random.default_rng(seed).integers(-amount, amount + 1, pixels.shape)
    return np.clip(pixels.astype(int) + noise, 0, 255).astype(np.uint8)


def save(path: Path, pixels: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    return path


def folders(root: Path, names: tuple[str, ...] = ("a", "b", "c"), amounts: tuple[int, ...] = (4, 12, 30)) -> Path:
    """Write pictures to `root/hr`, and copies with more and more noise to `root/sr`; return root."""
    for i, (name, amount) in enumerate(zip(names, amounts, strict=True)):
        save(root / "hr" / f"{name}.png", picture(i))
        save(root / "sr" / f"{name}.png", noisy(picture(i), amount))
    return root


def mean_square(a: np.ndarray, b: np.ndarray) -> float:
    """Return the mean squared difference of two images in grey levels."""
    return float(np.mean((np.asarray(a, float) - np.asarray(b, float)) ** 2))


def start(seconds: float, arguments: list[str]) -> subprocess.Popen:
    """Start the command in a process of its own that sleeps after every batch, so that there is time to kill it."""
    command = [sys.executable, "-m", "tests.evaluation.pictures", str(seconds), *arguments]
    return subprocess.Popen(command, cwd=ROOT, env={"PATH": "", "PYTHONPATH": str(ROOT)}, stderr=subprocess.PIPE)


if __name__ == "__main__":
    os.environ["JAXSR_CACHE"] = "off"
    pause, write = float(sys.argv[1]), run.JournalFile.write

    def slow(*args) -> None:
        write(*args)
        time.sleep(pause)

    run.JournalFile.write = slow
    sys.exit(evaluate.main(sys.argv[2:]))


def outside(tmp_path, name: str, amount: int = 3, subfolder: str = "") -> str:
    """Write results of another program for some images: the originals with noise. Return NAME=DIR."""
    folder = tmp_path / f"results-{len(name)}-{amount}"
    for image, seed in zip("0123456789", range(10), strict=True):
        if image in name:
            save(folder / subfolder / f"{image}_out.png", noisy(picture(seed), amount))
    return f"other {amount}={folder}"


def rows_of(table: str) -> list[str]:
    return [line.split(" | ")[0].strip("| ") for line in table.splitlines() if line.startswith("| ")][1:]

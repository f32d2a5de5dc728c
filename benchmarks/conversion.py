"""Measure conversion at full size: time and peak memory, and the time of one image from 64x64 to 256x256.

    python -m benchmarks.conversion --work runs/conversion --image PHOTO.png    # realsr s4 v3 and its autoencoder
    python -m benchmarks.conversion --work runs/conversion --small              # small networks, to try the script

The script first writes files with random values in the exact layout of the released ones (0.7 GB), and keeps them for
the next run. Conversion and sampling run in processes of their own; the operating system reports their peak resident
memory. The image is the 64x64 pixels at the upper left of --image, or noise. It goes through the encoder, four steps of
the network, and the decoder. The first call compiles; the result is the median of three more.

weight_conversion/README.md holds the last numbers.
"""

import argparse
import json
import os
import platform
import sys
import time
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from benchmarks.fresh import in_fresh_process, peak_process_bytes

PRESET = "realsr_s4_v3"
FILES = ("resshift_realsrx4_s4_v3.pth", "autoencoder_vq_f4.pth")


def presets(small: bool) -> Any:
    """Return the preset. If `small`, a small one of the same kind replaces it first."""
    from jaxsr.models.presets import PRESETS

    preset = PRESETS[PRESET]
    if small:
        network = replace(preset.network, model_channels=32, num_res_blocks=(1,) * 4, swin_embed_dim=32)
        codec = replace(preset.codec, ch=32, num_res_blocks=(1, 1, 1), n_embed=64)
        PRESETS[PRESET] = replace(preset, network=network, codec=codec)
    return PRESETS[PRESET]


def write_files(folder: Path, small: bool) -> None:
    """Write both checkpoints, unless they exist, with random values of the size that weights have."""
    from tests.torch_files.files import random_state_dict, write_pth

    preset = presets(small)
    folder.mkdir(parents=True, exist_ok=True)
    for name, config in zip(FILES, (preset.network, preset.codec), strict=True):
        if not (folder / name).exists():
            write_pth(folder / f"{name}.tmp", random_state_dict(config))
            os.replace(folder / f"{name}.tmp", folder / name)


def convert(folder: Path, small: bool) -> dict[str, float]:
    """Time the conversion after its imports, in seconds."""
    from weight_conversion.convert import convert_files

    presets(small)
    began = time.perf_counter()
    convert_files([folder / name for name in FILES], folder / "converted", overwrite=True)
    return {"seconds": time.perf_counter() - began}


def sample(folder: Path, image: Path | None) -> dict[str, float]:
    """Time loading, the first image (with compilation) and the next ones, in seconds."""
    import jaxsr
    from jaxsr.imaging.files import read_photo

    began = time.perf_counter()
    upscaler = jaxsr.load(folder / "converted")
    loaded = time.perf_counter() - began
    rgb = read_photo(image).rgb if image else np.random.default_rng(0).random((64, 64, 3), np.float32)
    seconds = []
    for _ in range(4):
        began = time.perf_counter()
        out = upscaler.upscale(rgb[:64, :64], seed=0)
        seconds.append(time.perf_counter() - began)
        if out.shape != (256, 256, 3) or not np.isfinite(out).all():
            raise SystemExit(f"the result must be finite and of shape (256, 256, 3); its shape is {out.shape}")
    return {"load seconds": loaded, "first seconds": seconds[0], "seconds": median(seconds[1:])}


def measured(function: Any, *arguments: Any) -> dict[str, float]:
    """Call `function` in a fresh process, and add that process's peak memory in MB to its result."""
    return in_fresh_process(_with_peak, function, *arguments)


def _with_peak(function: Any, *arguments: Any) -> dict[str, float]:
    return function(*arguments) | {"peak MB": peak_process_bytes() / 2**20}


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True, help="folder for the files")
    parser.add_argument("--image", type=Path, help="photograph of at least 64x64 pixels (default: noise)")
    parser.add_argument("--small", action="store_true", help="small networks in place of the released size")
    args = parser.parse_args(argv)
    write_files(args.work, args.small)
    size = sum((args.work / name).stat().st_size for name in FILES) / 1e6
    conversion = measured(convert, args.work, args.small)
    result = {
        "files MB": size,
        "convert": conversion | {"peak over files": conversion["peak MB"] * 1.048576 / size},
        "sample": measured(sample, args.work, args.image),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}",
    }
    print(json.dumps(result, indent=2, default=float))
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Make LR-HR pairs as cameras would, to calibrate `photo-x4` on: each photograph beside what `camera` makes of it.

    python -m benchmarks.camera_pairs --photographs ../shared/data/train/cid22_validation -o pairs

The folder `-o` gets `HR/` with the photographs, cut to whole LR pixels, and `LR/` with images of a quarter of their
size under the same names, as PNG files. The LR images depend on the seed, and on the order of the photographs.
"""

import argparse
import sys
from pathlib import Path

from PIL import Image

from benchmarks.degradations import CAMERA, made_pairs
from benchmarks.harness import run_benchmark
from jaxsr.data.sources import load_folder
from jaxsr.training.camera import GOOD_LIGHT, CameraConfig


def write_pairs(photographs: Path, output: Path, seed: int, config: CameraConfig | None = None) -> int:
    """Write the pairs of a folder of photographs, and return their number."""
    images = load_folder(photographs)
    for name in ("HR", "LR"):
        (output / name).mkdir(parents=True, exist_ok=True)
    for i, (lr, hr) in enumerate(made_pairs(images, CAMERA, seed, config)):
        for name, pixels in (("HR", hr), ("LR", lr)):
            Image.fromarray(pixels).save(output / name / f"{i:04d}.png")
    return len(images)


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.camera_pairs", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("--photographs", type=Path, required=True, help="folder of photographs")
    parser.add_argument("--good-light", action="store_true", help="half the noise, as in good light")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="DIR", help="folder for HR/ and LR/")
    args = parser.parse_args(argv)
    config = GOOD_LIGHT if args.good_light else None
    return run_benchmark(lambda: print(f"{write_pairs(args.photographs, args.output, args.seed, config)} pairs"))


if __name__ == "__main__":
    sys.exit(main())

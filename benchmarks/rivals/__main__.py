"""Enlarge a folder of LR images by another upscaler, for `evaluate suite --results NAME=DIR`.

    python -m benchmarks.rivals "Real-ESRGAN x4plus" --wheels WHEELS --lr LR -o OUT

This needs NumPy, Pillow and the rival's own packages alone, so that it runs in an environment without jaxsr. Results
are PNG, and those that are there already are not made again. `python -m benchmarks.lr_images` writes the LR images.
"""

import argparse
import sys
import time
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.rivals import RIVALS

ENDINGS = (".png", ".webp", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff")


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.rivals", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("rival", choices=RIVALS, help=", ".join(RIVALS))
    parser.add_argument("--wheels", type=Path, required=True, help="folder with the wheels of the rivals")
    parser.add_argument("--lr", type=Path, required=True, help="folder of LR images, with any folders below it")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="DIR", help="folder for the results")
    args = parser.parse_args(argv)
    files = sorted(path for path in args.lr.rglob("*") if path.suffix.lower() in ENDINGS)
    upscale = RIVALS[args.rival](args.wheels) if files else None
    if upscale is None:
        reason = f"--wheels: {args.rival} needs its packages and its wheel, see benchmarks/rivals/__init__.py"
        print(f"error: {reason if files else f'--lr: {args.lr} has no images; check the name'}.", file=sys.stderr)
        return 1
    seconds = []
    for file in files:
        target = args.output / file.relative_to(args.lr).with_suffix(".png")
        if target.exists():
            continue
        began = time.perf_counter()
        result = upscale(np.asarray(Image.open(file).convert("RGB")))
        seconds.append(time.perf_counter() - began)
        target.parent.mkdir(parents=True, exist_ok=True)
        unfinished = target.with_suffix(".part")
        pixels = np.rint(255 * np.clip(result, 0, 1)).astype(np.uint8)
        Image.fromarray(pixels).save(unfinished, format="PNG")
        unfinished.replace(target)
    rate = f", {np.median(seconds):.3g} s/image in the median" if seconds else ""
    print(f"{len(seconds)} made{rate}, {len(files) - len(seconds)} there already; results in {args.output}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Enlarge a folder of LR images by another upscaler, for `evaluate suite --results NAME=DIR`.

    python -m benchmarks.rivals "Real-ESRGAN x4plus" --wheels WHEELS --lr LR -o OUT

This needs NumPy, Pillow and the rival's own packages alone, so that it runs in an environment without jaxsr. Results
are PNG, and those that are there already are not made again. The seconds of each go into `times.json`, from which
`evaluate suite --time` takes them. `python -m benchmarks.lr_images` writes the LR images.
"""

import argparse
import json
import sys
import time
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.rivals import RIVALS

ENDINGS = (".png", ".webp", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff")
RECORD, TIMES = "rival.json", "times.json"


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.rivals", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("rival", choices=RIVALS, help=", ".join(RIVALS))
    parser.add_argument("--wheels", type=Path, required=True, help="folder with the wheels of the rivals")
    parser.add_argument("--lr", type=Path, required=True, help="folder of LR images, with any folders below it")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="DIR", help="folder for the results")
    args = parser.parse_args(argv)
    try:
        run(args)
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def run(args: argparse.Namespace) -> None:
    targets = plan(args.lr, args.output)
    claim(args.output, args.rival)
    upscale = RIVALS[args.rival](args.wheels)
    if upscale is None:
        raise ValueError(f"--wheels: {args.rival} needs its packages and its wheel, see benchmarks/rivals/__init__.py.")
    noted = args.output / TIMES
    times: dict[str, float] = json.loads(noted.read_text()) if noted.exists() else {}
    seconds: list[float] = []
    for target, file in targets.items():
        if target.exists():
            continue
        lr = read(file)
        if not seconds:
            upscale(lr)  # the first call takes longer
        began = time.perf_counter()
        result = upscale(lr)
        seconds.append(time.perf_counter() - began)
        target.parent.mkdir(parents=True, exist_ok=True)
        unfinished = target.with_suffix(".part")
        pixels = np.rint(255 * np.clip(result, 0, 1)).astype(np.uint8)
        Image.fromarray(pixels).save(unfinished, format="PNG")
        unfinished.replace(target)
        times[target.relative_to(args.output).as_posix()] = round(seconds[-1], 4)
        noted.write_text(json.dumps(times, indent=1) + "\n")
    rate = f", {np.median(seconds):.3g} s/image in the median" if seconds else ""
    print(f"{len(seconds)} made{rate}, {len(targets) - len(seconds)} there already; results in {args.output}")


def plan(lr: Path, output: Path) -> dict[Path, Path]:
    """Return the LR image of every result, by the result's file."""
    if output.resolve().is_relative_to(lr.resolve()):
        raise ValueError(f"--output: {output} lies in {lr}; choose another folder.")
    files = sorted(path for path in lr.rglob("*") if path.is_file() and path.suffix.lower() in ENDINGS)
    if not files:
        raise ValueError(f"--lr: {lr} has no images; check the name.")
    targets: dict[Path, Path] = {}
    for file in files:
        target = output / file.relative_to(lr).with_suffix(".png")
        if target in targets:
            raise ValueError(f"--lr: {targets[target]} and {file} would have one result; rename one.")
        targets[target] = file
    return targets


def claim(output: Path, rival: str) -> None:
    """Record whose results the folder holds, or refuse it if they are of another rival."""
    record = output / RECORD
    if record.exists() and (other := json.loads(record.read_text())["rival"]) != rival:
        raise ValueError(f"--output: {output} holds results of {other}; choose another folder.")
    output.mkdir(parents=True, exist_ok=True)
    record.write_text(json.dumps({"rival": rival}) + "\n")


def read(file: Path) -> np.ndarray:
    """Read 8-bit pixels as RGB."""
    with Image.open(file) as image:  # an unreadable file is an OSError that names it
        if image.mode not in ("RGB", "L", "P"):
            raise ValueError(f"{file}: has the mode {image.mode}; give 8-bit RGB or grey images.")
        return np.asarray(image.convert("RGB"))


if __name__ == "__main__":
    sys.exit(main())

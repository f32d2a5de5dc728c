"""Compare our NIQE with BasicSR's, with published parameters: python -m benchmarks.niqe_parity --basicsr DIR IMAGE ...

DIR is BasicSR's source (`pip download --no-deps basicsr==1.4.2`, unpacked; Apache-2.0), which holds the parameters.
BasicSR's own NIQE runs from there. It is the port of the authors' MATLAB that papers on super-resolution use. It needs
OpenCV and torch, but not BasicSR's other requirements. For `same luma`, BasicSR gets our luma, so that only the metric
differs.
"""

import argparse
import sys
import types
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import scipy.ndimage

from benchmarks.harness import command_line, machine, markdown, run_benchmark
from jaxsr.imaging.files import read_photo
from jaxsr.metrics.niqe import LUMAS, niqe, niqe_luma
from jaxsr.metrics.niqe_model import load_niqe_model

CONVERT = {"ycbcr": "y", "grey": "gray"}


def basicsr_niqe(source: Path) -> Any:
    """Import the module `basicsr.metrics.niqe` without the packages around it, which import training code."""
    for name in ("basicsr", "basicsr.metrics", "basicsr.utils"):
        module = types.ModuleType(name)
        module.__path__ = [str(source / name.replace(".", "/"))]
        sys.modules[name] = module
    filters: Any = types.ModuleType("scipy.ndimage.filters")  # BasicSR imports it, but SciPy removed it
    filters.convolve = scipy.ndimage.convolve
    sys.modules["scipy.ndimage.filters"] = filters
    try:
        from basicsr.utils import color_util  # pyright: ignore[reportMissingImports]

        sys.modules["basicsr.utils"].__dict__["bgr2ycbcr"] = color_util.bgr2ycbcr
        from basicsr.metrics import niqe as theirs  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        reason = f"--basicsr {source}: {error}; give BasicSR's source, and pip install torch opencv-python."
        raise ValueError(reason) from error
    return theirs


def rows(source: Path, images: Sequence[Path]) -> list[dict[str, Any]]:
    """Make one row for each image and luma."""
    theirs, file = basicsr_niqe(source), source / "basicsr/metrics/niqe_pris_params.npz"
    model, constants = load_niqe_model(file), np.load(file)
    ours = jax.jit(niqe, static_argnames="luma")
    found = []
    for path in images:
        pixels = np.round(255 * read_photo(path).rgb).astype(np.uint8)
        x = jnp.asarray(pixels, jnp.float32)[None] / 255
        for luma in LUMAS:
            number = float(ours(x, model, luma=luma)[0])
            whole = theirs.calculate_niqe(pixels[..., ::-1].copy(), 0, convert_to=CONVERT[luma])
            same = theirs.niqe(np.asarray(niqe_luma(x, luma))[0, ..., 0], *constants.values())
            whole, same = (number - float(np.squeeze(value)) for value in (whole, same))
            found.append({"image": path.stem, "luma": luma, "ours": number, "- BasicSR's": whole, "same luma": same})
    return found


def run(args: argparse.Namespace, command: str) -> None:
    print(f"`{command}`  \n{machine()}\n")
    found = rows(args.basicsr, args.images)
    print(markdown(found, digits=5))
    for luma in LUMAS:
        for column in ("- BasicSR's", "same luma"):
            worst = max(abs(row[column]) for row in found if row["luma"] == luma)
            print(f"{luma}, {column}: {worst:.1e} at most, of {len(args.images)} images")


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.niqe_parity", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("--basicsr", type=Path, required=True, metavar="DIR", help="BasicSR's source")
    parser.add_argument("images", type=Path, nargs="+", help="images of at least two blocks of 96x96 pixels")
    args = parser.parse_args(argv)
    return run_benchmark(lambda: run(args, command_line("niqe_parity", argv)))


if __name__ == "__main__":
    sys.exit(main())

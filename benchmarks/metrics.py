"""Measure images per second of the native metrics, and compare SSIM with skimage's, in one run.

    python -m benchmarks.metrics --sides 256 512 --batch 8

Images are uniform noise, because their content does not affect the time. Each number is the median over --runs calls,
after one that compiles. The calls of all rows take turns, so that they meet the same load. skimage computes one image
at a time, as its users do, with a Gaussian window, sigma 1.5, of RGB. The script checks that both SSIMs agree before
the clock starts.
"""

import argparse
import sys
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from benchmarks.harness import Call, machine, medians
from jaxsr.metrics.niqe import niqe
from jaxsr.metrics.psnr import psnr
from jaxsr.metrics.ssim import ms_ssim, ssim
from jaxsr.metrics.texture import texture_distance
from jaxsr.runtime.compilation import compiler_options

Batch = Float[np.ndarray, "b h w 3"]


def skimage_ssim(a: Batch, b: Batch) -> Float[np.ndarray, " b"]:
    """Compute SSIM of every pair by skimage, from the windows that lie inside the image, like ours."""
    from skimage.metrics import structural_similarity

    options = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "data_range": 1.0}
    return np.array([structural_similarity(x, y, channel_axis=-1, **options) for x, y in zip(a, b, strict=True)])


def calls(side: int, batch: int) -> dict[str, Call]:
    """Make the calls to time, by row name, on images of side x side."""
    generator = np.random.default_rng(0)
    a, b = (generator.random((batch, side, side, 3), np.float32) for _ in range(2))
    x, y = jnp.asarray(a), jnp.asarray(b)
    natives = {"psnr": psnr, "ssim": ssim, "swd": lambda x, y: texture_distance(x, y, jax.random.key(0))}
    natives |= {"ms_ssim": ms_ssim} if side > 160 else {}
    natives |= {"niqe": lambda x, y: niqe(x)} if side >= 192 else {}
    jitted = {name: jax.jit(metric, compiler_options=compiler_options()) for name, metric in natives.items()}
    np.testing.assert_allclose(jitted["ssim"](x, y), skimage_ssim(a, b), atol=1e-5)

    def native(name: str) -> Call:
        return lambda: jitted[name](x, y)

    return {name: native(name) for name in jitted} | {"ssim of skimage": lambda: skimage_ssim(a, b)}


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.metrics", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--sides", type=int, nargs="+", default=[256, 512], help="sides of the images")
    parser.add_argument("--batch", type=int, default=8, help="images per call")
    parser.add_argument("--runs", type=int, default=9, help="timed calls of each row")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    args = make_parser().parse_args(argv)
    print(machine())
    for side in args.sides:
        seconds = medians(calls(side, args.batch), args.runs)
        theirs = seconds["ssim of skimage"]
        print(f"\n## {side}x{side}, {args.batch} images per call\n")
        print("| metric | images/s | to skimage's SSIM |\n|---|---|---|")
        for name, value in seconds.items():
            print(f"| {name} | {args.batch / value:.3g} | {theirs / value:.2f} |", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())

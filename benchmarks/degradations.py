"""Compare the LR images of degradations with those of real cameras, and measure the residuals x_0 - z_lr.

    python -m benchmarks.degradations --data ../shared/data

The first table has quartiles over images. Sharpness is the standard deviation of the Laplacian of an LR image, relative
to that of its HR image reduced bicubically; noise is the 10th percentile of the deviations of the diagonal detail in
blocks of 8x8, in grey levels; blocks is the mean step across borders of 8x8 JPEG blocks over that inside of them (1 is
none), for the grid that makes it greatest, as the grid of a crop may begin anywhere. Rows: the LR images of RealSR, and
the LR images that each degradation makes of training photographs. No pixel of RealSR is used for more than this. The
second table has the standard deviations that `jaxsr.models.residual_spectrum` holds: of the coefficients of x_0 - z_lr,
for crops with the degradation `photo`.
"""

import argparse
import sys
from collections.abc import Iterable
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.harness import command_line, machine, markdown, run_benchmark
from jaxsr.data.sources import load_folder
from jaxsr.evaluation.datasets import open_dataset
from jaxsr.evaluation.images import read_picture
from jaxsr.imaging.resize import downsample_bicubic_uint8
from jaxsr.models.model import Model
from jaxsr.models.pixel_codec import block_transform
from jaxsr.models.presets import PRESETS
from jaxsr.training.camera import DEGRADATIONS, CameraConfig, camera
from jaxsr.training.dataset import pair_dataset
from jaxsr.training.degradation import LUMA
from jaxsr.training.step import to_signed

FOLDERS = ("train/cid22_training", "train/gb82", "train_more")
CAMERA = "camera (part of photo)"
Pairs = Iterable[tuple[np.ndarray, np.ndarray]]


def statistics(lr: np.ndarray, hr: np.ndarray) -> tuple[float, float, float]:
    """Measure sharpness, noise and blocks of an LR image; see the top of this module."""
    y, clean = (image.astype(np.float64) @ LUMA for image in (lr, downsample_bicubic_uint8(hr, 4)))
    return _laplacian(y) / _laplacian(clean), _noise(y), _blocks(y)


def _laplacian(y: np.ndarray) -> float:
    return float((4 * y[1:-1, 1:-1] - y[:-2, 1:-1] - y[2:, 1:-1] - y[1:-1, :-2] - y[1:-1, 2:]).std())


def _noise(y: np.ndarray) -> float:
    h, w = (side // 8 * 4 for side in y.shape)
    detail = (y[::2, ::2][:h, :w] - y[1::2, ::2][:h, :w] - y[::2, 1::2][:h, :w] + y[1::2, 1::2][:h, :w]) / 2
    return float(np.percentile(detail.reshape(h // 4, 4, w // 4, 4).std((1, 3)), 10))


def _blocks(y: np.ndarray) -> float:
    steps = np.abs(np.diff(y, axis=1))
    columns = [steps[:, k::8].mean() for k in range(8)]
    total = sum(columns)
    return float(max(7 * column / (total - column) for column in columns))


def row(name: str, pairs: Pairs) -> dict[str, str]:
    """Summarise the statistics of pairs (lr, hr) as quartiles."""
    columns = np.array([statistics(lr, hr) for lr, hr in pairs]).T
    quartiles = (" / ".join(f"{value:.2f}" for value in np.percentile(column, [25, 50, 75])) for column in columns)
    return {"LR images": name} | dict(zip(("sharpness", "noise", "blocks"), quartiles, strict=True))


def real_pairs(data: Path) -> Pairs:
    for item in open_dataset("realsr", data):
        assert item.lr is not None
        assert item.target is not None
        yield read_picture(item.lr).pixels, read_picture(item.target).pixels


def made_pairs(photographs: Iterable[np.ndarray], name: str, seed: int, config: CameraConfig | None = None) -> Pairs:
    """Yield what a degradation makes of each photograph, and the photograph, cut to whole LR pixels.

    `config` has other parameters for the degradation CAMERA.
    """
    degrade = {**DEGRADATIONS, CAMERA: partial(camera, config=config)}[name]
    for i, photograph in enumerate(photographs):
        hr = photograph[: photograph.shape[0] // 4 * 4, : photograph.shape[1] // 4 * 4]
        yield degrade(hr, 4, np.random.default_rng([seed, i])), hr


def residuals(photographs: list[np.ndarray], crops: int, seed: int) -> np.ndarray:
    """Measure the standard deviations of the coefficients of x_0 - z_lr: 8 x 8 x 3, as in `residual_spectrum`."""
    model, basis = Model(PRESETS["photo_x4"]), jnp.asarray(block_transform(8), jnp.float32)
    sizes = {"hr_size": 192, "scale": 4, "batch_size": 16}
    dataset = pair_dataset(photographs, **sizes, seed=seed, degrade=DEGRADATIONS["photo"])

    @jax.jit
    def squares(hr: jax.Array, lr: jax.Array) -> jax.Array:
        difference = model.encode({}, to_signed(hr)) - model.encode_lr({}, to_signed(lr))
        return jnp.square(difference @ basis.T).mean((0, 1, 2))

    batches = (dataset.batch(step) for step in range(max(crops // 16, 1)))
    means = np.mean([squares(*map(jnp.asarray, (batch["hr"], batch["lr"]))) for batch in batches], axis=0)
    means = means.reshape(8, 8, 3)
    return np.sqrt((means + means.transpose(1, 0, 2)) / 2)


def run(args: argparse.Namespace, command: str) -> None:
    photographs = [image for folder in FOLDERS for image in load_folder(args.data / folder, min_size=192)]
    chosen = photographs[:: max(len(photographs) // args.limit, 1)]
    print(f"`{command}`  \n{machine()}\n", flush=True)
    rows = [row("RealSR", real_pairs(args.data))]
    rows += [row(name, made_pairs(chosen, name, args.seed)) for name in (CAMERA, *DEGRADATIONS)]
    print(markdown(rows), flush=True)
    table = residuals(photographs, args.crops, args.seed)
    for name, channel in zip(("grey", "red - blue", "green - magenta"), np.moveaxis(table, -1, 0), strict=True):
        print(f"\n{name}\n" + "\n".join(" ".join(f"{value:.3g}" for value in line) for line in channel))


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.degradations", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("--data", type=Path, required=True, help="folder that holds train, train_more and realsr_sub")
    parser.add_argument("--limit", type=int, default=100, help="training photographs for the first table")
    parser.add_argument("--crops", type=int, default=960, help="crops for the second table")
    parser.add_argument("--seed", type=int, default=0)
    return parser


def main(argv: list[str] | None = None) -> int:
    args = make_parser().parse_args(argv)
    return run_benchmark(lambda: run(args, command_line("degradations", argv)))


if __name__ == "__main__":
    sys.exit(main())

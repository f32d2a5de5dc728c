"""Measure quality on Set5 and Set14: PSNR-Y, texture, faithfulness and time of a x4 model at several step counts.

    python -m benchmarks.quality --model tiny-x4 --data ../shared/data --steps 1 2 4 8 15 30 60

--data holds `lrx4/PAIRS.tsv` (LR path, tab, HR path, both below --data). The HR image is cropped at the bottom and the
right to four times its LR image. Grey images count as RGB. Results are rounded to 8 bits before they are scored.

PSNR-Y, SSIM: of BT.601 luma (16..235), without a border of 4 pixels. Bicubic has 28.43 dB on Set5 and 26.09 on Set14.
The papers have 28.42, because they round Y, and 26.00, because they take the grey `bridge` at full range.
SWD, HF: `jaxsr.metrics.texture`. NIQE: with our own model; images this small have few blocks for it.
LR: `lr_consistency`, of RGB, on the rounded results.
Seconds: median per image of the whole call, after one untimed call for its size, without scoring.
"""

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key, Shaped, UInt8

from benchmarks.harness import command_line, machine, run_benchmark, write_results
from jaxsr.diffusion.sampler import SAMPLERS
from jaxsr.evaluation.methods import enlarge_bicubic
from jaxsr.imaging.files import read_photo
from jaxsr.metrics.consistency import lr_consistency
from jaxsr.metrics.niqe import BLOCK, niqe
from jaxsr.metrics.psnr import psnr
from jaxsr.metrics.ssim import ssim
from jaxsr.metrics.texture import high_frequency_ratio, texture_distance

SCALE = 4
COLUMNS = ("PSNR-Y", "SSIM", "SWD", "HF", "NIQE", "LR")

Photo = UInt8[np.ndarray, "h w 3"]
Upscale = Callable[[Photo], Shaped[np.ndarray, "H W 3"]]


@dataclass(frozen=True)
class Pair:
    """An LR image and its original, 8 bits, with the names of their set and file."""

    set_name: str
    image: str
    lr: Photo
    hr: Photo


@dataclass(frozen=True)
class Score:
    """The score of one method on one image: the COLUMNS, in order, and the seconds of the call."""

    method: str
    set_name: str
    image: str
    values: tuple[float, ...]
    seconds: float


def read_pairs(data: Path, sets: Sequence[str] | None) -> list[Pair]:
    """Read the image pairs of `data/lrx4/PAIRS.tsv`: those of the named sets, or of all sets whose folders exist."""
    table = data / "lrx4" / "PAIRS.tsv"
    if not table.is_file():
        raise ValueError(f"{table}: no such file; give the folder that holds lrx4/PAIRS.tsv with --data")
    rows = [line.split("\t") for line in table.read_text().splitlines() if line.strip()]
    found = {Path(hr).parent.name for _, hr in rows if (data / hr).parent.is_dir()}
    if missing := set(sets or ()) - found:
        raise ValueError(f"--sets: {data} lacks {', '.join(sorted(missing))}; choose from {', '.join(sorted(found))}")
    wanted = set(sets) if sets else found
    return [_read_pair(data, lr, hr) for lr, hr in rows if Path(hr).parent.name in wanted]


def _read_pair(data: Path, lr_name: str, hr_name: str) -> Pair:
    lr, hr = (to_uint8(read_photo(data / name).rgb) for name in (lr_name, hr_name))
    h, w = (SCALE * n for n in lr.shape[:2])
    if hr.shape[0] < h or hr.shape[1] < w:
        raise ValueError(f"{data / hr_name}: smaller than {SCALE} times {lr_name}; check PAIRS.tsv")
    return Pair(Path(hr_name).parent.name, Path(hr_name).name, lr, hr[:h, :w])


def to_uint8(image: Shaped[np.ndarray, "h w 3"]) -> Photo:
    """Clip float images to [0, 1] and round them to 8 bits; 8-bit images stay as they are."""
    return image if image.dtype == np.uint8 else np.rint(255 * np.clip(image, 0, 1)).astype(np.uint8)


def bicubic(lr: Photo) -> Float[np.ndarray, "H W 3"]:
    """Enlarge by MATLAB's bicubic (a = -0.5), as in the `bicubic` row of the papers."""
    return enlarge_bicubic(lr, SCALE)


def methods(model: str, steps: Sequence[int], sampler: str, seed: int) -> dict[str, Upscale]:
    """Make the methods to compare, by row name: bicubic, and the model at every step count."""
    import jaxsr

    pipeline = jaxsr.load(model)

    def at(count: int) -> Upscale:
        return lambda lr: np.asarray(pipeline.upscale(lr, seed=seed, steps=count, sampler=sampler))

    names = {count: "1 step (x0 prediction)" if count == 1 else f"{count} steps" for count in steps}
    return {"bicubic": bicubic, **{name: at(count) for count, name in names.items()}}


def score(method: str, upscale: Upscale, pairs: Sequence[Pair]) -> list[Score]:
    """Run one method on every pair. The first image of each size is run once more beforehand, untimed."""
    sizes, scores = set(), []
    for pair in pairs:
        if pair.lr.shape not in sizes:
            sizes.add(pair.lr.shape)
            upscale(pair.lr)
        begin = time.perf_counter()
        result = upscale(pair.lr)
        seconds = time.perf_counter() - begin
        sr, hr, lr = (jnp.asarray(image[None] / 255, jnp.float32) for image in (to_uint8(result), pair.hr, pair.lr))
        values = tuple(float(value[0]) for value in _measure(sr, hr, lr, jax.random.key(0)))
        scores.append(Score(method, pair.set_name, pair.image, values, seconds))
    return scores


@jax.jit
def _measure(sr: Array, hr: Array, lr: Array, key: Key[Array, ""]) -> tuple[Array, ...]:
    return (
        psnr(sr, hr, border=SCALE, luma=True),
        ssim(sr, hr, border=SCALE, luma=True),
        texture_distance(sr, hr, key),
        high_frequency_ratio(sr, hr),
        niqe(sr) if _holds_blocks(sr) else jnp.full(len(sr), jnp.nan),
        lr_consistency(sr, lr, SCALE),
    )


def _holds_blocks(images: Array) -> bool:
    """Return whether the images have the two blocks that NIQE needs."""
    _, h, w, _ = images.shape
    return (h // BLOCK) * (w // BLOCK) >= 2


def summarise(scores: Sequence[Score]) -> list[dict[str, str | float]]:
    """Make one row per method, in order: the mean of each column over the images, and the median seconds."""
    rows = []
    for method in dict.fromkeys(score.method for score in scores):
        mine = [score for score in scores if score.method == method]
        means = np.mean([score.values for score in mine], axis=0).tolist()
        seconds = float(np.median([score.seconds for score in mine]))
        rows.append({"method": method, **dict(zip(COLUMNS, means, strict=True)), "seconds": seconds})
    return rows


def markdown(title: str, rows: Sequence[dict[str, str | float]]) -> str:
    """Format the rows of `summarise` as a Markdown table under a title."""
    head = ["method", *COLUMNS, "s/image"]
    form = "| {method} | {PSNR-Y:.2f} | {SSIM:.4f} | {SWD:.2f} | {HF:.2f} | {NIQE:.2f} | {LR:.1f} | {seconds:.2f} |"
    lines = [f"\n## {title}\n", f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    return "\n".join([*lines, *(form.format(**row) for row in rows)])


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.quality", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", required=True, help="name, folder or file of a model")
    parser.add_argument("--data", type=Path, required=True, help="folder that holds lrx4/PAIRS.tsv")
    parser.add_argument("--steps", type=int, nargs="+", default=[1, 2, 4, 8, 15, 30, 60], help="step counts")
    parser.add_argument("--sampler", choices=SAMPLERS, default="ancestral")
    parser.add_argument("--sets", nargs="+", help="such as set5 set14 (default: all in --data)")
    parser.add_argument("--seed", type=int, default=0, help="seed of the noise")
    parser.add_argument("--json", type=Path, help="file for all numbers of every image")
    return parser


def run(args: argparse.Namespace, command: str) -> None:
    pairs = read_pairs(args.data, args.sets)
    print(f"`{command}`  \n{machine()}", flush=True)
    scores: list[Score] = []
    for method, upscale in methods(args.model, args.steps, args.sampler, args.seed).items():
        scores += score(method, upscale, pairs)
        print(f"{method}: done", file=sys.stderr, flush=True)
    sets = dict.fromkeys(pair.set_name for pair in pairs)
    groups = {name: [one for one in scores if one.set_name == name] for name in sets}
    tables = {name: summarise(group) for name, group in groups.items()} | {"mean": summarise(scores)}
    for name, rows in tables.items():
        images = sum(name in ("mean", pair.set_name) for pair in pairs)
        print(markdown(f"{name} ({images} images)", rows))
    if args.json:
        write_results(args.json, command, tables=tables, scores=[asdict(score) for score in scores])


def main(argv: list[str] | None = None) -> int:
    args = make_parser().parse_args(argv)
    return run_benchmark(lambda: run(args, command_line("quality", argv)))


if __name__ == "__main__":
    sys.exit(main())

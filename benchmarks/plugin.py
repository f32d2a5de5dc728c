"""Measure the paper's Table 2 on a model of ours: plain sampling, more steps, LR guidance, HR guidance, and a region.

    python -m benchmarks.plugin --model tiny-x4 --data ../shared/data --sets set14 div2k realsr --limit 20

--data holds `lrx4/PAIRS.tsv` (see benchmarks/quality.py), `div2k_sub` (HR; LR by MATLAB's bicubic) and
`realsr_sub/{HR,LR}`. LR guidance has fixed scales; `benchmarks.readings` measures the presets. HR guidance uses the
original itself as the reference, with slope and offset fitted on each image (Eq. 10). The region rows know the left
half of the original. They are scored on the left and on the right half separately, beside the plain sampler on the same
halves. `away from x0_hat` uses c_t = (1 - eta) x0_hat + eta z_lr in place of the LR image; x0_hat is the prediction at
t = T.

The columns are those of benchmarks/quality.py. Brackets hold a 95 % interval, by bootstrap over images, of the mean
difference in PSNR-Y to plain 4 steps.
"""

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import jaxsr
from benchmarks.harness import command_line, machine, run_benchmark, write_results
from benchmarks.quality import (
    SCALE,
    Pair,
    Photo,
    Score,
    bicubic,
    markdown,
    read_pairs,
    score_result,
    summarise,
    to_uint8,
)
from jaxsr import diffusion
from jaxsr.choices import GradientForm
from jaxsr.diffusion import Guidance
from jaxsr.diffusion.sampler import start
from jaxsr.imaging.files import read_photo
from jaxsr.imaging.folders import list_images
from jaxsr.imaging.resize import downsample_bicubic_uint8
from jaxsr.metrics.statistics import bootstrap_interval
from jaxsr.models.model import Model, Params
from jaxsr.models.problem import pose
from jaxsr.upscaling.upscaler import Upscaler

FOLDERS = {"div2k": ("div2k_sub", None), "realsr": ("realsr_sub/HR", "realsr_sub/LR")}
PLAIN = "plain, 4 steps"
Method = Callable[[Pair], Photo]


def read_set(data: Path, name: str, limit: int) -> list[Pair]:
    """Read the first pairs of a set, by name. In a folder it is every k-th pair, so that all of it is represented."""
    if name not in FOLDERS:
        return read_pairs(data, [name])[:limit]
    hr_folder, lr_folder = FOLDERS[name]
    files = sorted(list_images(data / hr_folder, False))
    if not files:
        raise ValueError(f"--sets: no images in {data / hr_folder}; give the folder of the sets with --data")
    pairs = []
    for file in files[:: max(1, len(files) // limit)][:limit]:
        hr = to_uint8(read_photo(file).rgb)
        lr = (
            to_uint8(read_photo(data / lr_folder / file.name).rgb) if lr_folder else downsample_bicubic_uint8(hr, SCALE)
        )
        pairs.append(Pair(name, file.name, lr, hr[: SCALE * lr.shape[0], : SCALE * lr.shape[1]]))
    return pairs


LR_GUIDANCE = {
    "every step -0.05": (-0.05,) * 4,
    "last step 0.15": (0.15, 0.0, 0.0, 0.0),
    "last step 0.25": (0.25, 0.0, 0.0, 0.0),
    "last step 0.3": (0.3, 0.0, 0.0, 0.0),
}


def methods(upscaler: Upscaler, steps: Sequence[int]) -> dict[str, Method]:
    """Make the methods to compare, by row name."""

    def run(pair: Pair, **options: Any) -> Photo:
        return upscaler.upscale(pair.lr, seed=0, **options)

    def with_original(pair: Pair, **options: Any) -> Photo:
        height, width = pair.lr.shape[:2]
        return run(pair, reference=pair.hr, reference_box=(0, 0, width, height), **options)

    rows: dict[str, Method] = {"bicubic": lambda pair: to_uint8(bicubic(pair.lr))}
    rows |= {f"plain, {n} steps": partial(run, steps=n) for n in steps}
    rows |= {f"LR guidance, {name}": partial(run, steps=4, alpha=alpha) for name, alpha in LR_GUIDANCE.items()}
    rows |= {f"away from x0_hat, scale {scale}": away_from_prediction(upscaler, scale) for scale in (0.1, 0.2, 0.3)}
    return rows | {"HR guidance, 4 steps": partial(with_original, steps=4)}


def away_from_prediction(upscaler: Upscaler, scale: float) -> Method:
    """Make the method of 4 steps away from the first prediction, shifted to each step's marginal.

    The whole image is one tile.
    """
    model, schedule = Model(upscaler.preset), diffusion.thin(upscaler.preset.schedule.build(), 4)

    @jax.jit
    def enlarge(params: Params, lr: jax.Array) -> jax.Array:
        p = pose(model, params, schedule, lr, partial(diffusion.normal_noise, jax.random.key(0), schedule.steps))
        first = p.denoise(start(schedule, p.z_lr, p.noise(jnp.int32(0))), jnp.int32(schedule.steps - 1))
        guidance = [Guidance(reference=first, scale=scale, form=GradientForm(reference_mean="shifted"))]
        return p.decode(diffusion.sample(p.denoise, schedule, p.z_lr, p.noise, guidance=guidance))

    def run(pair: Pair) -> Photo:
        height, width = pair.lr.shape[:2]
        align = upscaler.preset.align
        margin = ((0, -height % align), (0, -width % align), (0, 0))
        lr = np.pad(pair.lr, margin, mode="symmetric")[None].astype(np.float32) / 255
        return to_uint8(np.asarray(enlarge(upscaler.params, lr))[0, : SCALE * height, : SCALE * width])

    return run


def half(image: Photo, right: bool) -> Photo:
    """Cut out the left or the right half of an image of even width."""
    middle = image.shape[1] // 2
    return image[:, middle:] if right else image[:, :middle]


def score_set(pairs: Sequence[Pair], rows: Mapping[str, Method]) -> list[Score]:
    """Score every method on every pair."""
    scores = []
    for name, method in rows.items():
        scores += [score_result(name, pair, method(pair)) for pair in pairs]
        print(f"{pairs[0].set_name}, {name}: done", file=sys.stderr, flush=True)
    return scores


def score_region(pairs: Sequence[Pair], upscaler: Upscaler) -> list[Score]:
    """Score each half of the plain results, and of those with the original's left half as the reference."""
    scores = []
    for pair in pairs:
        lr, hr = (image[:, : image.shape[1] // (2 * k) * 2 * k] for image, k in ((pair.lr, 1), (pair.hr, SCALE)))
        box = (0, 0, lr.shape[1] // 2, lr.shape[0])
        plain = upscaler.upscale(lr, seed=0)
        guided = upscaler.upscale(lr, seed=0, reference=half(hr, False), reference_box=box)
        for right in (False, True):
            side = replace(pair, lr=half(lr, right), hr=half(hr, right))
            for name, result in (("plain", plain), ("left half known", guided)):
                label = f"{'right' if right else 'left'} half: {name}"
                scores.append(score_result(label, side, half(result, right)))
    return scores


def interval(scores: Sequence[Score], name: str, seed: int = 0, n: int = 2000) -> tuple[float, float]:
    """Compute the 95 % interval of the mean difference in the first column to plain 4 steps, by resampling images."""
    first = {row: {s.image: s.values[0] for s in scores if s.method == row} for row in (name, PLAIN)}
    difference = np.array([first[name][image] - first[PLAIN][image] for image in first[name]])
    images = np.arange(len(difference))
    low, high = bootstrap_interval(lambda drawn: difference[drawn].mean(), images, seed=seed, resamples=n)
    return float(low), float(high)


def with_intervals(scores: Sequence[Score]) -> list[dict[str, str | float]]:
    rows = summarise(scores)
    for row in rows:
        low, high = interval(scores, str(row["method"]))
        row["method"] = f"{row['method']} [{low:+.2f}, {high:+.2f}]"
    return rows


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.plugin", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", default="tiny-x4", help="name, folder or file of a model")
    parser.add_argument("--data", type=Path, required=True, help="folder that holds the sets")
    parser.add_argument(
        "--sets", nargs="+", default=["set14", "div2k", "realsr"], help="sets: set5, set14, div2k, realsr"
    )
    parser.add_argument("--limit", type=int, default=20, help="images per set")
    parser.add_argument(
        "--steps", type=int, nargs="+", default=[4, 15, 60], help="step counts of the plain sampler, including 4"
    )
    parser.add_argument("--json", type=Path, help="file for all numbers of every image")
    return parser


def run(args: argparse.Namespace, command: str) -> None:
    upscaler = jaxsr.load(args.model)
    rows, tables, everything = methods(upscaler, args.steps), {}, []
    print(f"`{command}`  \n{machine()}", flush=True)
    for name in args.sets:
        pairs = read_set(args.data, name, args.limit)
        scores, region = score_set(pairs, rows), score_region(pairs, upscaler)
        tables |= {name: with_intervals(scores), f"{name}, region": summarise(region)}
        for title in (name, f"{name}, region"):
            print(markdown(f"{title} ({len(pairs)} images)", tables[title]), flush=True)
        everything += scores + region
    if args.json:
        scores = [asdict(score) for score in everything]
        write_results(args.json, command, tables=tables, scores=scores)


def main(argv: list[str] | None = None) -> int:
    args = make_parser().parse_args(argv)
    return run_benchmark(lambda: run(args, command_line("plugin", argv)))


if __name__ == "__main__":
    sys.exit(main())

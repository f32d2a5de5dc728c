"""Look for a better correction than the paper's: measure many samplers of few network calls in the closed loop.

    python -m benchmarks.corrections --model tiny-x4 --hr ../shared/data/train/cid22_validation -o OUT
    python -m benchmarks.corrections --model photo-x4 --hr pairs/HR --lr pairs/LR -o OUT
    python -m benchmarks.corrections --model photo-x4 --data ../shared/data --set realsr --ablation thinning -o OUT

Every variant samples the centre of every photograph. Brackets hold the mean difference to the first variant, the plain
sampler unless --variants begins with another, and its 95 % interval over photographs. `of the gap` is the part of the
LPIPS between the first variant and 15 plain steps that a variant closes. A variant is one argument of --variants, or
one of the tables that --ablation names, as `key=value` words:

    rows=0,20,39,59      kept rows of the trained schedule, t = 1 first
    alpha=0.1            guidance: one scale, or one per step, t = 1 first; `printed`: those of Algorithm 1
    reference=lr         what the guidance leads away from, see `benchmarks.correction_variants`
    variance=posterior   variance of the reference: `posterior`, or `marginal`
    bands=1,0.5,0        factors of alpha on the bands of a Laplacian pyramid, finest first; the last is the rest
    temperature=0.9      factor of the noise of every step: one, or one per step
    order=2              two-step slopes of second order, see `extrapolate`
    project=1            range-null projection of the result, and its strength
    sampler=flow         steps along the flow in place of ancestral ones

A stopped run resumes: the numbers of every variant are kept in OUT/variants.jsonl.
"""

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import jaxsr
from benchmarks.correction_variants import ABLATIONS, FIFTEEN, Variant, variants_of
from benchmarks.harness import command_line, machine, markdown, run_benchmark
from benchmarks.quality import to_uint8
from benchmarks.readings import METRICS, SETS, items_of
from jaxsr.cli.shared_options import whole
from jaxsr.data.sources import load_folder
from jaxsr.diffusion import Schedule
from jaxsr.diffusion.process import reverse_mean
from jaxsr.diffusion.sampler import flow_step, start
from jaxsr.evaluation.images import Pair, load, ready
from jaxsr.evaluation.protocol_files import load_protocol
from jaxsr.evaluation.scoring import Scorer
from jaxsr.imaging import noise
from jaxsr.imaging.resize import downsample_bicubic_uint8, project_onto
from jaxsr.metrics.catalogue import METRICS as CATALOGUE
from jaxsr.metrics.statistics import paired_difference
from jaxsr.models.model import Model
from jaxsr.models.pixel_codec import pixel_shuffle, pixel_unshuffle
from jaxsr.models.presets import ModelPreset
from jaxsr.models.problem import pose
from jaxsr.options import Options
from jaxsr.runtime.compilation import compiler_options
from jaxsr.upscaling.upscaler import Upscaler

SIDE = 64
"""The side of the LR crops."""
AVERAGED = 4
Columns = dict[str, list[float | None]]
"""Name of a metric -> its number for every photograph."""


def sampler(upscaler: Upscaler, variant: Variant) -> Callable[..., jax.Array]:
    """Make the compiled function (params, keys, LR images in [0, 1]) -> results in [0, 1]."""
    full = upscaler.preset.schedule.build()
    schedule, model = full.select(np.array(variant.rows)), Model(upscaler.preset)

    def run(params: Any, keys: jax.Array, lr: jax.Array) -> jax.Array:
        origins = jnp.zeros((len(lr), 2), jnp.int32)
        problem = pose(model, params, schedule, lr, lambda shape: noise.chain_noise(keys, origins, shape))
        reference = reference_of(problem, schedule, variant, lr, upscaler.preset)
        x_0 = chain(problem, schedule, variant, upscaler.preset.codec.factor, reference)
        image = problem.decode(x_0, clip=False)
        return jnp.clip(project_onto(image, lr, upscaler.preset.scale, variant.project), 0, 1)

    return jax.jit(run, compiler_options=compiler_options())


def reference_of(
    problem: Any, schedule: Schedule, variant: Variant, lr: jax.Array, preset: ModelPreset
) -> jax.Array | None:
    """Make the reference of the guidance. Returns None for `first`, which only the chain knows."""
    if variant.reference == "lr" or not any(variant.alpha):
        return problem.z_lr
    if variant.reference == "first":
        return None
    if variant.reference == "average":
        plain = replace(variant, alpha=(0.0,))
        other = lambda j: lambda k: problem.noise(1000 * (j + 1) + k)  # noqa: E731  # no noise of the chain itself
        problems = [replace(problem, noise=other(j)) for j in range(AVERAGED)]
        samples = [chain(one, schedule, plain, preset.codec.factor, None) for one in problems]
        return jnp.mean(jnp.stack(samples), axis=0)
    b, h, w, c = lr.shape
    shape = (b, preset.scale * h, preset.scale * w, c)
    return problem.encode(jax.image.resize(lr, shape, variant.reference, precision=jax.lax.Precision.HIGHEST))


def chain(
    problem: Any, schedule: Schedule, variant: Variant, factor: int, reference: jax.Array | None = None
) -> jax.Array:
    """Run the chain of a variant, with its steps unrolled. Without a reference, it is the first prediction."""
    origin = reference
    x, z_lr, before = start(schedule, problem.z_lr, problem.noise(0)), problem.z_lr, None
    tables = schedule.tables()
    for k, i in enumerate(reversed(range(schedule.steps)), start=1):
        row = jax.tree.map(lambda column, i=i: column[i], tables)
        f = problem.denoise(x, i)
        used = f if before is None or variant.order == 1 or i == 0 else extrapolate(schedule, i, f, before)
        before = f
        origin = f if origin is None else origin
        if variant.sampler == "flow":
            mean, std = flow_step(x, used, z_lr, row.eta, row.eta_prev), 0.0
        else:
            mean, std = reverse_mean(x, used, row), row.std
        if alpha := variant.at("alpha", i):
            if variant.variance == "marginal":
                alpha *= row.variance_clipped / row.marginal_variance_clipped
            mean += alpha * in_bands(mean - origin, variant.bands, factor)
        x = mean if i == 0 else mean + variant.at("temperature", i) * std * problem.noise(k)
    return x


def extrapolate(schedule: Schedule, i: int, f: jax.Array, before: jax.Array) -> jax.Array:
    """Return the prediction that a step from row i needs for the second order, from the predictions of two steps.

    The flow is dv/dlam = f with lam = 1/s - s, s = sqrt(eta) (see `jaxsr.diffusion.sampler`). Let f be linear in
    log(lam), as in DPM-Solver++(2M). With h the step in log(lam), and lam' its end, the integral of f is (lam' - lam)
    times f + (f - before) / h_before (h lam' / (lam' - lam) - 1). The last step, to lam' = infinity, has first order.
    """
    lam = lambda eta: 1 / np.sqrt(eta) - np.sqrt(eta)  # noqa: E731
    here, behind, ahead = (lam(schedule.eta[j]) for j in (i, i + 1, i - 1))
    factor = (np.log(ahead / here) * ahead / (ahead - here) - 1) / np.log(here / behind)
    return f + float(factor) * (f - before)


def in_bands(latent: jax.Array, factors: Sequence[float], factor: int) -> jax.Array:
    """Multiply the bands of a Laplacian pyramid of a latent of pixel-unshuffle, finest first; the last is the rest."""
    if len(factors) == 1:
        return factors[0] * latent
    rest = pixel_shuffle(latent, factor)
    total = jnp.zeros_like(rest)
    for level, number in enumerate(factors[:-1]):
        smooth = blur(rest, 2**level)
        total, rest = total + number * (rest - smooth), smooth
    return pixel_unshuffle(total + factors[-1] * rest, factor)


def blur(image: jax.Array, step: int) -> jax.Array:
    """Smooth by the binomial window 1 4 6 4 1 with holes of `step`, with mirrored borders."""
    for axis in (1, 2):
        pads = [(0, 0)] * 4
        pads[axis] = (2 * step, 2 * step)
        padded, size = jnp.pad(image, pads, mode="symmetric"), image.shape[axis]
        parts = [jax.lax.slice_in_dim(padded, j * step, j * step + size, axis=axis) for j in range(5)]
        image = jnp.sum(jnp.stack([w / 16 * part for w, part in zip((1, 4, 6, 4, 1), parts, strict=True)]), axis=0)
    return image


def load_pairs(hr: Path, lr: Path | None, limit: int | None) -> list[Pair]:
    """Load the centres of photographs with their LR images, given or reduced bicubically."""
    originals = list(load_folder(hr))[:limit]
    small = [None] * len(originals) if lr is None else list(load_folder(lr))[:limit]
    pairs = []
    for i, (big, given) in enumerate(zip(originals, small, strict=True)):
        reduced = downsample_bicubic_uint8(big, 4) if given is None else given
        pairs += centre(Pair(f"{i:04d}", 0, big, reduced, None, False))
    if not pairs:
        raise ValueError(f"--hr: {hr} has no photograph of {4 * SIDE} pixels a side; give larger ones.")
    return pairs


def load_set(name: str, data: Path, limit: int | None) -> list[Pair]:
    """Load the images of a set in 8 bits, `limit` of them spread evenly over it."""
    protocol = load_protocol(SETS[name])
    found = [load(item, protocol, make_lr=True).pairs[0] for item in items_of(name, data, protocol, limit)]
    return [replace(p, hr=to_uint8(p.hr), lr=to_uint8(p.lr)) for p in found if p.hr is not None and p.lr is not None]


def centres_of_set(name: str, data: Path, limit: int | None) -> list[Pair]:
    """Load the centres of the images of a set, `limit` of them spread evenly over it."""
    return [cut for pair in load_set(name, data, limit) for cut in centre(pair)]


def centre(pair: Pair) -> list[Pair]:
    """Cut the centre of SIDE LR pixels out of a pair; nothing if it is too small."""
    assert pair.hr is not None
    assert pair.lr is not None
    if min(pair.lr.shape[:2]) < SIDE:
        return []
    top, left = ((n - SIDE) // 2 for n in pair.lr.shape[:2])
    hr = pair.hr[4 * top : 4 * (top + SIDE), 4 * left : 4 * (left + SIDE)]
    return [replace(pair, hr=hr, lr=pair.lr[top : top + SIDE, left : left + SIDE])]


def measure(upscaler: Upscaler, variant: Variant, pairs: Sequence[Pair], scorer: Scorer, batch: int) -> Columns:
    """Sample and score every pair, and return the columns of numbers."""
    function, rows = sampler(upscaler, variant), []
    for first in range(0, len(pairs), batch):
        some = pairs[first : first + batch]
        lr = np.stack([pair.lr for pair in some if pair.lr is not None]).astype(np.float32) / 255
        keys = jnp.stack([noise.image_key(0, noise.content_hash(image), 0) for image in lr])
        made = np.asarray(function(upscaler.params, keys, jnp.asarray(lr)))
        results = [replace(pair, sr=ready(sr, scorer.protocol)) for pair, sr in zip(some, made, strict=True)]
        rows += scorer.score(results)
    return {name: [row[name] for row in rows] for name in scorer.metrics}


def run(args: argparse.Namespace, command: str) -> None:
    words = args.variants or variants_of(args.ablation)
    for text in words:
        Variant.parse(text)  # before any work
    if (args.hr is None) == (args.set is None):
        raise ValueError("--hr, --set: give one of them.")
    if (args.data is None) != (args.set is None):
        raise ValueError("--data, --set: give both of them, or --hr.")
    if args.lr is not None and args.hr is None:
        raise ValueError("--lr: needs --hr; a set has its own LR images.")
    upscaler = jaxsr.load(args.model)
    printed = printed_scales(upscaler) if any("printed" in text for text in words) else (0.0,)
    variants = {text: Variant.parse(text, printed) for text in words}
    pairs = load_pairs(args.hr, args.lr, args.limit) if args.hr else centres_of_set(args.set, args.data, args.limit)
    numbers_of = keeper(upscaler, pairs, args.metrics, args.batch, args.output / "variants.jsonl")
    scales = ",".join(map(str, printed))
    numbers = {text: numbers_of(text.replace("printed", scales), variant) for text, variant in variants.items()}
    calls = {text: len(variant.rows) for text, variant in variants.items()}
    text = f"`{command}`  \n{machine()}, {len(pairs)} pairs\n\n{markdown(table(numbers, calls, words[0]))}\n"
    if FIFTEEN in words[1:]:
        text += f"\nAgainst 15 steps:\n\n{markdown(table(numbers, calls, FIFTEEN))}\n"
    (args.output / "table.md").write_text(text, encoding="utf-8")
    print(text)


def keeper(
    upscaler: Upscaler, pairs: Sequence[Pair], metrics: Sequence[str], batch: int, file: Path
) -> Callable[[str, Variant], Columns]:
    """Make the function (words, variant) -> numbers, which keeps them in a file and measures none twice."""
    images = [image for pair in pairs for image in (pair.hr, pair.lr) if image is not None]
    pixels = noise.content_hash(np.concatenate([image.ravel() for image in images]))
    what, scorer = [upscaler.sha256, pixels, *metrics], Scorer(tuple(metrics), load_protocol("plain"), batch=batch)
    file.parent.mkdir(parents=True, exist_ok=True)
    lines = [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []
    known: dict[str, Columns] = {line["variant"]: line["columns"] for line in lines if line["what"] == what}

    def numbers_of(words: str, variant: Variant) -> Columns:
        if words not in known:
            known[words] = measure(upscaler, variant, pairs, scorer, batch)
            with open(file, "a", encoding="utf-8") as out:
                out.write(json.dumps({"variant": words, "what": what, "columns": known[words]}) + "\n")
            print(f"{words or 'plain'}: {cells(known[words])}", file=sys.stderr, flush=True)
        return known[words]

    return numbers_of


def table(numbers: dict[str, Columns], calls: dict[str, int], base: str) -> list[dict[str, Any]]:
    """List the rows of a table: every variant beside `base`, and the part of the gap to 15 steps that it closes."""
    rows = []
    for text, columns in numbers.items():
        row = {"variant": text or "plain", "calls": calls[text]} | cells(columns, numbers[base])
        if FIFTEEN in numbers and base != FIFTEEN:
            row |= {"of the gap": share_of_gap(columns, numbers[base], numbers[FIFTEEN])}
        rows.append(row)
    return rows


def printed_scales(upscaler: Upscaler) -> tuple[float, ...]:
    """Return the scales of Algorithm 1 as printed, for 4 steps, from the model's calibration."""
    calibration = upscaler.find_calibration(Options(steps=4, sampler="ancestral")).calibration
    return tuple(calibration.open_loop["norm"]["weighted_median"])


def share_of_gap(columns: Columns, base: Columns, goal: Columns) -> str:
    """Write which part of the LPIPS between `base` and a better `goal` the columns close; a dash without such a gap."""
    if "lpips" not in columns:
        return "–"
    own, first, last = (np.nanmean(np.array(one["lpips"], float)) for one in (columns, base, goal))
    return f"{100 * (first - own) / (first - last):.0f} %" if last < first else "–"


def cells(columns: Columns, base: Columns | None = None) -> dict[str, str]:
    """Write the mean of every metric, with its difference to the base and the 95 % interval of that."""
    found = {}
    for name, numbers in columns.items():
        own, metric = np.array(numbers, float), CATALOGUE[name]
        digits = metric.digits
        found[name] = f"{np.nanmean(own):.{digits}f}"
        if base is not None and base is not columns:
            other = np.array(base[name], float)
            both = np.isfinite(own) & np.isfinite(other)
            apart = paired_difference(own[both], other[both], np.flatnonzero(both), up=metric.more_is_better)
            bounds = "" if apart.interval is None else " [{:+.{d}f}, {:+.{d}f}]".format(*apart.interval, d=digits)
            found[name] += f" ({apart.mean:+.{digits}f}{bounds})"
    return found


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.corrections", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("--model", default="tiny-x4", help="name, folder or file of a model over pixels")
    parser.add_argument("--hr", type=Path, help="folder of photographs")
    parser.add_argument("--lr", type=Path, help="folder of their LR images, in the same order (default: bicubic)")
    parser.add_argument("--set", choices=SETS, help="a set in --data, in place of --hr")
    parser.add_argument("--data", type=Path, help="folder that holds the sets")
    parser.add_argument("--limit", type=whole(1), help="number of photographs")
    text = "tables of variants to measure (default: all)"
    parser.add_argument("--ablation", nargs="+", choices=ABLATIONS, default=list(ABLATIONS), help=text)
    parser.add_argument("--variants", nargs="+", metavar="WORDS", help="variants to measure, each as one argument")
    parser.add_argument("--metrics", nargs="+", default=list(METRICS), help="names of metrics")
    parser.add_argument("--batch", type=whole(1), default=8, help="images per call")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="DIR", help="folder for the numbers")
    args = parser.parse_args(argv)
    return run_benchmark(lambda: run(args, command_line("corrections", argv)))


if __name__ == "__main__":
    sys.exit(main())

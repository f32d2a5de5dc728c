"""Time the closed loop: candidate-images per second of the calibration sweep and of plain loops, and its memory.

    python -m benchmarks.bench_calibration                                     # tiny-x4, small defaults
    python -m benchmarks.bench_calibration --model random:realsr_s4_v3 --candidates 1 4 --candidate-batch 4  # full size

Three ways compute the same numbers, the PSNR of every candidate and image:

    sweep       the calibration's sweep: candidates share the encoding and the first call, and all are in one call
    one by one  one jitted sampling call per candidate and image
    batched     like `one by one`, with as many candidates x images per call as the sweep has in the network at once

All ways are compiled beforehand and take turns in one process; the median of --repeats is reported. `together` is the
number of candidates that go through the network at once. The sharing alone can gain K T / (K (T - 1) + 1) over
`batched`: the column `at most`.

Before that, a process of its own measures the sweep's peak memory after a few and after many pairs: that of the
process, and that of the device if the backend reports it. The numbers hold for this machine only. Run nothing else
meanwhile.
"""

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.fresh import in_fresh_process, peak_device_bytes, peak_process_bytes
from benchmarks.harness import command_line, machine, markdown, medians, run_benchmark, write_results
from benchmarks.models import MODEL_HELP, load_model
from jaxsr.calibration.scores import make_score
from jaxsr.calibration.sweep import Chain, Rows, image_keys, plain_rows, sweep_function
from jaxsr.choices import PRECISIONS
from jaxsr.models.model import DTYPES, Model
from jaxsr.options import Options
from jaxsr.runtime.compilation import compiler_options
from jaxsr.runtime.devices import image_mesh, over_images, replicate
from jaxsr.upscaling.plan import schedule_for


def random_pairs(count: int, crop: int, scale: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Make LR and HR crops of noise. Their content does not affect the speed."""
    rng = np.random.default_rng(seed)
    lr, hr = (rng.integers(0, 256, (count, side, side, 3), dtype=np.uint8) for side in (crop, crop * scale))
    return lr, hr


def plain_loop(chain: Chain, params: Any, together: int) -> Callable[..., np.ndarray]:
    """Make (keys, lr, hr, scales) -> (K, b), which samples candidates x images separately, `together` per call."""
    one = sweep_function(chain, make_score(("psnr",), chain.model.preset.scale), 1)

    def single(params: Any, key: Any, lr: Any, hr: Any, scale: Any) -> Any:
        rows = Rows(scale[None], jnp.ones_like(scale)[None])
        return one(params, key[None], lr[None], hr[None], rows)["psnr"][0, 0]

    options = compiler_options()
    each = jax.jit(jax.vmap(single, (None, 0, 0, 0, 0)), compiler_options=options)

    def loop(keys: np.ndarray, lr: np.ndarray, hr: np.ndarray, candidates: Rows) -> np.ndarray:
        scales, values = np.asarray(candidates.scale), []
        k, b = (index.ravel() for index in np.indices((len(scales), len(lr))))
        for start in range(0, len(k), together):
            rows = np.minimum(np.arange(start, start + together), len(k) - 1)
            image, candidate = b[rows], k[rows]
            values.append(each(params, keys[image], lr[image], hr[image], scales[candidate]))
        return np.concatenate([np.asarray(value) for value in values])[: len(k)].reshape(len(scales), len(lr))

    return loop


def sweep_loop(chain: Chain, params: Any, chunk: int) -> Callable[..., np.ndarray]:
    """Make (keys, lr, hr, scales) -> (K, b), which computes as `python -m jaxsr.calibrate` does."""
    mesh = image_mesh()
    score = make_score(("psnr",), chain.model.preset.scale)
    call = over_images(mesh, sweep_function(chain, score, chunk), common=1)
    everywhere = replicate(mesh, params)
    return lambda keys, lr, hr, scales: call(everywhere, keys, lr, hr, scales)["psnr"]


ALLOWED_DB = {"float32": 0.01, "bfloat16": 0.1}  # the rounding of bfloat16 depends on the batch


def check_equal(ways: Mapping[str, Callable[..., np.ndarray]], arguments: tuple, allowed: float) -> None:
    """Raise ValueError if the scores of a way differ from those of the first by more than `allowed` dB."""
    results = {name: way(*arguments) for name, way in ways.items()}
    first, expected = next(iter(results.items()))
    for name, result in results.items():
        if not np.allclose(result, expected, rtol=0, atol=allowed):
            raise ValueError(f"{name} and {first} disagree by {np.abs(result - expected).max():.2g} dB.")


def compare(chain: Chain, params: Any, count: int, args: argparse.Namespace) -> dict[str, Any]:
    """Make one row: the rates of all ways with `count` candidates, and their ratios."""
    scales = grid_of(count, args.steps)
    chunk = max(size for size in range(1, args.candidate_batch + 1) if count % size == 0)
    lr, hr = random_pairs(args.batch, args.crop, chain.model.preset.scale)
    arguments = (image_keys(0, lr), lr, hr, scales)
    ways = {
        "sweep": sweep_loop(chain, params, chunk),
        "batched": plain_loop(chain, params, chunk * args.batch),
        "one by one": plain_loop(chain, params, 1),
    }
    check_equal(ways, arguments, ALLOWED_DB[jnp.dtype(chain.model.dtype).name])
    taken = medians({name: partial(way, *arguments) for name, way in ways.items()}, args.repeats)
    rates = {name: count * args.batch / seconds for name, seconds in taken.items()}
    most = count * args.steps / (count * (args.steps - 1) + 1)
    gains = {"sweep / batched": rates["sweep"] / rates["batched"], "at most": most}
    return {"K": count, "together": chunk, **rates, **gains, "sweep / one by one": rates["sweep"] / rates["one by one"]}


def make_chain(args: argparse.Namespace) -> tuple[Chain, Any]:
    """Load the model. Returns the sampler to sweep, and its parameters on the device."""
    upscaler = load_model(args.model, accept_license=args.accept_license)
    schedule = schedule_for(upscaler.preset, Options(steps=args.steps))
    chain = Chain(Model(upscaler.preset, DTYPES[args.precision]), schedule)
    return chain, jax.tree.map(jnp.asarray, chain.model.rounded(upscaler.params))


def grow(args: argparse.Namespace) -> list[dict[str, Any]]:
    """Measure the peak memory after few and after many pairs.

    Call this function in a fresh process, where nothing else has raised the peak.
    """
    (chain, params), done, rows = make_chain(args), 0, []
    sweep = sweep_loop(chain, params, args.candidate_batch)
    for pairs in sorted(args.pairs):
        for seed in range(done, pairs):
            lr, hr = random_pairs(args.batch, args.crop, chain.model.preset.scale, seed)
            sweep(image_keys(0, lr), lr, hr, grid_of(args.candidate_batch, args.steps))
        done, device = pairs, peak_device_bytes()
        row = {"pairs": pairs * args.batch, "process MB": peak_process_bytes() / 1e6}
        rows.append(row | {"device MB": None if device is None else device / 1e6})
    return rows


def grid_of(count: int, steps: int) -> Rows:
    """Make `count` candidates with scales from 0 to 0.3, each the same at every step."""
    return plain_rows(np.repeat(np.linspace(0, 0.3, count)[:, None], steps, axis=1))


def make_parser() -> argparse.ArgumentParser:
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.bench_calibration", description=__doc__, formatter_class=raw
    )
    parser.add_argument("--model", default="tiny-x4", help=MODEL_HELP)
    parser.add_argument("--accept-license", action="store_true", help="accept a model's non-commercial licence")
    parser.add_argument("--precision", choices=PRECISIONS, default="fp32")
    parser.add_argument("--candidates", type=int, nargs="+", default=[1, 8, 64], help="numbers of candidates K")
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--crop", type=int, default=64, help="side of the LR crops in pixels")
    parser.add_argument("--batch", type=int, default=1, help="images per call, a multiple of the number of devices")
    parser.add_argument("--candidate-batch", type=int, default=8, help="candidates in the network at once")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--pairs", type=int, nargs=2, default=[2, 16], help="few and many, for measuring the memory")
    parser.add_argument("-o", "--output", type=Path, help="write both tables to this JSON file")
    return parser


def run(args: argparse.Namespace, command: str) -> None:
    """Measure, print the tables, write the file."""
    if min(*args.candidates, *args.pairs, args.candidate_batch, args.repeats, args.batch) < 1:
        raise ValueError("--candidates, --pairs, --repeats, --batch and --candidate-batch must be at least 1.")
    memory = in_fresh_process(grow, args)
    chain, params = make_chain(args)
    rows = [compare(chain, params, count, args) for count in args.candidates]
    print(f"`{command}`  \n{machine()}\n\n{markdown(rows)}\n\n{markdown(memory, digits=5)}")
    if args.output:
        write_results(args.output, command, rows=rows, memory=memory)


def main(argv: Sequence[str] | None = None) -> int:
    args = make_parser().parse_args(argv)
    return run_benchmark(lambda: run(args, command_line("bench_calibration", argv)))


if __name__ == "__main__":
    sys.exit(main())

"""How fast the closed loop is: candidate-images per second of the sweep against plain loops, and its memory.

    python -m benchmarks.bench_calibration                                     # tiny-x4, small defaults
    python -m benchmarks.bench_calibration --candidates 1 8 64 --batch 4 --candidate-batch 16

Three ways to the same numbers (PSNR of every candidate and image), compiled beforehand, in one process, in turns; the
median of --repeats counts:

    sweep       the calibration's own: encoder and first call shared, all candidates and images in one call
    one by one  one jitted sampling call per candidate and image
    batched     as one by one, with as many candidates x images per call as the sweep has in the network at once

The sharing alone can gain K T / (K (T - 1) + 1) over `batched`, the column `at most`. Then the peak memory after a few
and after many pairs: of the device where it tells, else of the process. On this machine only; nothing else may run.
"""

import argparse
import resource
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import jaxsr
from benchmarks.harness import machine
from jaxsr.calibration.devices import image_mesh, over_images, replicate
from jaxsr.calibration.scores import make_score
from jaxsr.calibration.sweep import Chain, image_keys, sweep_function
from jaxsr.model import Model
from jaxsr.options import Options, schedule_for
from jaxsr.runtime import compiler_options, enable_compilation_cache


def random_pairs(count: int, crop: int, scale: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """LR and HR crops of noise: no speed depends on what they show."""
    rng = np.random.default_rng(seed)
    lr, hr = (rng.integers(0, 256, (count, side, side, 3), dtype=np.uint8) for side in (crop, crop * scale))
    return lr, hr


def plain_loop(chain: Chain, params: Any, together: int) -> Callable[..., np.ndarray]:
    """(keys, lr, hr, scales) -> (K, b): candidates x images through separate samplings, `together` in one call."""
    one = sweep_function(chain, make_score(("psnr",), chain.model.preset.scale), 1)

    def single(params: Any, key: Any, lr: Any, hr: Any, scale: Any) -> Any:
        return one(params, key[None], lr[None], hr[None], scale[None])["psnr"][0, 0]

    each = jax.jit(jax.vmap(single, (None, 0, 0, 0, 0)), compiler_options=compiler_options())

    def loop(keys: np.ndarray, lr: np.ndarray, hr: np.ndarray, scales: np.ndarray) -> np.ndarray:
        k, b = (index.ravel() for index in np.indices((len(scales), len(lr))))
        values = []
        for start in range(0, len(k), together):
            rows = np.minimum(np.arange(start, start + together), len(k) - 1)
            image, candidate = b[rows], k[rows]
            values.append(each(params, keys[image], lr[image], hr[image], scales[candidate]))
        return np.concatenate([np.asarray(value) for value in values])[: len(k)].reshape(len(scales), len(lr))

    return loop


def sweep_loop(chain: Chain, params: Any, chunk: int) -> Callable[..., np.ndarray]:
    """(keys, lr, hr, scales) -> (K, b) as `python -m jaxsr.calibrate` computes it."""
    mesh = image_mesh()
    score = make_score(("psnr",), chain.model.preset.scale)
    call, everywhere = over_images(mesh, sweep_function(chain, score, chunk), common=1), replicate(mesh, params)
    return lambda keys, lr, hr, scales: call(everywhere, keys, lr, hr, scales)["psnr"]


def medians(ways: dict[str, Callable[..., np.ndarray]], arguments: tuple, repeats: int) -> dict[str, float]:
    """Median seconds of each way, taken in turns after one call that compiles; they must agree."""
    results = {name: way(*arguments) for name, way in ways.items()}
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for name, result in results.items():
        if not np.allclose(result, results["sweep"], atol=1e-2):  # dB
            raise SystemExit(f"{name} and sweep disagree by {np.abs(result - results['sweep']).max()} dB")
    for _ in range(repeats):
        for name, way in ways.items():
            began = time.perf_counter()
            way(*arguments)
            seconds[name].append(time.perf_counter() - began)
    return {name: statistics.median(taken) for name, taken in seconds.items()}


def peak_memory() -> str:
    """Peak bytes of the device where it tells, else of the process."""
    stats = jax.devices()[0].memory_stats()
    if stats and "peak_bytes_in_use" in stats:
        return f"{stats['peak_bytes_in_use'] / 1e6:.0f} MB of the device"
    return f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MB of the process"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="tiny-x4")
    parser.add_argument("--candidates", type=int, nargs="+", default=[1, 8, 64], help="K")
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--crop", type=int, default=64, help="side of the LR crops in pixels")
    parser.add_argument("--batch", type=int, default=1, help="images per call, a multiple of the devices")
    parser.add_argument("--candidate-batch", type=int, default=8, help="candidates in the network at once")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--pairs", type=int, nargs=2, default=[2, 16], help="few and many, for the memory")
    args = parser.parse_args()
    enable_compilation_cache()
    upscaler = jaxsr.load(args.model)
    preset = upscaler.preset
    chain = Chain(Model(preset), schedule_for(preset, Options(steps=args.steps)))
    params = jax.tree.map(jnp.asarray, upscaler.params)
    lr, hr = random_pairs(args.batch, args.crop, preset.scale)
    print(f"{machine()}; {args.model}, {args.steps} steps, {args.batch} x {args.crop}x{args.crop}\n", flush=True)
    print("| K | sweep | batched | one by one | sweep / batched | at most | sweep / one by one |\n|" + "---|" * 7)
    for count in args.candidates:
        scales = np.repeat(np.linspace(0, 0.3, count, dtype=np.float32)[:, None], args.steps, axis=1)
        chunk = max(size for size in range(1, args.candidate_batch + 1) if count % size == 0)
        ways = {
            "sweep": sweep_loop(chain, params, chunk),
            "batched": plain_loop(chain, params, chunk * args.batch),
            "one by one": plain_loop(chain, params, 1),
        }
        taken = medians(ways, (image_keys(0, lr), lr, hr, scales), args.repeats)
        rates = {name: count * args.batch / seconds for name, seconds in taken.items()}
        most = count * args.steps / (count * (args.steps - 1) + 1)
        gains = (rates["sweep"] / rates["batched"], most, rates["sweep"] / rates["one by one"])
        print("|", " | ".join([str(count), *(f"{x:.3g}" for x in rates.values()), *(f"{x:.2f}" for x in gains)]), "|")
        sys.stdout.flush()
    print()
    sweep, done = sweep_loop(chain, params, args.candidate_batch), 0
    scales = np.repeat(np.linspace(0, 0.3, args.candidate_batch, dtype=np.float32)[:, None], args.steps, axis=1)
    for pairs in args.pairs:
        for seed in range(done, pairs):
            lr, hr = random_pairs(args.batch, args.crop, preset.scale, seed)
            sweep(image_keys(0, lr), lr, hr, scales)
        done = pairs
        print(f"peak memory after {pairs * args.batch} pairs: {peak_memory()}", flush=True)


if __name__ == "__main__":
    main()

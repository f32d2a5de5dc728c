"""Time the parts of the calibration sweep, for the scaling model: python -m benchmarks.bench_costs -o FILE

    python -m benchmarks.bench_costs -o costs.json                                        # tiny-x4
    python -m benchmarks.bench_costs --model MODEL --accept-license --precision bf16 --batch 4 --candidate-batch 16 \\
        --pairs PHOTOGRAPHS -o costs.json                                                 # on the device in question

The results are median seconds of each compiled part, on one device, at the batches of the sweep. The parts are:

    of an image      encoding, and the first network call
    of a candidate   each further network call, and decoding with scores (PSNR, SWD)
    on the host      reading a pair, hashing it, and recording a score

A call of the whole sweep takes turns with the parts, to check that they add up to it. Everything runs in a fresh
process without a compilation cache. `start` therefore includes loading and the first compilation.

`python -m benchmarks.scaling_model --costs FILE` predicts the hours on many devices from these costs; see
docs/scaling.md.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.bench_calibration import grid_of, random_pairs
from benchmarks.bench_tiling import write_photo
from benchmarks.fresh import in_fresh_process
from benchmarks.harness import Call, command_line, machine, markdown, medians, run_benchmark, write_results
from benchmarks.models import MODEL_HELP, load_model
from benchmarks.scaling_model import Costs, Sweep, device_work
from jaxsr.calibration.journal import Journal
from jaxsr.calibration.scores import make_score
from jaxsr.calibration.sweep import Chain, image_keys, sweep_function
from jaxsr.choices import PRECISIONS
from jaxsr.data.pairs import open_pairs
from jaxsr.models.model import DTYPES, Model
from jaxsr.options import Options
from jaxsr.runtime.compilation import compiler_options
from jaxsr.runtime.devices import image_mesh, over_images, replicate
from jaxsr.upscaling.plan import schedule_for

METRICS = ("psnr", "swd")
CHUNKS = 2  # chunks of candidates in the call that checks the sum
KEPT = 1000  # candidates in the journal


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The settings: `batch` images, and `candidate_batch` candidates of each in the network at once."""

    model: str
    accept_license: bool
    precision: str
    steps: int
    crop: int
    batch: int
    candidate_batch: int
    pairs: Path | None
    photographs: int
    runs: int

    def __post_init__(self) -> None:
        if self.pairs is None and self.photographs < 2:
            raise ValueError("--photographs: must be at least 2, because a calibration needs two pairs.")
        names = ("steps", "crop", "batch", "candidate_batch", "photographs", "runs")
        if low := [name for name in names if getattr(self, name) < 1]:
            raise ValueError(f"--{low[0].replace('_', '-')}: must be at least 1.")


def parts(chain: Chain, params: Any, lr: np.ndarray, hr: np.ndarray, together: int) -> dict[str, Call]:
    """Make the compiled calls of the parts, on the given images and `together` candidates of each."""
    # Not by `jaxsr.models.problem.pose`, because every part is timed alone.
    model, schedule, score = chain.model, chain.schedule, make_score(METRICS, chain.model.preset.scale)
    unit, target = (jnp.asarray(pixels, jnp.float32) / 255 for pixels in (lr, hr))
    signed, step = unit * 2 - 1, jnp.int32(schedule.steps - 1)

    def jitted(function: Callable[..., Any]) -> Callable[..., Any]:
        return jax.jit(function, compiler_options=compiler_options())

    def denoise(params: Any, z_lr: jax.Array, signed: jax.Array, x: jax.Array) -> jax.Array:
        return model.denoiser(params, schedule, z_lr, signed)(x, step)

    def finish(params: Any, unit: jax.Array, target: jax.Array, x0: jax.Array) -> Any:
        return score(jnp.clip((model.decode(params, x0) + 1) / 2, 0, 1), target, unit)

    candidates = (None, None, None, 0)
    encode, first = jitted(model.encode_lr), jitted(denoise)
    network, decode = (jitted(jax.vmap(function, candidates)) for function in (denoise, finish))
    z_lr = encode(params, signed)
    many = jnp.repeat(z_lr[None], together, axis=0)
    return {
        "encode": lambda: encode(params, signed),
        "first": lambda: first(params, z_lr, signed, z_lr),
        "network": lambda: network(params, z_lr, signed, many),
        "decode": lambda: decode(params, unit, target, many),
    }


def host_seconds(settings: Settings, lr: np.ndarray, scale: int) -> dict[str, float]:
    """Time reading a pair, hashing it and recording a score, as `jaxsr.calibration.run` does, in seconds."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if settings.pairs is None:
            side = max(512, settings.crop * scale)
            (folder / "hr").mkdir()
            for i in range(settings.photographs):
                write_photo(folder / "hr" / f"{i}.png", side, side, i)
        source = str(settings.pairs or folder / "hr")
        pairs = open_pairs(source, scale=scale, crop=settings.crop, limit=settings.photographs)
        journal = Journal(folder / "journal", {})
        values = {name: np.random.default_rng(0).random((KEPT, len(lr)), np.float32) for name in METRICS}

        def keep() -> None:
            rows = {i: {key: value[:, i].tolist() for key, value in values.items()} for i in range(len(lr))}
            journal.append("closed", rows)
            journal.stacked("closed", range(len(lr)))

        calls = {"read": lambda: [pairs[i] for i in range(len(pairs))]}
        taken = medians(calls | {"key": lambda: image_keys(0, lr), "number": keep}, settings.runs)
    numbers = len(METRICS) * KEPT * len(lr)
    return {"read": taken["read"] / len(pairs), "key": taken["key"] / len(lr), "number": taken["number"] / numbers}


def measure(settings: Settings) -> tuple[Costs, dict[str, float]]:
    """Measure the costs. Call this function in a fresh process.

    Returns:
        The costs, and the seconds of a call of the whole sweep: measured, and as the sum of the parts.
    """
    began = time.perf_counter()
    upscaler = load_model(settings.model, accept_license=settings.accept_license)
    preset, batch, together = upscaler.preset, settings.batch, settings.candidate_batch
    model, mesh = Model(preset, DTYPES[settings.precision]), image_mesh()
    if mesh.size > 1:
        raise ValueError(
            f"the costs are those of one device, not of {mesh.size}: hide the others (CUDA_VISIBLE_DEVICES=0)."
        )
    chain = Chain(model, schedule_for(preset, Options(steps=settings.steps)), preset.sampler)
    lr, hr = random_pairs(batch, settings.crop, preset.scale)
    scales, keys = grid_of(CHUNKS * together, settings.steps), image_keys(0, lr)
    sweep = over_images(mesh, sweep_function(chain, make_score(METRICS, preset.scale), together), common=1)
    params = replicate(mesh, model.rounded(upscaler.params))
    sweep(params, keys, lr, hr, scales)
    first_call = time.perf_counter() - began
    calls = parts(chain, params, lr, hr, together)
    taken = medians({"sweep": lambda: sweep(params, keys, lr, hr, scales), **calls}, settings.runs)
    device = {name: taken[name] / batch / (1 if name in ("encode", "first") else together) for name in calls}
    host = host_seconds(settings, lr, preset.scale)
    whole = Sweep(candidates=CHUNKS * together, candidate_batch=together, batch=batch, steps=settings.steps)
    check = {"measured": taken["sweep"], "sum of the parts": device_work(whole, **device)}
    return Costs(**device, **host, start=max(first_call - taken["sweep"], 0.0)), check


def make_parser() -> argparse.ArgumentParser:
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(prog="python -m benchmarks.bench_costs", description=__doc__, formatter_class=raw)
    add = parser.add_argument
    add("-n", "--model", default="tiny-x4", help=MODEL_HELP)
    add("--accept-license", action="store_true", help="accept a model's non-commercial licence")
    add("--precision", choices=PRECISIONS, default="fp32")
    add("--steps", type=int, default=4, help="sampling steps")
    add("--crop", type=int, default=64, help="side of the LR crops in pixels")
    add("--batch", type=int, default=1, help="images per call")
    add("--candidate-batch", type=int, default=8, help="candidates in the network at once")
    add("--pairs", type=Path, metavar="HR", help="photographs to read (default: random ones of 512x512)")
    add("--photographs", type=int, default=4, help="number of photographs to read")
    add("--runs", type=int, default=5)
    add("-o", "--output", type=Path, help="write the costs to this JSON file")
    return parser


def run(args: argparse.Namespace, command: str) -> None:
    """Measure, print the table, write the file."""
    settings = Settings(**{field.name: getattr(args, field.name) for field in fields(Settings)})
    costs, check = in_fresh_process(measure, settings)
    rows = [{"part": name, "seconds": value} for name, value in asdict(costs).items() if name != "exchange"]
    print(f"`{command}`  \n{machine()}\n\n{markdown(rows)}\n\n{markdown([check])}")
    if args.output:
        record = {name: str(value) if isinstance(value, Path) else value for name, value in asdict(settings).items()}
        write_results(args.output, command, settings=record, costs=asdict(costs), check=check)


def main(argv: Sequence[str] | None = None) -> int:
    args = make_parser().parse_args(argv)
    return run_benchmark(lambda: run(args, command_line("bench_costs", argv)))


if __name__ == "__main__":
    sys.exit(main())

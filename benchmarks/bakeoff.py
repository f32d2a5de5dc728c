"""Train the network of `photo-x4` over pixels and over the latent of TAEF2 for equal times, and compare the results.

    python -m benchmarks.bakeoff --data ../shared/data --taef2 ../shared/reference/taef2 -o OUT

Both have the same U-Net on the same grid (blocks of 8x8 pixels), loss, optimizer and data: those of part 1 of
`photo-x4`, with half of the states from chains. The residuals of the latent are decorrelated by their principal
components and scaled to the mean variance that the residuals of pixels have. The number of updates is that which fits
the time at the rate measured first, both side by side. Scores are of RealSR, with 1 and 4 steps. A stopped comparison
keeps the models that are trained.
"""

import argparse
import json
import runpy
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks import taef2
from benchmarks.harness import command_line, machine, markdown, medians, repeat, run_benchmark
from benchmarks.photo import rival_method
from benchmarks.readings import SETS, items_of, score_all
from jaxsr.data.prefetch import prefetch
from jaxsr.diffusion import Denoiser, Schedule
from jaxsr.evaluation.protocol_files import load_protocol
from jaxsr.evaluation.suite import in_steps
from jaxsr.evaluation.tables import render
from jaxsr.hub import checkpoint
from jaxsr.models.model import Model, Params
from jaxsr.models.presets import PRESETS, PixelCodecConfig
from jaxsr.models.residual_spectrum import PHOTO_RESIDUALS
from jaxsr.runtime.compilation import compiler_options
from jaxsr.storage import sha256_file, write_whole
from jaxsr.training.config import TrainConfig
from jaxsr.training.dataset import PairDataset
from jaxsr.training.loop import load_metrics, make_dataset
from jaxsr.training.samples import make_enlarge
from jaxsr.training.step import init_state, make_optimizer, make_update, to_signed

PART1 = Path(__file__).parents[1] / "configs/photo_x4/part1.py"
UNIT = 32
STEPS = 1, 4


@dataclass(frozen=True)
class LatentConfig(PixelCodecConfig):
    """The codec TAEF2 in the place of pixel-unshuffle."""

    @property
    def latent_channels(self) -> int:
        return taef2.CHANNELS


class LatentModel(Model):
    """`photo-x4` over the latent of TAEF2. Its parameters include the codec's, and `codec.scale` and `codec.basis`."""

    def encode(self, params: Params, image: jax.Array) -> jax.Array:
        return taef2.encode(checkpoint.part(params, "codec."), (image + 1) / 2) / params["codec.scale"]

    def decode(self, params: Params, latent: jax.Array) -> jax.Array:
        return taef2.decode(checkpoint.part(params, "codec."), latent * params["codec.scale"]) * 2 - 1

    def denoiser(
        self, params: Params, schedule: Schedule, z_lr: jax.Array, lq: jax.Array, mask: jax.Array | None = None
    ) -> Denoiser:
        scales, times = jnp.asarray(schedule.input_scale, jnp.float32), jnp.asarray(schedule.timestep_map, jnp.int32)

        def denoise(x_t: jax.Array, step: jax.Array) -> jax.Array:
            return self.predict(params, x_t, scales[step], jnp.broadcast_to(times[step], x_t.shape[:1]), z_lr, lq, mask)

        return denoise

    def _residual_basis(self, params: Params) -> jax.Array:
        return params["codec.basis"]


def latent_model(folder: Path, dataset: PairDataset, batches: int = 30) -> tuple[Model, dict[str, jax.Array]]:
    """Make the latent model for the residuals of a data set, and the parameters that training does not change."""
    codec = {f"codec.{name}": jnp.asarray(value) for name, value in taef2.load_taef2(folder).items()}
    photo = PRESETS["photo_x4"]
    network = replace(photo.network, in_channels=taef2.CHANNELS, out_channels=2 * taef2.CHANNELS)
    parts = {"codec": LatentConfig(taef2.FACTOR), "network": network, "residual_std": (1.0,) * taef2.CHANNELS}
    model = LatentModel(replace(photo, **parts))
    unscaled = codec | {"codec.scale": jnp.float32(1)}

    @jax.jit
    def covariance(hr: jax.Array, lr: jax.Array) -> jax.Array:
        residual = model.encode(unscaled, to_signed(hr)) - model.encode_lr(unscaled, to_signed(lr))
        rows = residual.reshape(-1, taef2.CHANNELS)
        return rows.T @ rows / len(rows)

    mean = np.mean([covariance(**dataset.batch(1_000_000 + i)) for i in range(batches)], axis=0)
    variances, vectors = np.linalg.eigh(np.asarray(mean, np.float64))
    scale = np.sqrt(variances.mean() / np.square(PHOTO_RESIDUALS).mean())
    model = LatentModel(replace(model.preset, residual_std=tuple((np.sqrt(variances) / scale).tolist())))
    fitted = {"codec.scale": scale, "codec.basis": vectors.T}
    return model, codec | {name: jnp.asarray(value, jnp.float32) for name, value in fitted.items()}


class Arm:
    """One of the two models, its update, and its state."""

    def __init__(self, name: str, model: Model, frozen: dict[str, jax.Array], config: TrainConfig):
        self.name, self.model, self.frozen = name, model, frozen
        self.metrics = {name: jnp.asarray(value) for name, value in load_metrics(config).items()}
        self.config = config

    def compiled(self) -> tuple[Callable[..., Any], Any]:
        state = init_state(self.model, make_optimizer(self.config), jax.random.key(self.config.seed))
        update = jax.jit(make_update(self.model, self.config), donate_argnums=0, compiler_options=compiler_options())
        return partial(update, frozen=self.frozen | self.metrics), state

    def train(self, dataset: PairDataset, updates: int, log: Path) -> dict[str, np.ndarray]:
        """Run all updates, and return the averaged parameters of the network."""
        self.config = replace(self.config, steps=updates)
        update, state = self.compiled()
        began, rows = time.perf_counter(), []
        for step, batch in enumerate(prefetch(map(dataset.batch, range(updates))), start=1):
            state, values = update(state, batch)
            if step % 100 == 0 or step == updates:
                row = {key: float(value) for key, value in values.items()}
                rows.append({"step": step, "minutes": round((time.perf_counter() - began) / 60, 2)} | row)
                write_whole(log, "".join(json.dumps(row) + "\n" for row in rows))
                print(f"{self.name} {rows[-1]}", file=sys.stderr, flush=True)
        return {name: np.asarray(value) for name, value in state.ema.items()}

    def enlarge(self, params: Params, steps: int) -> Callable[[np.ndarray], np.ndarray]:
        """Make the function that enlarges a whole uint8 LR image, padded to a multiple of 32 pixels."""
        model = type(self.model)(replace(self.model.preset, steps=steps))
        enlarge, params = make_enlarge(model, 0), dict(params) | self.frozen

        def whole(lr: np.ndarray) -> np.ndarray:
            h, w = lr.shape[:2]
            padded = np.pad(lr, ((0, -h % UNIT), (0, -w % UNIT), (0, 0)), "reflect")
            return np.asarray(enlarge(params, jnp.asarray(padded[None])))[0, : 4 * h, : 4 * w]

        return whole


def rates(arms: list[Arm], dataset: PairDataset, runs: int) -> dict[str, float]:
    """Measure seconds per update of each arm, in turns."""
    batch, calls = dataset.batch(0), {}
    for arm in arms:
        update, state = arm.compiled()
        calls[arm.name] = repeat(update, state, batch)
    return medians(calls, runs)


def run(args: argparse.Namespace, command: str) -> None:
    args.output.mkdir(parents=True, exist_ok=True)
    folders = tuple(str(args.data / name) for name in ("train/cid22_training", "train/gb82", "train_more"))
    config = replace(runpy.run_path(str(PART1))["config"], data=folders, chain_share=0.5, sample_every=0)
    dataset = make_dataset(config)
    arms = [Arm("pixels", Model(config.preset), {}, config), Arm("latent", *latent_model(args.taef2, dataset), config)]
    seconds = rates(arms, dataset, args.runs)
    enlarge, hashes, rows = {}, {}, []
    for arm in arms:
        updates = max(round(args.minutes * 60 / seconds[arm.name]), config.warmup + 1)
        file = args.output / arm.name
        if not (file / "model.safetensors").is_file():
            trained = arm.train(dataset, updates, args.output / f"{arm.name}.jsonl")
            checkpoint.save(file, trained, {"updates": updates, "seconds": seconds[arm.name]})
        stored, metadata = checkpoint.load(file, dtype=np.float32)
        params = {name: jnp.asarray(value) for name, value in stored.items()}
        rows.append({"arm": arm.name, "s/update": metadata["seconds"], "updates": metadata["updates"]})
        names = {n: in_steps(arm.name, n) for n in STEPS}
        enlarge |= {name: arm.enlarge(params, n) for n, name in names.items()}
        hashes |= dict.fromkeys(names.values(), sha256_file(file / "model.safetensors"))
    lr = np.random.default_rng(0).integers(0, 256, (128, 192, 3), np.uint8)
    times = medians({name: partial(function, lr) for name, function in enlarge.items()}, args.runs)
    megapixels = 16 * lr.shape[0] * lr.shape[1] / 1e6
    timed = [{"arm": name, "s/megapixel": value / megapixels} for name, value in times.items()]
    protocol = load_protocol(SETS["realsr"])
    shared = {"items": items_of("realsr", args.data, protocol, args.limit), "data": "realsr", "command": command}
    methods = [rival_method(name, function, weights=hashes[name]) for name, function in enlarge.items()]
    results = score_all(methods, args.metrics, args.output, "realsr", protocol=protocol, **shared)
    tables = markdown(rows), markdown(timed), render(results, "md", against="pixels, 4 steps")
    text = "\n\n".join([f"`{command}`  \n{machine()}", *tables]) + "\n"
    write_whole(args.output / "table.md", text)
    print(text)


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.bakeoff", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder that holds train, train_more and realsr_sub")
    parser.add_argument("--taef2", type=Path, required=True, help="folder with taef2_encoder.pth and taef2_decoder.pth")
    parser.add_argument("--minutes", type=float, default=45, help="training time of each at the measured rate")
    parser.add_argument("--metrics", nargs="+", default=["psnr", "lpips", "dists", "niqe"], help="names of metrics")
    parser.add_argument("--limit", type=int, help="images of RealSR, spread evenly over it (default: all)")
    parser.add_argument("--runs", type=int, default=5, help="timed runs of each")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="DIR", help="folder for all files")
    return parser


def main(argv: list[str] | None = None) -> int:
    args = make_parser().parse_args(argv)
    return run_benchmark(lambda: run(args, command_line("bakeoff", argv)))


if __name__ == "__main__":
    sys.exit(main())

"""Time an update of training, and what each choice of its config adds.

    python -m benchmarks.bench_training --config configs/photo_x4/part5.py --runs 5

The rows take turns on one batch of random pixels. Each is the config with some of its choices taken away: no chains, no
second metric, no metric at all, AdamW instead of Muon, the other precision, XLA's own convolutions instead of oneDNN's.
Making the batch is not part of an update, as the trainer makes it in a thread beside it; the last row has its time.
"""

import argparse
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.harness import command_line, machine, markdown, medians, repeat, run_benchmark
from jaxsr.models.model import DTYPES, Model
from jaxsr.runtime import onednn
from jaxsr.runtime.compilation import compiler_options
from jaxsr.training.camera import DEGRADATIONS
from jaxsr.training.config import TrainConfig, load_config
from jaxsr.training.dataset import pair_dataset
from jaxsr.training.loop import load_metrics, with_precision
from jaxsr.training.step import init_state, make_optimizer, make_update

NO_METRIC: dict[str, Any] = {"perceptual": "none", "perceptual_weight": 0.0, "perceptual_over_t": "constant"}
NO_DETAIL: dict[str, Any] = {"detail_weight": 0.0, "detail_size": TrainConfig.detail_size}
NO_CHAIN: dict[str, Any] = {"chain_share": 0.0, "chain_length": 1}


def variants(config: TrainConfig) -> dict[str, TrainConfig]:
    """List the config and what is left of it without some of its choices; equal ones are listed once."""
    config = with_precision(config)
    other = "fp32" if config.precision == "bf16" else "bf16"
    changes: dict[str, dict[str, Any]] = {
        "the config": {},
        f"in {other}": {"precision": other},
        "without the second metric": NO_DETAIL,
        "without chains": NO_CHAIN,
        "without both metrics": NO_DETAIL | NO_METRIC,
        "without metrics and chains": NO_DETAIL | NO_METRIC | NO_CHAIN,
        "without metrics and chains, with AdamW": NO_DETAIL | NO_METRIC | NO_CHAIN | {"optimizer": "adamw"},
    }
    made: dict[str, TrainConfig] = {}
    for name, change in changes.items():
        if (variant := replace(config, **change)) not in made.values():
            made[name] = variant
    return made


def make_call(config: TrainConfig, *, native: bool = False) -> Callable[[], Any]:
    """Make a call that runs one update after the other; `native` convolves by XLA's own code."""
    model = Model(config.preset, DTYPES[config.precision])
    metrics = {name: jnp.asarray(value) for name, value in load_metrics(config).items()}
    state = init_state(model, make_optimizer(config), jax.random.key(config.seed))
    update = jax.jit(make_update(model, config), donate_argnums=0, compiler_options=compiler_options())
    hr, scale = config.hr_size, config.preset.scale
    pixels = np.random.default_rng(0).integers(0, 256, (config.batch_size, hr, hr, 3), np.uint8)
    batch = {"hr": jnp.asarray(pixels), "lr": jnp.asarray(pixels[:, ::scale, ::scale])}
    call = repeat(update, state, batch, metrics)
    if not native:
        return call

    def by_xla() -> Any:
        with mock.patch.object(onednn, "active", return_value=False):
            return call()

    return by_xla


def run(args: argparse.Namespace, command: str) -> None:
    config = load_config(args.config)
    calls = {name: make_call(variant) for name, variant in variants(config).items()}
    calls["by XLA's convolutions"] = make_call(config, native=True)
    photograph = np.random.default_rng(0).integers(0, 256, (512, 512, 3), np.uint8)
    sizes = {"hr_size": config.hr_size, "scale": config.preset.scale, "batch_size": config.batch_size}
    dataset = pair_dataset([photograph], **sizes, seed=0, degrade=DEGRADATIONS[config.degradation])
    calls["making the batch"] = lambda: dataset.batch(0)
    seconds = medians(calls, args.runs)
    rows = [
        {
            "update": name,
            "s": value,
            "images/s": config.batch_size / value,
            "of the first": value / seconds["the config"],
        }
        for name, value in seconds.items()
    ]
    print(f"`{command}`  \n{machine()}\n\n{markdown(rows)}")


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.bench_training", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("--config", type=Path, required=True, help="config file of a training")
    parser.add_argument("--runs", type=int, default=5, help="timed updates of each row")
    return parser


def main(argv: list[str] | None = None) -> int:
    args = make_parser().parse_args(argv)
    return run_benchmark(lambda: run(args, command_line("bench_training", argv)))


if __name__ == "__main__":
    sys.exit(main())

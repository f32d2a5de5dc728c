"""Compare network sizes and kappas: networks trained from scratch for the same time each, measured on Set5.

    python -m benchmarks.sizes --data ../shared/data --minutes 4

--data holds `train/` and `lrx4/PAIRS.tsv` (see benchmarks/quality.py). Every candidate is the preset tiny_x4 with the
changes in its name. A few updates beforehand give the seconds per update. The cosine of the learning rate ends with the
time. The columns are those of benchmarks/quality.py for 1 and 4 steps, and the compute of one 64 x 64 picture in 4
steps.
"""

import argparse
import statistics
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import jax

from benchmarks.bench_start import compute_seconds
from benchmarks.harness import command_line, machine
from benchmarks.quality import COLUMNS, Pair, Upscale, methods, read_pairs, score
from jaxsr.models.model import Model
from jaxsr.models.presets import PRESETS, ModelPreset
from jaxsr.runtime.compilation import compiler_options
from jaxsr.training.config import TrainConfig
from jaxsr.training.loop import make_dataset, train
from jaxsr.training.step import init_state, make_optimizer, make_update

TINY = PRESETS["tiny_x4"]
WARM_UP, TIMED = 3, 8


def variant(kappa: float = 2.0, **network: object) -> ModelPreset:
    """Return the preset tiny_x4 with another noise strength and another network."""
    return replace(TINY, network=replace(TINY.network, **network), schedule=replace(TINY.schedule, kappa=kappa))


CANDIDATES = {
    "tiny_x4: 96 channels, 1 level, 3 blocks": variant(),
    "kappa 1": variant(kappa=1.0),
    "kappa 0.5": variant(kappa=0.5),
    "64 channels, 5 blocks": variant(model_channels=64, num_res_blocks=(5,), swin_embed_dim=64),
    "64 channels, 2 levels": variant(
        model_channels=64,
        channel_mult=(1, 2),
        num_res_blocks=(3, 3),
        attention_resolutions=(32,),
        swin_embed_dim=128,
    ),
}


def make_config(preset: ModelPreset, data: Path, steps: int, seed: int) -> TrainConfig:
    sizes = {"hr_size": 64, "batch_size": 36, "checkpoint_every": steps, "sample_every": 0}
    rates = {"learning_rate": 1e-3, "warmup": min(100, steps // 3)}
    return TrainConfig(preset=preset, data=str(data / "train"), steps=steps, seed=seed, **sizes, **rates)


def seconds_per_update(config: TrainConfig) -> float:
    """Time a few updates after compilation, data included, and return their median."""
    model, dataset, seconds = Model(config.preset), make_dataset(config), []
    update = jax.jit(make_update(model, config), donate_argnums=0, compiler_options=compiler_options())
    state = init_state(model, make_optimizer(config), jax.random.key(0))
    for step in range(WARM_UP + TIMED):
        began = time.perf_counter()
        state, _ = jax.block_until_ready(update(state, dataset.batch(step)))
        seconds.append(time.perf_counter() - began)
    return statistics.median(seconds[WARM_UP:])


def mean_scores(name: str, upscale: Upscale, pairs: list[Pair]) -> dict[str, float]:
    """Return the mean of every column of benchmarks/quality.py over the pairs, by the column's name."""
    columns = zip(*(one.values for one in score(name, upscale, pairs)), strict=True)
    return dict(zip(COLUMNS, map(statistics.mean, columns), strict=True))


def measure(preset: ModelPreset, data: Path, pairs: list[Pair], minutes: float, seed: int) -> str:
    """Train and measure one candidate, and make its row of the table."""
    per_update = seconds_per_update(make_config(preset, data, 1000, seed))
    updates = max(30, round(60 * minutes / per_update))
    with tempfile.TemporaryDirectory() as folder:
        silent = lambda line: None  # noqa: E731
        model = str(train(make_config(preset, data, updates, seed), Path(folder), silent, silent))
        upscalers = list(methods(model, (1, 4), "ancestral", seed=0).items())[1:]
        one, four = (mean_scores(name, upscale, pairs) for name, upscale in upscalers)
        compute = statistics.median(compute_seconds(model, 64, 4, runs=5))
    parameters = sum(leaf.size for leaf in jax.tree.leaves(jax.eval_shape(Model(preset).init, jax.random.key(0))))
    scores = [one["PSNR-Y"], four["PSNR-Y"], four["SWD"], four["HF"]]
    numbers = [f"{parameters / 1e6:.1f} M", f"{per_update:.2f}", str(updates)]
    return " | ".join(numbers + [f"{value:.2f}" for value in (*scores, compute)])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder that holds train/ and lrx4/PAIRS.tsv")
    parser.add_argument("--minutes", type=float, default=4, help="minutes of training per candidate")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    pairs = read_pairs(args.data, ["set5"])
    print(f"`{command_line('sizes', None)}`  \n{machine()}\n")
    columns = "parameters | s/update | updates | 1 step | 4 steps | SWD | HF | s/picture"
    print(f"| network | {columns} |\n|---|---|---|---|---|---|---|---|---|", flush=True)
    for name, preset in CANDIDATES.items():
        print(f"| {name} | {measure(preset, args.data, pairs, args.minutes, args.seed)} |", flush=True)


if __name__ == "__main__":
    main()

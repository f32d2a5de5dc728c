"""The training loop: it reads data, and writes checkpoints, a log, sample images and the final model."""

import json
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np
from clu import parameter_overview
from orbax.checkpoint import v1 as ocp

from jaxsr.data.prefetch import prefetch
from jaxsr.data.sources import open_photographs
from jaxsr.hub import checkpoint
from jaxsr.metrics.perceptual_files import load_perceptual
from jaxsr.models.model import DTYPES, Model
from jaxsr.plain_data import parse_json
from jaxsr.runtime.compilation import compiler_options
from jaxsr.runtime.cpu import fast_bfloat16
from jaxsr.runtime.devices import broadcast
from jaxsr.runtime.locks import locked
from jaxsr.storage import write_whole
from jaxsr.training.camera import DEGRADATIONS
from jaxsr.training.config import TrainConfig
from jaxsr.training.dataset import PairDataset, pair_dataset
from jaxsr.training.log import Meter, RunLog
from jaxsr.training.samples import make_enlarge, write_samples
from jaxsr.training.step import DETAIL, METRIC, Batch, TrainState, Weights, init_state, make_optimizer, make_update

Report = Callable[[str], None]
Values = dict[str, jax.Array]
AfterUpdate = Callable[[int, TrainState, Batch, Values], None]


def make_dataset(config: TrainConfig) -> PairDataset:
    """Open the training data that `config` names, and return this host's share."""
    sources = (config.data,) if isinstance(config.data, str) else config.data
    opened = [open_photographs(source, min_size=config.hr_size) for source in sources]
    images = opened[0] if len(opened) == 1 else [image for photographs in opened for image in photographs]
    sizes = {"hr_size": config.hr_size, "scale": config.preset.scale, "batch_size": config.batch_size}
    draws = {"degrade": DEGRADATIONS[config.degradation], "leaves_share": config.leaves_share}
    dataset = pair_dataset(images, **sizes, seed=config.seed, **draws)
    return dataset.for_host(jax.process_index(), jax.process_count())


def load_part(config: TrainConfig, part: str, path: str | None) -> dict[str, np.ndarray]:
    """Load the float32 parameters of one part of the model (`network` or `codec`) from a checkpoint.

    Returns {} if `path` is None.

    Raises:
        ValueError: if the parameters do not fit the preset.
        FileNotFoundError: if the checkpoint does not exist.
    """
    if path is None:
        return {}
    params, _ = checkpoint.load(Path(path), dtype=np.float32)
    params = {name: value for name, value in params.items() if name.startswith(f"{part}.")}
    expected = {name: shape for name, shape in Model(config.preset).shapes().items() if name.startswith(f"{part}.")}
    checkpoint.check_params(params, expected, source=path)
    return params


def inherited_licence(config: TrainConfig) -> dict[str, str]:
    """Return the licence of the checkpoints whose parameters a run takes over, as a conversion records it.

    Two different licences are joined, so that both are known. Returns {} if no checkpoint states one.
    """
    paths = [path for path in (config.codec_checkpoint, config.start_from) if path is not None]
    found = [checkpoint.load_metadata(Path(path)).get("licence") for path in paths]
    stated = [licence for licence in found if isinstance(licence, dict)]
    names = dict.fromkeys(name for licence in stated for name in licence)
    return {name: "; ".join(dict.fromkeys(str(one[name]) for one in stated if name in one)) for name in names}


def train(config: TrainConfig, output: Path, report: Report, progress: Report) -> Path:
    """Train until `config.last_step`, resuming from the newest checkpoint in `output`. Return the model's folder.

    A resumed run equals a run that was never stopped: state, data and randomness depend only on (seed, step).

    Args:
        config: settings of the run.
        output: folder for `checkpoints/`, `samples/`, `log.jsonl`, `config.json` and the final `model/`.
        report: callback for the lines that stay.
        progress: callback for one line per row of the log; each line replaces the line before.
    Raises:
        ValueError: if `output` holds a run of another config, another process trains there, or the devices cannot share
            a batch evenly.
        FloatingPointError: if the loss or the gradient is no longer finite; the last checkpoint predates this step.
    """
    if config.batch_size % (jax.device_count() * config.accumulate):
        shares = f"{jax.device_count()} devices times accumulate {config.accumulate}"
        raise ValueError(f"batch_size: {config.batch_size} is not a multiple of {shares}; change one of them.")
    config = with_precision(config, output)
    model, dataset = Model(config.preset, DTYPES[config.precision]), make_dataset(config)
    codec = load_part(config, "codec", config.codec_checkpoint)
    start = load_part(config, "network", config.start_from)
    licence = inherited_licence(config)
    output.mkdir(parents=True, exist_ok=True)
    refusal = f"--output: another process trains in {output}; wait for its end, or choose another folder."
    with locked(output / "checkpoints", refusal):
        _claim(output, config)
        params = _train(config, model, dataset, codec, start, output, report, progress)
        return _export(config, params, output / "model", licence)


def _train(
    config: TrainConfig,
    model: Model,
    dataset: PairDataset,
    codec: Mapping[str, np.ndarray],
    start: Mapping[str, np.ndarray],
    output: Path,
    report: Report,
    progress: Report,
) -> Weights:
    # Auto axes leave the reshapes of a sharded batch (windows, pixel shuffle) to the compiler.
    mesh = jax.make_mesh((jax.device_count(),), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    everywhere, by_example = (jax.NamedSharding(mesh, spec) for spec in (jax.P(), jax.P("data")))
    state = init_state(model, make_optimizer(config), jax.random.key(config.seed))
    if start:
        state = state._replace(params=start, ema=start)
    state, frozen, metrics = jax.device_put((state, dict(codec), load_metrics(config)), everywhere)
    options = compiler_options()
    update = jax.jit(make_update(model, config), donate_argnums=0, compiler_options=options)

    def batches(first: int) -> Iterator[Batch]:
        for step in range(first, config.last_step):
            yield jax.tree.map(partial(jax.make_array_from_process_local_data, by_example), dataset.batch(step))

    with _checkpointer(output) as checkpoints:
        stored = _newest(checkpoints, jax.tree.map(_abstract, state), output / "damaged", report)
        if stored is None:
            report(parameter_overview.get_parameter_overview(dict(state.params), include_stats=False))
        else:
            state = stored
            report(f"resuming from step {int(state.step)}")
        first = int(state.step)
        hooks = [_logging(config, output, first, progress), _sampling(config, model, frozen, output)]
        for step, batch in enumerate(prefetch(batches(first)), start=first + 1):
            state, values = update(state, batch, frozen | metrics)
            for hook in hooks:
                hook(step, state, batch, values)
            if _saves(config, step):
                checkpoints.save_async(step, state)
    return state.ema | frozen


def load_metrics(config: TrainConfig) -> dict[str, np.ndarray]:
    """Load the parameters of the perceptual metrics that `config` asks for, under the names that the loss expects."""
    wanted = {METRIC: config.perceptual} if config.perceptual != "none" else {}
    if config.detail_weight:
        wanted[DETAIL] = "lpips-vgg"
    return {f"{prefix}{key}": value for prefix, name in wanted.items() for key, value in load_perceptual(name).items()}


def _saves(config: TrainConfig, step: int) -> bool:
    return step % config.checkpoint_every == 0 or step == config.last_step


def _logging(config: TrainConfig, output: Path, first: int, progress: Report) -> AfterUpdate:
    """Make the hook that writes the log: 50 or more rows per run, and one before each checkpoint.

    A row checks that the run is finite, so that no checkpoint holds a diverged state.
    """
    meter, every = Meter(config.batch_size), max(1, min(100, config.steps // 50))
    log = RunLog(output, first) if jax.process_index() == 0 else None

    def after_update(step: int, state: TrainState, batch: Batch, values: Values) -> None:
        meter.add({name: value for name, value in values.items() if name != "grad_norm"})
        if step % every and not _saves(config, step):
            return
        row = meter.row(step, values["grad_norm"])
        if log:
            log.write(row)
        left = timedelta(seconds=round((config.last_step - step) * config.batch_size / max(row["images_per_s"], 0.01)))
        progress(f"step {step}/{config.last_step}  loss {row['loss']:.5f}  {row['images_per_s']} images/s  {left} left")

    return after_update


def _sampling(config: TrainConfig, model: Model, codec: Weights, output: Path) -> AfterUpdate:
    enlarge = make_enlarge(model, config.seed)

    def after_update(step: int, state: TrainState, batch: Batch, values: Values) -> None:
        if config.sample_every and step % config.sample_every == 0 and jax.process_index() == 0:
            write_samples(enlarge, state.ema | codec, batch, output / "samples" / f"{step:07d}.png")

    return after_update


def _checkpointer(output: Path) -> ocp.training.Checkpointer:
    """Make a checkpointer that keeps the last two checkpoints and saves at every request.

    It removes half-written checkpoints of a killed run.
    """
    policies: Any = {  # Orbax's own annotations do not fit its own policies
        "save_decision_policy": ocp.training.save_decision_policies.FixedIntervalPolicy(1),
        "preservation_policy": ocp.training.preservation_policies.LatestN(2),
    }
    return ocp.training.Checkpointer(
        str((output / "checkpoints").absolute()),
        **policies,
        cleanup_tmp_directories=True,
    )


def _newest(checkpoints: ocp.training.Checkpointer, like: Any, damaged: Path, report: Report) -> TrainState | None:
    """Load the newest checkpoint that can be read; None without one. Damaged ones are moved into a folder."""
    for found in sorted(checkpoints.checkpoints, key=lambda one: one.step, reverse=True):
        try:
            return checkpoints.load(found.step, like)
        except Exception as error:  # what Orbax raises depends on which of its files is damaged
            kept = damaged / found.path.name
            report(f"the checkpoint of step {found.step} cannot be read ({_first_line(error)}); it is now {kept}")
            if jax.process_index() == 0:
                damaged.mkdir(exist_ok=True)
                os.replace(found.path, kept)
            broadcast(b"")  # all processes wait until it has been moved
            checkpoints.reload()
    return None


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]


def _abstract(leaf: jax.Array) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=leaf.sharding)


def _claim(output: Path, config: TrainConfig) -> None:
    """Write the config, or refuse to resume a run of another one. The run may lack fields that are newer than it."""
    file, current = output / "config.json", json.loads(json.dumps(config.to_dict()))
    if file.exists() and current | _read_config(file) != current:
        raise ValueError(f"--output: {output} holds a run of another config; choose another folder or remove it.")
    if jax.process_index() == 0:
        write_whole(file, json.dumps(current, indent=1))


def with_precision(config: TrainConfig, output: Path | None = None) -> TrainConfig:
    """Return a config whose precision is not `auto`: that of a run in `output`, else the faster one.

    Raises ValueError if the config of that run is damaged.
    """
    if config.precision != "auto":
        return config
    file = output and output / "config.json"
    stored = _read_config(file).get("precision") if file and file.exists() else None
    fast = jax.default_backend() != "cpu" or fast_bfloat16()
    return replace(config, precision=stored if stored in DTYPES else "bf16" if fast else "fp32")


def _read_config(file: Path) -> dict[str, Any]:
    try:
        stored = parse_json(file.read_bytes())
    except ValueError:
        stored = None
    if not isinstance(stored, dict):
        raise ValueError(
            f"--output: {file} is damaged; remove it if the run has this config, or choose another folder."
        )
    return stored


def _export(config: TrainConfig, params: Weights, folder: Path, licence: Mapping[str, str]) -> Path:
    metadata: dict[str, Any] = {"preset": config.preset.to_dict(), "training": config.to_dict() | {"preset": None}}
    metadata |= {"licence": dict(licence)} if licence else {}
    if jax.process_index() == 0:
        checkpoint.save(folder, {name: np.asarray(value) for name, value in params.items()}, metadata)
    return folder

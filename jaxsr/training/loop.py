"""The training loop: data in, checkpoints, log, sample images and the final model out."""

import json
import logging
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from clu import metrics, parameter_overview
from orbax.checkpoint import v1 as ocp
from PIL import Image

from jaxsr import checkpoint, diffusion
from jaxsr.model import Model
from jaxsr.runtime import compiler_options
from jaxsr.training.config import TrainConfig
from jaxsr.training.data import PairDataset, load_folder, load_tfds, pair_dataset, prefetch
from jaxsr.training.degradation import DEGRADATIONS
from jaxsr.training.log import RunLog
from jaxsr.training.step import Batch, TrainState, init_state, make_optimizer, make_update, to_signed

DTYPES = {"fp32": jnp.float32, "bf16": jnp.bfloat16}


def make_dataset(config: TrainConfig) -> PairDataset:
    """This host's share of the training data that `config` names."""
    if config.data.startswith("tfds:"):
        name, _, split = config.data.removeprefix("tfds:").rpartition("/")
        images = load_tfds(name, split)
    else:
        images = load_folder(config.data, min_size=config.hr_size)
    sizes = {"hr_size": config.hr_size, "scale": config.preset.scale, "batch_size": config.batch_size}
    dataset = pair_dataset(images, **sizes, seed=config.seed, degrade=DEGRADATIONS[config.degradation])
    return dataset.for_host(jax.process_index(), jax.process_count())


def train(config: TrainConfig, output: Path, report: Callable[[str], None]) -> Path:
    """Train until `config.steps`, going on from the newest checkpoint in `output`; returns the folder of the model.

    A resumed run is equal to one that was never stopped: state, data and randomness depend on (seed, step) alone.

    Args:
        config: the run.
        output: folder for `checkpoints/`, `samples/`, `log.jsonl`, `config.json` and the final `model/`.
        report: takes a line of progress now and then.
    Raises:
        ValueError: if `output` holds a run of another config.
    """
    output.mkdir(parents=True, exist_ok=True)
    _claim(output, config)
    model, dataset = Model(config.preset, DTYPES[config.precision]), make_dataset(config)
    # Auto axes: reshapes of a sharded batch (windows, pixel shuffle) are left to the compiler.
    mesh = jax.make_mesh((jax.device_count(),), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    everywhere, by_example = (jax.NamedSharding(mesh, spec) for spec in (jax.P(), jax.P("data")))
    state = jax.device_put(init_state(model, make_optimizer(config), jax.random.key(config.seed)), everywhere)
    update = jax.jit(make_update(model, config), donate_argnums=0, compiler_options=compiler_options())

    def batches(first: int) -> Iterator[Batch]:
        for step in range(first, config.steps):
            yield jax.tree.map(partial(jax.make_array_from_process_local_data, by_example), dataset.batch(step))

    with _checkpointer(output, config) as checkpoints:
        if checkpoints.latest is not None:
            state = checkpoints.load(checkpoints.latest.step, jax.tree.map(_abstract, state))
            report(f"going on from step {int(state.step)}")
        else:
            report(parameter_overview.get_parameter_overview(dict(state.params), include_stats=False))
        _loop(config, model, update, state, batches, checkpoints, RunLog(output, int(state.step)), output, report)
        final = checkpoints.load(config.steps, jax.tree.map(_abstract, state))
    return _export(model, config, final, output / "model")


def _loop(config, model, update, state, batches, checkpoints, log, output, report) -> None:
    window, since = metrics.Average.empty(), time.perf_counter()
    every = max(1, min(100, config.steps // 50))
    first = int(state.step)
    for step, batch in enumerate(prefetch(batches(first)), start=first + 1):
        state, values = update(state, batch)
        window = window.merge(metrics.Average.from_model_output(values["loss"]))
        if step % every == 0 or step == config.steps:
            row = {"step": step, "loss": float(window.compute()), "grad_norm": float(values["grad_norm"])}
            if not np.isfinite(row["loss"]):
                raise FloatingPointError(f"the loss is {row['loss']} at step {step}; lower learning_rate.")
            now, n = time.perf_counter(), (step - first - 1) % every + 1
            row["images_per_s"] = round(n * config.batch_size / (now - since), 2)
            window, since = metrics.Average.empty(), now
            log.write(row)
            report(f"step {step}/{config.steps}  loss {row['loss']:.5f}  {row['images_per_s']:.1f} images/s")
        if config.sample_every and step % config.sample_every == 0:
            _write_samples(model, state.ema, batch, output / "samples" / f"{step:07d}.png")
        if step % config.checkpoint_every == 0 or step == config.steps:
            checkpoints.save_async(step, state)
    if first == config.steps and checkpoints.latest is None:
        checkpoints.save(first, state)


def _checkpointer(output: Path, config: TrainConfig) -> ocp.training.Checkpointer:
    keep = ocp.training.preservation_policies.LatestN(2)
    folder = (output / "checkpoints").absolute()
    always = ocp.training.save_decision_policies.FixedIntervalPolicy(1)
    return ocp.training.Checkpointer(
        folder, save_decision_policy=always, preservation_policy=keep, cleanup_tmp_directories=True
    )


def _abstract(leaf: jax.Array) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=leaf.sharding)


def _claim(output: Path, config: TrainConfig) -> None:
    """Write the config, or refuse to go on with another one."""
    file, text = output / "config.json", json.dumps(config.to_dict(), indent=1)
    if file.exists() and file.read_text() != text:
        raise ValueError(f"--output: {output} holds a run of another config; choose another folder or remove it.")
    if jax.process_index() == 0:
        file.write_text(text)


def _export(model: Model, config: TrainConfig, state: TrainState, folder: Path) -> Path:
    metadata: dict[str, Any] = {"preset": config.preset.to_dict(), "training": config.to_dict() | {"preset": None}}
    checkpoint.save(folder, {name: np.asarray(value) for name, value in state.ema.items()}, metadata)
    logging.getLogger(__name__).info("wrote %s", folder)
    return folder


def _write_samples(model: Model, params: dict, batch: Batch, path: Path) -> None:
    """A sheet of the batch's first examples: LR enlarged by nearest neighbour, the sample, HR."""
    hr, lr = (jnp.asarray(batch[k].addressable_data(0)[:4]) for k in ("hr", "lr"))
    schedule = diffusion.thin(model.preset.schedule.build(), model.preset.steps)

    @jax.jit
    def enlarge(params, lr):
        z_lr = model.encode_lr(params, lr)
        noise = diffusion.normal_noise(jax.random.key(0), schedule.steps, z_lr.shape)
        denoise = model.denoiser(params, schedule, z_lr, lr)
        return model.decode(params, diffusion.sample(denoise, schedule, z_lr, noise, sampler=model.preset.sampler))

    result = np.asarray(jnp.clip((enlarge(params, to_signed(lr)) + 1) * 127.5 + 0.5, 0, 255)).astype(np.uint8)
    nearest = np.asarray(lr).repeat(model.preset.scale, 1).repeat(model.preset.scale, 2)
    columns = [np.concatenate(list(images), axis=0) for images in (nearest, result, np.asarray(hr))]
    path.parent.mkdir(exist_ok=True)
    Image.fromarray(np.concatenate(columns, axis=1)).save(path)

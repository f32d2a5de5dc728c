"""The comparison of sampling chains with golden arrays: schedule, z_lr, every step alone, all steps together, image."""

from collections.abc import Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxsr.diffusion import Schedule, thin, trajectory
from jaxsr.diffusion.process import reverse_mean
from jaxsr.diffusion.sampler import start
from jaxsr.imaging.resize import upsample_bicubic
from jaxsr.models.model import Model
from jaxsr.models.presets import ModelPreset, PixelCodecConfig
from jaxsr.models.swin_unet import SwinUNetConfig
from jaxsr.models.vq_autoencoder import VQConfig
from weight_conversion.settings import schedule_config
from weight_conversion.tolerances import TOLERANCES
from weight_conversion.verify import Arrays, GoldenError, Params, Row, build, nhwc, relative_error

ARRAYS = {"lr", "mask", "z_lr", "noise", "pred_x0", "mean", "sample", "decoded", "sqrt_etas", "timestep_map"}
_STEPS = ("pred_x0", "mean", "sample")
# A position is a near-tie if the squared distances of its two nearest codes differ by less than `_NEAR_TIE` times
# |z|^2 + |code|^2. At most `_MOST_TIES` positions are tried.
_NEAR_TIE, _MOST_TIES = 1e-6, 8


def codec_factor(scale: int, golden: Arrays) -> int:
    """Return the pixels of the result per latent position; 1 for a pixel model, whose result is its last sample."""
    return scale * golden["lr"].shape[-1] // golden["noise"].shape[-1]


def fits_network(config: Any, golden: Arrays) -> bool:
    """Return whether the inputs and outputs of a network fit this chain."""
    if not isinstance(config, SwinUNetConfig) or config.out_channels != golden["noise"].shape[-3]:
        return False
    return 2**config.halvings == codec_factor(1, golden) and config.cond_mask == ("mask" in golden)


def fits_codec(config: Any, scale: int, golden: Arrays) -> bool:
    """Return whether the latent of an autoencoder fits this chain."""
    if not isinstance(config, VQConfig) or config.latent_channels != golden["noise"].shape[-3]:
        return False
    return config.factor == codec_factor(scale, golden)


def made_z_lr(config: VQConfig, params: Params, scale: int, golden: Arrays) -> bool:
    """Return whether this autoencoder produced the chain's z_lr."""

    @jax.jit
    def encode(params: Params, lr: jax.Array) -> jax.Array:
        return build(config, params).encode(upsample_bicubic(lr, scale) if scale > 1 else lr)

    with jax.default_matmul_precision("highest"):
        z_lr = encode(params, jnp.asarray(nhwc(golden["lr"])))
    return relative_error(z_lr, nhwc(golden["z_lr"])) <= TOLERANCES["network"]


def chain_model(settings: Mapping[str, Any], network: SwinUNetConfig, codec: VQConfig | None) -> Model:
    """Make the model for a configuration's `diffusion`. Without a codec the latent is pixels, and x_0 is clipped.

    Raises:
        ValueError: for settings without a counterpart in our sampler.
    """
    if settings.get("scale_factor", 1.0) != 1:
        raise ValueError("the diffusion's configuration: scale_factor must be 1, as in every released model.")
    schedule = schedule_config(settings)
    preset = ModelPreset(
        name="verified",
        scale=settings.get("sf", 1),
        network=network,
        codec=codec or PixelCodecConfig(1),
        schedule=schedule,
        steps=schedule.steps,
    )
    return Model(preset)


def verify_sampler(model: Model, settings: Mapping[str, Any], params: Params, golden: Arrays) -> Iterator[Row]:
    """Compare every array of a `sampler_*.npz`, from the schedule to the image, with the stored noise.

    The names in `params` have the prefixes `network.` and `codec.`. The rows labelled `one step` start each step from
    the golden state before it. The other rows belong to one chain that starts from the LR image. Only `lr` and `noise`
    (and the mask) are required.

    Raises:
        GoldenError: for unknown arrays, or arrays with another number of steps.
    """
    if unknown := golden.keys() - ARRAYS:
        raise GoldenError(f"the golden file has unknown arrays: {', '.join(sorted(unknown))}; check --kind.")
    respacing, trained = settings.get("timestep_respacing"), model.preset.schedule.build()
    schedule = thin(trained, int(respacing), keep="released") if respacing else trained
    _check_steps(schedule.steps, golden)
    if "sqrt_etas" in golden:
        yield Row("sqrt_etas", "", relative_error(np.sqrt(schedule.eta), golden["sqrt_etas"]), TOLERANCES["schedule"])
    if "timestep_map" in golden:
        yield Row("timestep_map", "", relative_error(schedule.timestep_map, golden["timestep_map"]), 0.0)
    names = [name for name in ("lr", "mask", "z_lr", "noise", "sample") if name in golden]
    inputs = {name: jnp.asarray(nhwc(golden[name])) for name in names}
    with jax.default_matmul_precision("highest"):
        ours = jax.jit(lambda params, inputs: _run(model, schedule, params, inputs))(params, inputs)
        if "z_lr" in golden:
            yield Row("z_lr", "", relative_error(ours["z_lr"], nhwc(golden["z_lr"])), TOLERANCES["network"])
        for kind, tolerance in (("one step", "network"), ("chain", "chain")):
            for k in range(schedule.steps if kind in ours else 0):
                for name, array in zip(_STEPS, ours[kind], strict=True):
                    if name in golden:
                        error = relative_error(array[k], nhwc(golden[name][k]))
                        label = name if kind == "chain" else f"{name}, one step"
                        yield Row(label, f"step {k + 1} of {schedule.steps}", error, TOLERANCES[tolerance])
        if "decoded" in golden:
            final = next((nhwc(golden[name][-1]) for name in ("sample", "pred_x0") if name in golden), None)
            latent = ours["chain"][-1][-1] if final is None else jnp.asarray(final)
            allowed = TOLERANCES["chain" if final is None else "network"]
            yield Row("decoded", "", _decoding_error(model, params, latent, golden), allowed)


def _check_steps(steps: int, golden: Arrays) -> None:
    """Refuse arrays with another number of steps. `noise` has one more row, which starts the chain."""
    rows = {name: steps + (name == "noise") for name in ("noise", *_STEPS)}
    lengths = {name: len(golden[name]) for name in rows if name in golden}
    wrong = [f"{name} has {n} instead of {rows[name]}" for name, n in lengths.items() if n != rows[name]]
    if wrong:
        raise GoldenError(f"the golden file needs {steps} steps, as the configuration says ({', '.join(wrong)}).")


def _run(model: Model, schedule: Schedule, params: Params, inputs: Mapping[str, jax.Array]) -> dict[str, Any]:
    """Compute z_lr, the whole chain and, if the file has golden states to start from, every step alone."""
    lr, mask, noise = inputs["lr"], inputs.get("mask"), inputs["noise"]
    z_lr = model.encode_lr(params, lr)
    path = trajectory(model.denoiser(params, schedule, z_lr, lr, mask), schedule, z_lr, lambda k: noise[k])
    ours = {"z_lr": z_lr, "chain": (path.x0_hat, path.mean, path.sample)}
    if "sample" not in inputs:
        return ours

    z_lr = inputs.get("z_lr", z_lr)
    denoise = model.denoiser(params, schedule, z_lr, lr, mask)
    first = start(schedule, z_lr, noise[0])
    states = jnp.concatenate([first[None], inputs["sample"][:-1]])
    rows = jax.tree.map(lambda column: column[::-1], schedule.tables())

    def one_step(scanned: tuple) -> tuple[jax.Array, ...]:
        x_t, row, eps = scanned
        x0_hat = denoise(x_t, row.step)
        mean = reverse_mean(x_t, x0_hat, row)
        return x0_hat, mean, mean + row.std * eps

    return ours | {"one step": jax.lax.map(one_step, (states, rows, noise[1:]))}


def _decoding_error(model: Model, params: Params, latent: jax.Array, golden: Arrays) -> float:
    """Compute the error of decoding the golden latent. Near-ties between codes may fall either way: both are tried."""
    target = nhwc(golden["decoded"])
    decode = jax.jit(model.decode)
    error = relative_error(decode(params, latent), target)
    if error <= TOLERANCES["network"] or not isinstance(model.preset.codec, VQConfig):
        return error
    table = np.asarray(params["codec.quantize.embedding.embedding"])
    for position, code in near_ties(np.asarray(latent), table)[:_MOST_TIES]:
        flipped = latent.at[position].set(table[code])
        other = relative_error(decode(params, flipped), target)
        if other < error:
            latent, error = flipped, other
    return error


def near_ties(latent: np.ndarray, table: np.ndarray) -> list[tuple[tuple[int, ...], int]]:
    """List the positions of a latent (b, h, w, z) with two codes at nearly equal distance, and the farther code."""
    z, codes = latent.astype(np.float64), table.astype(np.float64)
    distance = np.square(z).sum(-1)[..., None] + np.square(codes).sum(-1) - 2 * z @ codes.T
    order = np.argsort(distance, axis=-1)[..., :2]
    near = np.take_along_axis(distance, order, -1)
    scale = np.square(z).sum(-1) + np.square(codes[order[..., 0]]).sum(-1)
    gaps = (near[..., 1] - near[..., 0]) / scale
    ties = sorted((float(gaps[index]), index) for index in zip(*np.nonzero(gaps < _NEAR_TIE), strict=True))
    return [(tuple(map(int, index)), int(order[index][1])) for _, index in ties]

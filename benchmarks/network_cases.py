"""Our programs that `bench_network` measures: the stages of a preset, compiled, with random weights and inputs."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.harness import Call, turns
from jaxsr import diffusion
from jaxsr.diffusion import Schedule
from jaxsr.models.convolution import convolve
from jaxsr.models.model import Model, Params
from jaxsr.models.presets import ModelPreset
from jaxsr.models.products import matmul
from jaxsr.runtime.compilation import compiler_options

DTYPES = {"float32": jnp.float32, "bfloat16": jnp.bfloat16}
STAGES = ("unet", "encode", "decode", "s4", "s15")
MATRIX_SIDES = {"cpu": (512, 1024, 2048), "gpu": (4096, 8192, 16384), "tpu": (4096, 8192, 16384)}


@dataclass(frozen=True)
class Case:
    """One case to measure: a stage at one dtype, for `batch` square LR images of side `size`."""

    stage: str
    size: int
    batch: int
    dtype: str

    @property
    def steps(self) -> int:
        """The number of steps of the chain; 0 if the stage is not a chain."""
        return int(self.stage[1:]) if self.stage[1:].isdigit() else 0

    def schedule(self, preset: ModelPreset) -> Schedule | None:
        """Build a schedule of the preset's kind with this many steps; None if the stage is not a chain."""
        return replace(preset.schedule, steps=self.steps).build() if self.steps else None


def random_params(preset: ModelPreset) -> dict[str, np.ndarray]:
    """Draw parameters that keep the size of the activations. Every layer has an effect."""
    rng, params = np.random.default_rng(0), {}
    for name, shape in Model(preset).shapes().items():
        spread = {"scale": 0.0, "bias": 0.1}.get(name.rpartition(".")[2], math.prod(shape[:-1]) ** -0.5)
        spread = 1.0 if name.endswith("embedding") else spread
        params[name] = rng.standard_normal(shape, np.float32) * np.float32(spread) + np.float32(name.endswith("scale"))
    return params


def make_inputs(preset: ModelPreset, case: Case) -> dict[str, np.ndarray]:
    """Draw the arrays that a stage takes, NHWC: images in [-1, 1], latents standard normal."""
    rng, b = np.random.default_rng(1), case.batch
    fine, side = case.size * preset.scale, case.size * preset.scale // preset.latent_factor
    if case.stage == "encode":
        return {"image": rng.uniform(-1, 1, (b, fine, fine, 3)).astype(np.float32)}
    latent = rng.standard_normal((b, side, side, preset.codec.latent_channels), np.float32)
    if case.stage == "decode":
        return {"latent": latent}
    lr = {"lr": rng.uniform(-1, 1, (b, case.size, case.size, preset.network.lq_channels)).astype(np.float32)}
    return lr if case.steps else {"x": latent, "t": np.zeros(b, np.int32)} | lr


def stage_function(preset: ModelPreset, case: Case) -> Callable[..., jax.Array]:
    """Make the pure function (params, key, inputs) -> result of a stage."""
    model, schedule = Model(preset, DTYPES[case.dtype]), case.schedule(preset)

    def run(params: Params, key: jax.Array, inputs: Mapping[str, jax.Array]) -> jax.Array:
        if case.stage == "encode":
            return model.encode(params, inputs["image"])
        if case.stage == "decode":
            return model.decode(params, inputs["latent"])
        lr = inputs["lr"]
        if schedule is None:
            return model.predict(params, inputs["x"], jnp.float32(1), inputs["t"], inputs["x"], lr)
        # Not by `jaxsr.models.problem.pose`: like the rival's, this program takes and returns images in [-1, 1].
        z_lr = model.encode_lr(params, lr)
        noise = diffusion.normal_noise(key, schedule.steps, z_lr.shape)
        return model.decode(params, diffusion.sample(model.denoiser(params, schedule, z_lr, lr), schedule, z_lr, noise))

    return run


def our_program(preset: ModelPreset, params: Params, case: Case) -> tuple[Call, float | None]:
    """Compile a stage as a call without arguments.

    Returns the call and its memory in bytes (None if the backend does not report it).
    """
    part = {"unet": "network.", "encode": "codec.", "decode": "codec."}.get(case.stage, "")
    used = {name: value for name, value in params.items() if name.startswith(part)}
    used = Model(preset, DTYPES[case.dtype]).rounded(used)
    arguments = jax.device_put((used, jax.random.key(0), make_inputs(preset, case)))
    jitted = jax.jit(stage_function(preset, case), compiler_options=compiler_options())
    program = jitted.lower(*arguments).compile()
    sizes = program.memory_analysis()
    memory = sizes and float(sizes.temp_size_in_bytes + sizes.argument_size_in_bytes + sizes.output_size_in_bytes)
    return (lambda: program(*arguments)), memory


def matrix_peak(dtype: str, runs: int) -> float:
    """Measure the FLOP/s that the device reaches: the fastest of some large matrix products and a convolution."""
    draw = lambda *shape: jax.random.normal(jax.random.key(0), shape, DTYPES[dtype])  # noqa: E731
    precision = "highest" if dtype == "float32" else "default"
    plain = partial(jnp.matmul, precision=precision, preferred_element_type=jnp.float32)
    large: list[tuple[Callable[..., jax.Array], tuple[jax.Array, ...], int]] = [
        (convolve, (draw(1, 64, 64, 512), draw(3, 3, 512, 512)), 2 * 64**2 * 9 * 512**2)
    ]
    large += [(f, (draw(n, n),) * 2, 2 * n**3) for n in MATRIX_SIDES[jax.default_backend()] for f in (plain, matmul)]
    rates = []
    for function, arguments, flops in large:
        program = jax.jit(function, compiler_options=compiler_options())
        seconds = turns({"large": lambda call=program, given=arguments: call(*given)}, runs)["large"]
        rates.append(flops / min(seconds))
    return max(rates)

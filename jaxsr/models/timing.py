"""The time of one call of a network on this machine, from which long work is estimated before it begins."""

import time

import jax
import jax.numpy as jnp

from jaxsr.diffusion import Schedule
from jaxsr.models.model import Model, Params
from jaxsr.models.problem import network_calls
from jaxsr.runtime.compilation import compiler_options

_RUNS = 3


def seconds_per_call(model: Model, params: Params, schedule: Schedule, side: int) -> float:
    """Measure one call of the network for one LR image of side x side pixels, compiled: the shortest of a few.

    `params` are those of `Model.rounded` for the model's precision.
    """
    calls = network_calls(model, schedule)
    signed = jnp.zeros((1, side, side, 3), jnp.float32)
    latent = jax.eval_shape(calls.encode_lr, params, signed)
    z_lr = jnp.zeros(latent.shape, latent.dtype)
    program = jax.jit(calls.predict, compiler_options=compiler_options())
    times = []
    for _ in range(_RUNS + 1):
        began = time.perf_counter()
        jax.block_until_ready(program(params, z_lr, signed, z_lr, jnp.int32(0)))
        times.append(time.perf_counter() - began)
    return min(times[1:])  # the first one compiles


def sampler_calls(sampler: str, steps: int) -> int:
    """Return how often a sampler calls the network: once a step, and `heun` twice except for the last step."""
    return 2 * steps - 1 if sampler == "heun" else steps

"""The closed loop as one compiled call: it runs the guided sampler for every candidate scale and scores each result.

All candidates of an image share its encoding, x_T and the first prediction. K candidates of T steps therefore cost
K (T - 1) + 1 network calls per image in place of K T. Candidates go through the network in chunks (`lax.map` over
`vmap`), so that the chunk bounds the memory. `jaxsr.runtime.devices` shards the axis of the images. Guidance through
the state also needs the gradient of the first call, which is therefore made once per chunk.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, UInt8, UInt32

from jaxsr.choices import DEFAULT_FORM, ForwardODE, GradientForm, Reference
from jaxsr.diffusion import Denoiser, Guidance, Schedule, sample
from jaxsr.diffusion.process import Latent
from jaxsr.diffusion.sampler import start
from jaxsr.guidance.moments import measure
from jaxsr.imaging import noise
from jaxsr.models.model import Image, Model, Params
from jaxsr.models.problem import Problem, pose, project

Keys = UInt32[Array, "b 2"]
LR = UInt8[Array, "b h w 3"]
HR = UInt8[Array, "b H W 3"]


class Rows(NamedTuple):
    """Scales and temperatures of K candidates, t = 1 first; on the host or on the device."""

    scale: Float[Array | np.ndarray, "k t"]
    temperature: Float[Array | np.ndarray, "k t"]


def plain_rows(scales: Float[np.ndarray, "k t"]) -> Rows:
    """Return these scales with the temperature 1."""
    return Rows(scales.astype(np.float32), np.ones(scales.shape, np.float32))


Networks = Mapping[str, Mapping[str, Array | np.ndarray]]
"""Metric -> the parameters of its network."""
NO_NETWORKS: Networks = MappingProxyType({})
Score = Callable[..., dict[str, Array]]
"""(enlarged, HR, LR, networks), images in [0, 1] -> arrays with a leading axis of images."""


@dataclass(frozen=True)
class Chain:
    """The guided sampler that is calibrated: model, thinned schedule, sampler, and the form of the gradient.

    The form's `reference_mean` has no effect: with c = z_lr, `shifted` is `clean`, because c + eta (z_lr - c) = z_lr.
    """

    model: Model
    schedule: Schedule
    sampler: str = "ancestral"
    form: GradientForm = DEFAULT_FORM


def image_keys(seed: int, lr: UInt8[np.ndarray, "b h w 3"]) -> UInt32[np.ndarray, "b 2"]:
    """Make the key data of every LR image from the seed and the image's content, as the `sample` command does."""
    pixels = lr.astype(np.float32) / np.float32(255)
    keys = (noise.image_key(seed, noise.content_hash(one), 0) for one in pixels)
    return np.stack([np.asarray(jax.random.key_data(key)) for key in keys])


def sweep_function(
    chain: Chain, score: Score, chunk: int, projections: Sequence[float] = (0.0,)
) -> Callable[..., dict[str, Array]]:
    """Make the pure function (params, keys, lr, hr, rows, networks) -> {name: (K P, b, ...)}, to be jitted.

    Row k P + p is the result of the k-th of the `rows`, projected with the p-th strength.

    The `networks` of the score's metrics, by default none, are an argument: as constants they slow the compilation.

    Args:
        chain: the sampler, guided by the LR image with each of the K rows: scales and temperatures (K, T), t = 1 first.
        score: computes what is kept of each enlarged image.
        chunk: candidates that go through the network at once.
        projections: P strengths of the projection, see `jaxsr.models.problem.project`. They share the sampling.
    """

    def sweep(
        params: Params, keys: Keys, lr: LR, hr: HR, rows: Rows, networks: Networks = NO_NETWORKS
    ) -> dict[str, Array]:
        problem = _pose_images(chain, params, keys, lr)
        denoise, z_lr, state = problem.denoise, problem.z_lr, chain.form.through == "state"
        if not state:
            x_start = start(chain.schedule, z_lr, problem.noise(jnp.int32(0)))
            denoise = share_first_call(denoise, chain.schedule, x_start)

        def one(row: Any) -> dict[str, Array]:
            guidance = Guidance(reference=z_lr, scale=row.scale, form=chain.form)
            options = {"sampler": chain.sampler, "guidance": [guidance], "unroll_first": state}
            options["temperature"] = row.temperature
            x0 = sample(denoise, chain.schedule, z_lr, problem.noise, **options)
            images = (project(problem.decode, x0, _unit(lr), chain.model.preset.scale, p) for p in projections)
            found = [score(image, _unit(hr), _unit(lr), networks) for image in images]
            return jax.tree.map(lambda *rows: jnp.stack(rows), *found)

        found = jax.lax.map(one, rows, batch_size=chunk)
        return jax.tree.map(lambda values: values.reshape(-1, *values.shape[2:]), found)

    return sweep


def open_function(chain: Chain, forward_ode: ForwardODE, against: Reference = "lr") -> Callable[..., dict[str, Array]]:
    """Make the pure function (params, keys, lr, hr) -> fields of `Moments`, each (T, b): the open loop.

    The correction refers to the image `against`: c = z_lr, or c = z_hr.
    """

    def moments(params: Params, keys: Keys, lr: LR, hr: HR) -> dict[str, Array]:
        problem = _pose_images(chain, params, keys, lr)
        images = (problem.z_lr, problem.encode(_unit(hr)))
        how = {"reference": against, "forward_ode": forward_ode, "form": chain.form, "sampler": chain.sampler}
        return measure(problem.denoise, chain.schedule, *images, problem.noise, **how)._asdict()

    return moments


def share_first_call(denoise: Denoiser, schedule: Schedule, x_start: Latent) -> Denoiser:
    """Return the same denoiser, but compute its prediction at the chain's start once, before the map over candidates.

    The prediction is a constant of the returned denoiser, which therefore has no gradient there.
    """
    last = jnp.int32(schedule.steps - 1)
    first = denoise(x_start, last)

    def shared(x: Latent, step: Int[Array, ""]) -> Latent:
        return jax.lax.cond(step == last, lambda x: first, lambda x: denoise(x, step), x)

    return shared


def _pose_images(chain: Chain, params: Params, keys: Keys, lr: LR) -> Problem:
    """Pose whole images as the problem that all candidates share."""
    typed = jax.random.wrap_key_data(keys, impl="threefry2x32")
    origin = jnp.zeros(2, jnp.int32)
    make_noise = lambda shape: noise.chain_noise(typed, origin, shape)  # noqa: E731
    return pose(chain.model, params, chain.schedule, _unit(lr), make_noise)


def _unit(pixels: LR) -> Image:
    return pixels.astype(jnp.float32) / 255

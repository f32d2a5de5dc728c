"""The functions that are compiled for the tiles of an image: one enlarges them, one measures a reference on them."""

import time
from collections.abc import Callable, Hashable
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import AxisType
from jax.sharding import PartitionSpec as P
from jaxtyping import Array, Float, Int, Key

from jaxsr import diffusion
from jaxsr.choices import Reference
from jaxsr.diffusion import Guidance, Schedule
from jaxsr.diffusion import sampler as samplers
from jaxsr.guidance.moments import Moments, measure
from jaxsr.guidance.tiles import TileGuides, TileReference
from jaxsr.imaging import noise
from jaxsr.imaging.resize import upsample_bicubic
from jaxsr.models.model import DTYPES, Model, Params
from jaxsr.models.presets import ModelPreset
from jaxsr.models.problem import Problem, pose, project
from jaxsr.options import Options
from jaxsr.runtime.compilation import compiler_options
from jaxsr.runtime.device_memory import program_bytes
from jaxsr.runtime.lowered import kept
from jaxsr.upscaling.plan import schedule_for

Tiles = Float[Array, "b h w c"]
"""RGB in [0, 1], and for an inpainting network the mask as a fourth channel."""
Keys = Key[Array, "*_keys"]
"""The key of the image, or one for each tile."""
Mask = Float[Array, "b h w 1"]
TILES = "tiles"
"""The axis of the mesh."""


def enlarge_function(model: Model, schedule: Schedule, options: Options) -> Callable[..., Array]:
    """Make the pure function (params, key, tiles, origins, guides=None) -> enlarged tiles in [0, 1], to be jitted.

    Without guides the function runs the plain sampler. Guides with k rows of scales give k results per tile,
    concatenated along the channels. The k results share the encoding and the first call of the network.
    """

    def enlarge(
        params: Params,
        key: Keys,
        tiles: Tiles,
        origins: Int[Array, "b 2"],
        guides: TileGuides | None = None,
    ) -> Float[Array, "b H W k"]:
        problem = _pose_tiles(model, schedule, params, key, tiles, origins)

        def finish(guidance: list[Guidance], unroll_first: bool = False) -> Float[Array, "b H W 3"]:
            settings = {"sampler": options.sampler, "guidance": guidance, "unroll_first": unroll_first}
            settings["temperature"] = jnp.asarray(_temperature(options), jnp.float32)
            x0 = diffusion.sample(problem.denoise, schedule, problem.z_lr, problem.noise, **settings)
            return project(problem.decode, x0, tiles[..., :3], model.preset.scale, options.projection or 0.0)

        if guides is None:
            return finish([])
        hr = [_hr_guidance(model, params, tiles, guides.hr, options)] if guides.hr else []
        lr = lambda scale: _lr_guidance(model.preset, problem, guides, scale, options)  # noqa: E731
        scales = guides.scale[0]
        if scales.ndim == 1:
            return finish([lr(scales), *hr])
        panels = jax.vmap(lambda scale: finish([lr(scale), *hr], unroll_first=True), out_axes=3)(scales)
        return panels.reshape(*panels.shape[:3], -1)

    return enlarge


def measure_function(model: Model, schedule: Schedule, options: Options, against: Reference) -> Callable[..., Moments]:
    """Make the pure function (params, key, tiles, origins, reference) -> moments against the HR or the LR image.

    The weight of the reference weights the moments, see `jaxsr.guidance.moments`.
    """

    def moments(
        params: Params, key: Keys, tiles: Tiles, origins: Int[Array, "b 2"], reference: TileReference
    ) -> Moments:
        problem = _pose_tiles(model, schedule, params, key, tiles, origins)
        z_hr = _z_hr(model, params, tiles, reference)
        settings = {"reference": against, "mask": to_latent(reference.weight, model.preset), "form": options.gradient}
        settings |= {"sampler": options.sampler, "temperature": _temperature(options)}
        return measure(problem.denoise, schedule, problem.z_lr, z_hr, problem.noise, **settings)

    return moments


def compile_program(
    preset: ModelPreset, options: Options, remat: bool, against: Reference | None = None, devices: int = 1
) -> jax.stages.Wrapped:
    """Jit `enlarge_function`, whose tiles several devices share, or `measure_function` if `against` is given."""
    sampler = options.sampler or preset.sampler
    options = replace(options, sampler=sampler)
    model, schedule = Model(preset, DTYPES[options.precision], remat), schedule_for(preset, options)
    if against is None:
        function = shared(enlarge_function(model, schedule, options), devices)
        step, draws_noise = diffusion.find_sampler(sampler)
        _, _, *settings = program_key(preset, options, remat)
        name = getattr(step, "__name__", "")
        built_in = getattr(samplers, name, None) is step  # nothing on disk tells one step of a user from another
        if built_in and devices == 1:
            function = kept(function, f"{preset} {name} {draws_noise} {settings}")
    else:
        function = measure_function(model, schedule, options, against)
    return jax.jit(function, compiler_options=compiler_options())


def shared(function: Callable[..., Array], devices: int) -> Callable[..., Array]:
    """Split the tiles of a call over devices. Each runs the function on its tiles, as a single device would.

    A single device is a mesh too, so that its program rounds as those of several do.
    """
    mesh = tile_mesh(devices)

    def split(params: Params, keys: Keys, tiles: Tiles, origins: Int[Array, "b 2"], guides: Any = None) -> Array:
        by_tile = P(TILES)
        keys = keys if keys.ndim else jnp.stack([keys] * tiles.shape[0])
        program = jax.shard_map(function, mesh=mesh, in_specs=(P(), *(by_tile,) * 4), out_specs=by_tile)
        return program(params, keys, tiles, origins, guides)

    return split


def tile_mesh(devices: int) -> jax.sharding.Mesh:
    """Make a mesh of one axis of this process's first devices."""
    return jax.make_mesh((devices,), (TILES,), devices=jax.local_devices()[:devices], axis_types=(AxisType.Auto,))


def program_key(
    preset: ModelPreset, options: Options, remat: bool, against: Reference | None = None
) -> tuple[Hashable, ...]:
    """Return the key of a program: for one preset, two calls of `compile_program` with equal keys make one program."""
    same = (options.steps, options.thinning, options.precision, options.gradient)
    name = options.sampler or preset.sampler
    # The step too, not only its name: a user may list another step under the same name.
    sampler = (name, diffusion.find_sampler(name))
    return (*sampler, *same, _temperature(options), options.projection or 0.0, remat, against)


def cost(program: jax.stages.Wrapped, arguments: tuple) -> tuple[float, float]:
    """Measure the seconds of one call, and the program's memory in bytes (NaN if the backend does not report it)."""
    compiled = program.lower(*arguments).compile()
    jax.block_until_ready(compiled(*arguments))
    began = time.perf_counter()
    jax.block_until_ready(compiled(*arguments))
    return time.perf_counter() - began, program_bytes(compiled)


def _temperature(options: Options) -> float | tuple[float, ...]:
    return 1.0 if options.temperature is None else options.temperature


def _pose_tiles(
    model: Model, schedule: Schedule, params: Params, key: Keys, tiles: Tiles, origins: Int[Array, "b 2"]
) -> Problem:
    """Pose some tiles as a problem. Its noise depends on the positions of the tiles in the image."""
    lattice = origins * model.preset.scale // model.preset.latent_factor
    return pose(model, params, schedule, tiles, lambda shape: noise.chain_noise(key, lattice, shape))


def _lr_guidance(
    preset: ModelPreset, problem: Problem, guides: TileGuides, scale: Float[Array, " t"], options: Options
) -> Guidance:
    mask = 1.0 if guides.weight is None else to_latent(guides.weight, preset)
    return Guidance(reference=problem.z_lr, scale=scale, mask=mask, form=options.gradient)


def _hr_guidance(model: Model, params: Params, tiles: Tiles, hr: TileReference, options: Options) -> Guidance:
    numbers = {"scale": hr.scale, "offset": hr.offset, "mask": to_latent(hr.weight, model.preset)}
    return Guidance(reference=_z_hr(model, params, tiles, hr), **numbers, form=options.gradient)


def _z_hr(model: Model, params: Params, tiles: Tiles, hr: TileReference) -> Float[Array, "b hz wz z"]:
    """Encode the reference. Outside its region the enlarged LR image takes its place, so that no edge is encoded."""
    scale, lr = model.preset.scale, tiles[..., :3] * 2 - 1
    known = jnp.repeat(jnp.repeat(hr.weight > 0, scale, 1), scale, 2)
    around = upsample_bicubic(lr, scale) if scale > 1 else lr
    return model.encode(params, jnp.where(known, hr.image * 2 - 1, around))


def to_latent(weight: Mask, preset: ModelPreset) -> Float[Array, "b hz wz 1"]:
    """Average a map at the size of the input, by area, to the size of the latent."""
    b, h, w, _ = weight.shape
    fine = jnp.repeat(jnp.repeat(weight, preset.scale, 1), preset.scale, 2)
    rows, columns = (preset.scale * n // preset.latent_factor for n in (h, w))
    return fine.reshape(b, rows, preset.latent_factor, columns, preset.latent_factor, 1).mean((2, 4))

"""The functions that are compiled for the tiles of an image: enlarge them, and measure a reference on them."""

import math
import time
from collections.abc import Callable, Hashable
from dataclasses import replace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key

from jaxsr import diffusion
from jaxsr.calibration.open_loop import Moments, measure
from jaxsr.choices import Reference
from jaxsr.diffusion import Denoiser, Guidance, Noise, Schedule
from jaxsr.guided import TileGuides, TileReference
from jaxsr.imaging import noise
from jaxsr.imaging.resize import upsample_bicubic
from jaxsr.model import DTYPES, Model, Params
from jaxsr.models.presets import Preset
from jaxsr.options import Options, schedule_for
from jaxsr.runtime import compiler_options

Tiles = Float[Array, "b t t 3"]
Mask = Float[Array, "b h w 1"]


class _Start(NamedTuple):
    """What sampling of some tiles starts from."""

    lr: Tiles
    z_lr: Float[Array, "b h w z"]
    denoise: Denoiser
    draw: Noise


def enlarge_function(model: Model, schedule: Schedule, options: Options) -> Callable[..., Array]:
    """The pure function (params, key, tiles, origins, guides=None) -> enlarged tiles in [0, 1], to be jitted.

    Without guides it is the plain sampler. Guides with k rows of scales give k results of every tile, one after the
    other along the channels; these share the encoding and the first call of the network.
    """

    def enlarge(
        params: Params,
        key: Key[Array, ""],
        tiles: Tiles,
        origins: Int[Array, "b 2"],
        guides: TileGuides | None = None,
    ) -> Float[Array, "b T T c"]:
        start = _start(model, schedule, params, key, tiles, origins)

        def finish(guidance: list[Guidance], unroll_first: bool = False) -> Float[Array, "b T T 3"]:
            how = {"sampler": options.sampler, "guidance": guidance, "unroll_first": unroll_first}
            x0 = diffusion.sample(start.denoise, schedule, start.z_lr, start.draw, **how)
            return jnp.clip((model.decode(params, x0) + 1) / 2, 0, 1)

        if guides is None:
            return finish([])
        hr = [_hr_guidance(model, params, start, guides.hr, options)] if guides.hr else []
        lr = lambda scale: _lr_guidance(model.preset, start, guides, scale, options)  # noqa: E731
        if guides.scale.ndim == 1:
            return finish([lr(guides.scale), *hr])
        panels = jax.vmap(lambda scale: finish([lr(scale), *hr], unroll_first=True), out_axes=3)(guides.scale)
        return panels.reshape(*panels.shape[:3], -1)

    return enlarge


def measure_function(model: Model, schedule: Schedule, options: Options, against: Reference) -> Callable[..., Moments]:
    """The pure function (params, key, tiles, origins, reference) -> moments against the HR or the LR image.

    The moments (see `jaxsr.calibration.open_loop`) are weighted by the reference's weight.
    """

    def moments(
        params: Params, key: Key[Array, ""], tiles: Tiles, origins: Int[Array, "b 2"], reference: TileReference
    ) -> Moments:
        start = _start(model, schedule, params, key, tiles, origins)
        z_hr, mask = _z_hr(model, params, start, reference), to_latent(reference.weight, model.preset)
        how = {"reference": against, "mask": mask, "sampler": options.sampler, **_words(options)}
        return measure(start.denoise, schedule, start.z_lr, z_hr, start.draw, **how)

    return moments


def compile_program(
    preset: Preset, options: Options, remat: bool, against: Reference | None = None
) -> jax.stages.Wrapped:
    """`enlarge_function`, or with `against` `measure_function`, jitted."""
    options = replace(options, sampler=options.sampler or preset.sampler)
    model, schedule = Model(preset, DTYPES[options.precision], remat), schedule_for(preset, options)
    if against is None:
        function = enlarge_function(model, schedule, options)
    else:
        function = measure_function(model, schedule, options, against)
    return jax.jit(function, compiler_options=compiler_options())


def program_key(preset: Preset, options: Options, remat: bool, against: Reference | None = None) -> Hashable:
    """What `compile_program` depends on: two calls with one key make one program."""
    names = ("steps", "thinning", "precision", "through", "reference_mean", "reference_variance")
    return (options.sampler or preset.sampler, *(getattr(options, name) for name in names), remat, against)


def cost(program: jax.stages.Wrapped, arguments: tuple) -> tuple[float, float]:
    """Seconds of one call, and the compiled program's memory in bytes (NaN for a backend that does not say)."""
    compiled = program.lower(*arguments).compile()
    jax.block_until_ready(compiled(*arguments))
    began = time.perf_counter()
    jax.block_until_ready(compiled(*arguments))
    seconds, sizes = time.perf_counter() - began, compiled.memory_analysis()
    if sizes is None:
        return seconds, math.nan
    return seconds, float(sizes.temp_size_in_bytes + sizes.argument_size_in_bytes + sizes.output_size_in_bytes)


def _start(
    model: Model, schedule: Schedule, params: Params, key: Key[Array, ""], tiles: Tiles, origins: Int[Array, "b 2"]
) -> _Start:
    preset, lr = model.preset, tiles * 2 - 1
    z_lr = model.encode_lr(params, lr)
    lattice = origins * preset.scale // preset.latent_factor

    def draw(k: Int[Array, ""]) -> Float[Array, "b h w z"]:
        step_key = jax.random.fold_in(key, k)
        return jax.vmap(lambda origin: noise.field(step_key, origin, z_lr.shape[1:]))(lattice)

    return _Start(lr, z_lr, model.denoiser(params, schedule, z_lr, lr), draw)


def _words(options: Options) -> dict[str, Any]:
    return {name: getattr(options, name) for name in ("through", "reference_mean", "reference_variance")}


def _lr_guidance(
    preset: Preset, start: _Start, guides: TileGuides, scale: Float[Array, " t"], options: Options
) -> Guidance:
    mask = 1.0 if guides.weight is None else to_latent(guides.weight, preset)
    return Guidance(reference=start.z_lr, scale=scale, mask=mask, **_words(options))


def _hr_guidance(model: Model, params: Params, start: _Start, hr: TileReference, options: Options) -> Guidance:
    numbers = {"scale": hr.scale, "offset": hr.offset, "mask": to_latent(hr.weight, model.preset)}
    return Guidance(reference=_z_hr(model, params, start, hr), **numbers, **_words(options))


def _z_hr(model: Model, params: Params, start: _Start, hr: TileReference) -> Float[Array, "b h w z"]:
    """Latent of the reference; where there is none, of the enlarged LR image, so that no edge is encoded."""
    scale = model.preset.scale
    known = jnp.repeat(jnp.repeat(hr.weight > 0, scale, 1), scale, 2)
    around = upsample_bicubic(start.lr, scale) if scale > 1 else start.lr
    return model.encode(params, jnp.where(known, hr.image * 2 - 1, around))


def to_latent(weight: Mask, preset: Preset) -> Float[Array, "b hz wz 1"]:
    """A map at the size of the input, area-averaged to the latent's."""
    b, h, w, _ = weight.shape
    fine = jnp.repeat(jnp.repeat(weight, preset.scale, 1), preset.scale, 2)
    rows, columns = (preset.scale * n // preset.latent_factor for n in (h, w))
    return fine.reshape(b, rows, preset.latent_factor, columns, preset.latent_factor, 1).mean((2, 4))

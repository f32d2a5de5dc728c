"""Enlarge an image of any size: cut into tiles, encode, sample and decode each in one jitted call, blend band by band.

Memory is bounded by the tile in every stage. The noise at a pixel depends on the seed, the image's content and its
position alone, so neither the batch, nor the order of files or tiles changes the result.
"""

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any, Literal, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key, Num

from jaxsr import checkpoint, diffusion, registry
from jaxsr.diffusion import Schedule
from jaxsr.imaging import noise, tiling
from jaxsr.model import Model, Params
from jaxsr.models.presets import Preset, preset_from_dict
from jaxsr.runtime import compiler_options

DTYPES = {"fp32": jnp.float32, "bf16": jnp.bfloat16}
AUTO_TILES = (64, 128, 256)
T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Options:
    """How to sample; together with the seed, the model and the image this decides every bit of the result.

    Attributes:
        steps: sampling steps; None takes the model's own number.
        sampler: `ancestral`, `deterministic` or `heun`; None takes the model's own.
        thinning: which rows of the trained schedule fewer steps keep, see `jaxsr.diffusion.thin`.
        tile: side of the tiles in pixels of the input; `auto` takes the smallest of 64, 128 and 256 that holds the
            image, else the largest; `off` makes one tile of the whole image.
        overlap: of neighbouring tiles, in pixels of the input; None is an eighth of the tile, at least 16.
        blend: `feather`, or `mean` as in the released ResShift tool.
        precision: `fp32` or `bf16` compute.
    """

    steps: int | None = None
    sampler: str | None = None
    thinning: Literal["ends", "released"] = "ends"
    tile: int | Literal["auto", "off"] = "auto"
    overlap: int | None = None
    blend: Literal["feather", "mean"] = "feather"
    precision: Literal["fp32", "bf16"] = "fp32"


@dataclass(frozen=True)
class Upscaler:
    """A model with its weights, ready to enlarge images; made by `load`.

    Attributes:
        preset: what is fixed about the model.
        params: its weights, float32.
        source: the checkpoint file.
        sha256: of that file.
    """

    preset: Preset
    params: Params
    source: Path
    sha256: str

    def upscale(
        self,
        image: Num[np.ndarray, "h w *c"],
        *,
        seed: int = 0,
        sample: int = 0,
        batch: int = 1,
        progress: Callable[[int, int], None] | None = None,
        **options: Any,
    ) -> Num[np.ndarray, "H W *c"]:
        """One sample of the enlarged image, exactly `preset.scale` times the size.

        Args:
            image: (h, w, 3) or grey (h, w); uint8, uint16, or float in [0, 1].
            seed: all randomness comes from it, the image's content and `sample`.
            sample: number of the sample, to draw several of one image.
            batch: tiles per call of the network; does not change the result.
            progress: called with (tiles done, tiles in all).
            **options: fields of `Options`.
        Returns:
            the enlarged image in the type of the input; grey stays grey.
        Raises:
            ValueError: for an image of another shape or type, or options that do not fit the model.
        """
        rgb, dtype, grey = _to_float_rgb(image)
        out = np.empty((*(self.preset.scale * n for n in rgb.shape[:2]), *((3,) if not grey else ())), dtype)
        for y0, rows in self.bands(rgb, seed=seed, sample=sample, batch=batch, progress=progress, **options):
            out[y0 : y0 + len(rows)] = _from_float(rows.mean(-1) if grey else rows, dtype)
        return out

    def bands(
        self,
        rgb: Float[np.ndarray, "h w 3"],
        *,
        seed: int,
        sample: int = 0,
        batch: int = 1,
        progress: Callable[[int, int], None] | None = None,
        **options: Any,
    ) -> Iterator[tuple[int, Float[np.ndarray, "n W 3"]]]:
        """As `upscale`, for float32 pixels in [0, 1], handing out (first row, rows) from top to bottom."""
        chosen = Options(**options)
        plan = plan_tiles(self.preset, rgb.shape[:2], chosen)
        key = noise.image_key(seed, noise.content_hash(rgb), sample)
        enlarge = self.compiled(plan.tile, batch, chosen)

        def outputs() -> Iterator[tuple[int, np.ndarray]]:
            for indices in _batched(range(len(plan)), batch):
                padded = (*indices, *[indices[-1]] * (batch - len(indices)))
                tiles = np.stack([tiling.cut(rgb, plan, i) for i in padded])
                origins = np.array([plan.origin(i) for i in padded], np.int32)
                results = np.asarray(enlarge(self.params, key, tiles, origins))
                if not np.isfinite(results).all():
                    hint = "--precision fp32" if chosen.precision == "bf16" else "another seed"
                    raise FloatingPointError(f"the network returned pixels that are not numbers; try {hint}.")
                yield from zip(indices, results, strict=False)
                if progress:
                    progress(indices[-1] + 1, len(plan))

        return tiling.blend_tiles(plan, self.preset.scale, outputs())

    def compiled(self, tile: int, batch: int, options: Options) -> Callable[..., Array]:
        """The jitted function (params, key, tiles, origins) -> results of one tile shape; kept for the next image."""
        cache_key = (tile, batch, replace(options, tile=tile, overlap=None, blend="feather"))
        if cache_key not in self._compiled:
            model = Model(self.preset, DTYPES[options.precision])
            schedule, sampler = schedule_for(self.preset, options), options.sampler or self.preset.sampler
            if sampler not in diffusion.SAMPLERS:
                raise ValueError(f"sampler: no {sampler!r}; choose one of {', '.join(diffusion.SAMPLERS)}.")
            enlarge = enlarge_function(model, schedule, sampler)
            self._compiled[cache_key] = jax.jit(enlarge, compiler_options=compiler_options())
        return self._compiled[cache_key]

    @cached_property
    def _compiled(self) -> dict[Any, Callable[..., Array]]:
        return {}


def load(name_or_path: str | Path = "tiny-x4", *, accept_license: bool = False) -> Upscaler:
    """The model of a registered name (see `jaxsr.registry`) or of a checkpoint's path, with its weights in memory.

    Raises:
        ValueError, OSError: for unknown names, licences that were not accepted, files that cannot be read.
    """
    path = registry.resolve(name_or_path, accept_license=accept_license)
    file = path / checkpoint.FILE_NAME if path.is_dir() else path
    stored, metadata = checkpoint.load(file, dtype=np.float32)
    preset = preset_from_dict(metadata.get("preset", {}))
    checkpoint.check_params(stored, Model(preset).shapes(), source=file)
    return Upscaler(preset, jax.tree.map(jnp.asarray, stored), file, checkpoint.sha256_file(file))


def schedule_for(preset: Preset, options: Options) -> Schedule:
    """The model's schedule, thinned to the steps that were asked for."""
    trained = preset.schedule.build()
    return diffusion.thin(trained, options.steps or preset.steps, keep=options.thinning)


def tile_unit(preset: Preset) -> int:
    """Tiles are multiples of this many pixels of the input: windows and blocks of noise must fit."""
    return math.lcm(preset.align, noise.BLOCK * preset.latent_factor // preset.scale)


def plan_tiles(preset: Preset, size: tuple[int, int], options: Options) -> tiling.TilePlan:
    """Where the tiles of an image of `size` (height, width) lie, by `options`.

    Raises:
        ValueError: if tile or overlap do not fit the model.
    """
    unit, longest = tile_unit(preset), max(size)
    whole = -(-longest // unit) * unit
    if options.tile == "off":
        tile = whole
    elif options.tile == "auto":
        rounded = [-(-t // unit) * unit for t in AUTO_TILES]
        tile = next((t for t in rounded if t >= longest), rounded[-1])
    else:
        tile = options.tile
    if tile < 1 or tile % unit:
        raise ValueError(f"tile: must be a multiple of {unit} for this model, got {tile}.")
    default = min(max(-(-tile // 8 // unit) * unit, unit), tile - unit)
    overlap = options.overlap if options.overlap is not None else default
    if overlap % unit and options.blend == "feather":
        raise ValueError(f"overlap: must be a multiple of {unit} for this model, got {overlap}.")
    align = unit if options.blend == "feather" else 1
    return tiling.plan_tiles(*size, tile=tile, overlap=overlap, align=align, blend=options.blend)


def enlarge_function(model: Model, schedule: Schedule, sampler: str) -> Callable[..., Array]:
    """The pure function (params, key, tiles, origins) -> enlarged tiles in [0, 1], to be jitted."""
    preset = model.preset

    def enlarge(
        params: Params,
        key: Key[Array, ""],
        tiles: Float[Array, "b t t 3"],
        origins: Int[Array, "b 2"],
    ) -> Float[Array, "b T T 3"]:
        lr = tiles * 2 - 1
        z_lr = model.encode_lr(params, lr)
        lattice = origins * preset.scale // preset.latent_factor

        def draw(k: Int[Array, ""]) -> Float[Array, "b h w z"]:
            step_key = jax.random.fold_in(key, k)
            return jax.vmap(lambda origin: noise.field(step_key, origin, z_lr.shape[1:]))(lattice)

        denoise = model.denoiser(params, schedule, z_lr, lr)
        x0 = diffusion.sample(denoise, schedule, z_lr, draw, sampler=sampler)
        return jnp.clip((model.decode(params, x0) + 1) / 2, 0, 1)

    return enlarge


def measure(upscaler: Upscaler, tile: int, batch: int, options: Options) -> tuple[float, float]:
    """Seconds per call of the compiled program for one batch of tiles, and its memory in MB, weights included."""
    tiles, origins = np.zeros((batch, tile, tile, 3), np.float32), np.zeros((batch, 2), np.int32)
    arguments = (upscaler.params, noise.image_key(0, noise.content_hash(tiles), 0), tiles, origins)
    program = upscaler.compiled(tile, batch, options).lower(*arguments).compile()
    jax.block_until_ready(program(*arguments))
    began = time.perf_counter()
    jax.block_until_ready(program(*arguments))
    seconds, memory = time.perf_counter() - began, program.memory_analysis()
    sizes = (memory.temp_size_in_bytes, memory.argument_size_in_bytes, memory.output_size_in_bytes)
    return seconds, sum(sizes) / 1e6


def _to_float_rgb(image: np.ndarray) -> tuple[np.ndarray, np.dtype, bool]:
    grey = image.ndim == 2
    if not (grey or (image.ndim == 3 and image.shape[2] == 3)) or 0 in image.shape:
        raise ValueError(f"image: must be (h, w, 3) or grey (h, w) with at least one pixel, got shape {image.shape}.")
    if np.issubdtype(image.dtype, np.floating):
        values = image.astype(np.float32)
        if not (np.isfinite(values).all() and values.min() >= 0 and values.max() <= 1):
            raise ValueError("image: float pixels must be in [0, 1].")
    elif image.dtype in (np.uint8, np.uint16):
        values = image.astype(np.float32) / np.float32(np.iinfo(image.dtype).max)
    else:
        raise ValueError(f"image: pixels must be uint8, uint16 or float, got {image.dtype}.")
    return np.broadcast_to(values[..., None], (*image.shape, 3)) if grey else values, image.dtype, grey


def _from_float(values: np.ndarray, dtype: np.dtype) -> np.ndarray:
    if np.issubdtype(dtype, np.floating):
        return values.astype(dtype)
    return np.rint(values * np.iinfo(dtype).max).astype(dtype)


def _batched(items, size: int) -> Iterator[tuple]:
    iterator = iter(items)
    while chunk := tuple(islice(iterator, size)):
        yield chunk

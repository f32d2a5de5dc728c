"""Enlarge an image of any size: cut into tiles, encode, sample and decode each in one jitted call, blend band by band.

The network's memory is bounded by the tile in every stage. The noise at a pixel depends on the seed, the image's
content and its position alone: whatever the batch and the order of files or tiles, the noise is the same, and the
result equal up to rounding.
"""

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields, replace
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key, Num

from jaxsr import checkpoint, diffusion, registry
from jaxsr.diffusion import Schedule
from jaxsr.imaging import noise, tiling
from jaxsr.imaging.pixels import as_array, from_float, to_float_rgb
from jaxsr.model import DTYPES, Model, Params
from jaxsr.models.presets import Preset, preset_from_dict
from jaxsr.options import Options, Run, plan_run, schedule_for, with_less_memory
from jaxsr.runtime import compiler_options

Progress = Callable[[int, int], None]
"""Called with (tiles done, tiles in all)."""
T = TypeVar("T")


class NotFiniteError(ArithmeticError):
    """The network returned pixels that are not numbers."""


@dataclass(frozen=True, eq=False)
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
        image: Any,
        *,
        seed: int = 0,
        sample: int = 0,
        batch: int = 1,
        progress: Progress | None = None,
        **options: Any,
    ) -> Num[np.ndarray, "H W *c"]:
        """One sample of the enlarged image, exactly `preset.scale` times the size.

        Args:
            image: array of (h, w, 3) or grey (h, w), or what NumPy makes one of, such as a Pillow image (RGB, L, I;16);
                uint8, uint16, or float in [0, 1].
            seed: all randomness comes from it, the image's content and `sample`; 0 <= seed < 2**32.
            sample: number of the sample, to draw several of one image.
            batch: tiles per call of the network; the noise is the same, the result equal up to rounding.
            progress: called with (tiles done, tiles in all).
            **options: fields of `Options`.
        Returns:
            the enlarged image in the type of the input; grey stays grey.
        Raises:
            TypeError: for an option that does not exist.
            ValueError: for an image of another shape or type, or options that do not fit the model.
            MemoryError: if the device's memory is too small for the tile; with tile `auto`, for the smallest.
            NotFiniteError: if the network returns pixels that are not numbers.
        """
        known = [field.name for field in fields(Options)]
        if unknown := options.keys() - set(known):
            raise TypeError(f"upscale has no option {', '.join(sorted(unknown))}; it has {', '.join(known)}.")
        image = as_array(image)
        rgb, grey = to_float_rgb(image)
        height, width = (self.preset.scale * n for n in rgb.shape[:2])
        out = np.empty((height, width) if grey else (height, width, 3), image.dtype)
        self.enlarge(rgb, out, Options(**options), seed=seed, sample=sample, batch=batch, progress=progress)
        return out

    def enlarge(
        self,
        rgb: Float[np.ndarray, "h w 3"],
        out: Num[np.ndarray, "H W *c"],
        options: Options,
        *,
        seed: int,
        sample: int = 0,
        batch: int = 1,
        progress: Progress | None = None,
    ) -> Run:
        """As `upscale`, from float32 pixels in [0, 1] into `out`, in its type; returns what was really done."""
        first = plan_run(self.preset, rgb.shape[:2], options, batch)
        key = noise.image_key(seed, noise.content_hash(rgb), sample)

        def attempt(run: Run) -> None:
            tiles = self._tiles(rgb, key, run, progress)
            for y0, rows in tiling.blend_tiles(run.plan, self.preset.scale, tiles):
                out[y0 : y0 + len(rows)] = from_float(rows.mean(-1) if out.ndim == 2 else rows, out.dtype)

        return self._retry(attempt, first, options)[1]

    def _tiles(
        self, rgb: np.ndarray, key: Key[Array, ""], run: Run, progress: Progress | None
    ) -> Iterator[tuple[int, np.ndarray]]:
        """(number, enlarged tile) of every tile, in calls of one shape: the last one is filled up."""
        total = len(run.plan)
        for start, results in _one_ahead(self._calls(rgb, key, run)):
            results = np.asarray(results)  # waits for the device, which has the next call to go on with
            if not np.isfinite(results).all():
                raise NotFiniteError("the network returned pixels that are not numbers; check the model's weights.")
            done = min(start + run.batch, total)
            yield from zip(range(start, done), results, strict=False)
            if progress:
                progress(done, total)

    def _calls(self, rgb: np.ndarray, key: Key[Array, ""], run: Run) -> Iterator[tuple[int, Any]]:
        """(number of the first tile, enlarged tiles) of every call, on the device and perhaps not finished."""
        plan, enlarge = run.plan, self.compiled(run.options)
        for start in range(0, len(plan), run.batch):
            indices = [min(start + i, len(plan) - 1) for i in range(run.batch)]
            tiles = np.stack([tiling.cut(rgb, plan, i) for i in indices])
            origins = np.array([plan.origin(i) for i in indices], np.int32)
            yield start, enlarge(self.params, key, tiles, origins)

    def _retry(self, attempt: Callable[[Run], T], run: Run, asked: Options) -> tuple[T, Run]:
        """`attempt(run)`, from the start with less where memory is short, and in fp32 where bf16 gives no numbers."""
        while True:
            try:
                return attempt(run), run
            except NotFiniteError:
                if run.options.precision == "fp32":
                    raise
                run = replace(run, options=replace(run.options, precision="fp32"))
            except jax.errors.JaxRuntimeError as error:
                if "RESOURCE_EXHAUSTED" not in str(error):
                    raise
                run = with_less_memory(run, self.preset, asked)

    def compiled(self, options: Options) -> jax.stages.Wrapped:
        """The jitted function (params, key, tiles, origins) -> enlarged tiles; kept for the next image."""
        sampler = options.sampler or self.preset.sampler
        cache_key = (options.steps, sampler, options.thinning, options.precision)
        if cache_key not in self._compiled:
            model = Model(self.preset, DTYPES[options.precision])
            function = enlarge_function(model, schedule_for(self.preset, options), sampler)
            self._compiled[cache_key] = jax.jit(function, compiler_options=compiler_options())
        return self._compiled[cache_key]

    @cached_property
    def _compiled(self) -> dict[tuple, jax.stages.Wrapped]:
        return {}

    def measure(self, size: tuple[int, int], options: Options, batch: int = 1) -> tuple[Run, float, float]:
        """For an image of `size`: what is to be done, seconds per call, and the program's memory in bytes."""
        (seconds, memory), run = self._retry(self._measure, plan_run(self.preset, size, options, batch), options)
        return run, seconds, memory

    def _measure(self, run: Run) -> tuple[float, float]:
        tiles = np.zeros((run.batch, run.plan.tile, run.plan.tile, 3), np.float32)
        key, origins = noise.image_key(0, noise.content_hash(tiles), 0), np.zeros((run.batch, 2), np.int32)
        arguments = (self.params, key, tiles, origins)
        program = self.compiled(run.options).lower(*arguments).compile()
        jax.block_until_ready(program(*arguments))
        began = time.perf_counter()
        jax.block_until_ready(program(*arguments))
        seconds, sizes = time.perf_counter() - began, program.memory_analysis()
        if sizes is None:  # a backend that does not say
            return seconds, math.nan
        memory = sizes.temp_size_in_bytes + sizes.argument_size_in_bytes + sizes.output_size_in_bytes
        return seconds, float(memory)


def _one_ahead(calls: Iterator[T]) -> Iterator[T]:
    """The same items, each handed out once the one after it has been started."""
    waiting = next(calls)
    for started in calls:
        yield waiting
        waiting = started
    yield waiting


def load(name_or_path: str | Path = "tiny-x4", *, accept_license: bool = False) -> Upscaler:
    """The model of a registered name (see `jaxsr.registry`) or of a checkpoint's path, with its weights in memory.

    The commands keep compiled programs between runs; in Python, `jaxsr.runtime.enable_compilation_cache` does so.

    Raises:
        ValueError, OSError: for unknown names, licences that were not accepted, files that cannot be read.
    """
    path = registry.resolve(name_or_path, accept_license=accept_license)
    file = path / checkpoint.FILE_NAME if path.is_dir() else path
    stored, metadata = checkpoint.load(file, dtype=np.float32)
    try:
        preset = preset_from_dict(metadata.get("preset", {}))
    except ValueError as error:
        raise checkpoint.CheckpointError(f"{file}: {error}") from error
    checkpoint.check_params(stored, Model(preset).shapes(), source=file)
    return Upscaler(preset, jax.tree.map(jnp.asarray, stored), file, checkpoint.sha256_file(file))


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

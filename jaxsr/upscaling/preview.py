"""Windows of a photograph, enlarged for a look while a knob turns.

One program of a fixed shape serves every window and every setting: scale, temperature and projection are arguments of
it, where `jaxsr.upscaling.programs.enlarge_function` compiles temperature and projection in. A new setting therefore
compiles nothing. The noise is that of the whole picture, because it depends on the position of a pixel alone. The
convolutional network also gets a margin around a window, whose pixels are then those of the whole picture up to
rounding. A Swin-UNet is too slow for a margin: near the border of a window its pixels differ, and where it sees the
whole image (see `jaxsr.upscaling.tile_choice.sees_whole_image`), a window is a sketch of the picture.
"""

import math
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key

from jaxsr import diffusion
from jaxsr.diffusion import Guidance, Schedule
from jaxsr.imaging import noise, tiling
from jaxsr.imaging.resize import project_onto
from jaxsr.models.model import DTYPES, Model, Params
from jaxsr.models.problem import pose
from jaxsr.models.swin_unet import SwinUNetConfig
from jaxsr.options import Options
from jaxsr.runtime.compilation import compiler_options
from jaxsr.upscaling.plan import plan_run, schedule_for
from jaxsr.upscaling.programs import program_key, to_latent
from jaxsr.upscaling.tile_calls import check_finite
from jaxsr.upscaling.tile_choice import tile_unit
from jaxsr.upscaling.upscaler import Upscaler

SIDE = 64
"""Side of a window in pixels of the input, if that suits the model; else the next multiple of its unit."""


class KnobSettings(NamedTuple):
    """k settings of the knob: scales and temperatures of shape (k, T), t = 1 first, and projections of shape (k,)."""

    scale: Any
    temperature: Any
    projection: Any


def knob_settings(chosen: Sequence[Options], steps: int) -> KnobSettings:
    """Take the numbers that a knob turns out of some options, spread over `steps` steps."""

    def spread(options: Options, name: str, default: float) -> tuple[float, ...]:
        row = options.numbers(name) or (default,)
        return row * steps if len(row) == 1 else row

    return KnobSettings(
        np.array([spread(options, "alpha", 0.0) for options in chosen], np.float32),
        np.array([spread(options, "temperature", 1.0) for options in chosen], np.float32),
        np.array([options.projection or 0.0 for options in chosen], np.float32),
    )


def preview_function(model: Model, schedule: Schedule, options: Options) -> Callable[..., Array]:
    """Make the pure function (params, key, window, origin, weight, settings) -> k enlarged windows, to be jitted.

    Of `options` it uses the sampler and the form of the gradient. The k settings share the encoding and the first call
    of the network.
    """
    preset = model.preset

    def preview(
        params: Params,
        key: Key[Array, ""],
        window: Float[Array, "1 h w c"],
        origin: Int[Array, "1 2"],
        weight: Float[Array, "1 h w 1"],
        settings: KnobSettings,
    ) -> Float[Array, "k H W 3"]:
        lattice = origin * preset.scale // preset.latent_factor
        problem = pose(model, params, schedule, window, lambda shape: noise.chain_noise(key, lattice, shape))
        mask, lr = to_latent(weight, preset), window[..., :3]

        def finish(one: KnobSettings) -> Float[Array, "H W 3"]:
            guidance = [Guidance(reference=problem.z_lr, scale=one.scale, mask=mask, form=options.gradient)]
            more = {"sampler": options.sampler, "guidance": guidance, "temperature": one.temperature}
            more["unroll_first"] = len(settings.projection) > 1
            x0 = diffusion.sample(problem.denoise, schedule, problem.z_lr, problem.noise, **more)
            image = problem.decode(x0, clip=False)
            if preset.scale > 1:
                image = project_onto(image, lr, preset.scale, one.projection)
            return jnp.clip(image, 0, 1)[0]

        if len(settings.projection) == 1:  # quicker than a batch of one
            return finish(jax.tree.map(lambda row: row[0], settings))[None]
        return jax.vmap(finish)(settings)

    return preview


@dataclass(frozen=True, eq=False)
class Preview:
    """Enlarges windows of photographs with a model, and keeps the compiled programs.

    Attributes:
        upscaler: the model.
    """

    upscaler: Upscaler

    @property
    def unit(self) -> int:
        """The unit of a window's place, in pixels of the input: at its multiples, windows agree with whole pictures.

        It holds whole blocks of noise, and is wide enough to be the margin too.
        """
        preset = self.upscaler.preset
        return math.lcm(tile_unit(preset), noise.BLOCK * preset.latent_factor // preset.scale)

    @property
    def side(self) -> int:
        """The side of a window, in pixels of the input."""
        return -(-SIDE // self.unit) * self.unit

    @property
    def margin(self) -> int:
        """What the network gets around a window, in pixels of the input."""
        return 0 if isinstance(self.upscaler.preset.network, SwinUNetConfig) else self.unit

    def place(self, point: tuple[int, int], size: tuple[int, int]) -> tuple[int, int, int, int]:
        """Return (top, left, height, width) of the window that shows a point, nearest to its middle.

        Args:
            point: (y, x) in pixels of the input; a point outside is moved to the nearest edge.
            size: (height, width) of the photograph. A window at its lower or right edge may be cut short.
        """
        found = []
        for at, length in zip(point, size, strict=True):
            last = max(-(-(length - self.side) // self.unit), 0) * self.unit
            first = min(max(round((at - self.side / 2) / self.unit) * self.unit, 0), last)
            found.append((first, min(self.side, length - first)))
        (top, height), (left, width) = found
        return top, left, height, width

    def window(
        self,
        pixels: Float[np.ndarray, "h w c"],
        key: Key[Array, ""],
        corner: tuple[int, int],
        chosen: Sequence[Options],
        weight: Float[np.ndarray, "h w"] | None = None,
    ) -> Float[np.ndarray, "k H W 3"]:
        """Enlarge one window with some settings of the knob.

        Args:
            pixels: the whole photograph in [0, 1], for an inpainting network with its mask as a fourth channel.
            key: the key of the whole photograph's noise, see `jaxsr.imaging.noise.image_key`.
            corner: (top, left) of the window, as `place` returns it.
            chosen: options of sampling, one for each result. They differ in alpha, temperature and projection only.
            weight: map that multiplies alpha, or None.
        Returns:
            float32 in [0, 1], one result of `preset.scale` times the side for each of `chosen`, cut at the edges of the
            photograph.
        Raises:
            ValueError: if the options do not fit the model.
            NotFiniteError: if the network returns pixels that are not numbers.
        """
        preset, (height, width) = self.upscaler.preset, pixels.shape[:2]
        side = self.side + 2 * self.margin
        options = plan_run(preset, (side, side), replace(chosen[0], tile=side, overlap=None)).options
        for other in chosen[1:]:
            plan_run(preset, (1, 1), other)
        top, left = (max(at - self.margin, 0) for at in corner)  # the whole picture has no margin at its edges either
        plan = tiling.TilePlan(height, width, (side, side), 0, "feather", (top,), (left,))
        cut = tiling.cut(pixels, plan, 0)[None]
        factor = np.ones((1, side, side, 1), np.float32)
        if weight is not None:
            factor = tiling.cut(weight[..., None], plan, 0)[None].astype(np.float32)
        settings = knob_settings(chosen, options.steps or 1)
        arguments = (key, cut, np.array([(top, left)], np.int32), factor, settings)
        results = np.asarray(self.program(options)(self.upscaler.weights(options.precision), *arguments))
        check_finite(results)
        rows, columns = (
            slice(preset.scale * (at - first), preset.scale * (min(at + self.side, length) - first))
            for at, first, length in zip(corner, (top, left), (height, width), strict=True)
        )
        return results[:, rows, columns]

    def program(self, options: Options) -> jax.stages.Wrapped:
        """Return the jitted function for some options; their alpha, temperature and projection do not count."""
        fixed = replace(options, alpha=None, temperature=None, projection=None)
        key = program_key(self.upscaler.preset, fixed, False)
        if key not in self._compiled:
            model = Model(self.upscaler.preset, DTYPES[fixed.precision])
            function = preview_function(model, schedule_for(model.preset, fixed), fixed)
            self._compiled[key] = jax.jit(function, compiler_options=compiler_options())
        return self._compiled[key]

    @cached_property
    def _compiled(self) -> dict[Hashable, jax.stages.Wrapped]:
        return {}

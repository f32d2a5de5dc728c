"""A model with its sampler as one StableHLO program, which runs without jaxsr."""

from collections.abc import Sequence
from dataclasses import replace

import jax
import jax.export
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, UInt32

from jaxsr.choices import PLATFORMS
from jaxsr.guidance.tiles import TileGuides
from jaxsr.models.model import DTYPES, Model
from jaxsr.options import Options
from jaxsr.runtime import onednn
from jaxsr.upscaling.plan import plan_run, schedule_for
from jaxsr.upscaling.programs import enlarge_function
from jaxsr.upscaling.upscaler import Upscaler


def export(
    upscaler: Upscaler, options: Options, tile: tuple[int, int], platforms: Sequence[str] = PLATFORMS
) -> jax.export.Exported:
    """Make the program (lr, seed) -> enlarged images, with the model's weights inside.

    `lr` is (b, h, w, 3), float32 RGB in [0, 1], with the height and width of `tile` and any number b of images; `seed`
    is uint32. The result is (b, H, W, 3), float32 in [0, 1]. Image number i of a call has the noise of (seed, i). That
    is other noise than `Upscaler.upscale` draws, which depends on the content of the image.

    Args:
        upscaler: the model.
        options: how to sample; tiles and blending have no effect.
        tile: height and width of the images, in pixels.
        platforms: where the program shall run, some of PLATFORMS.
    Raises:
        ValueError: for a tile or other options that do not fit the model, or a model for inpainting.
    """
    preset = upscaler.preset
    if preset.network.cond_mask:
        raise ValueError(f"--model: {preset.name} fills in masked parts, and has no program without a mask.")
    resolved = plan_run(preset, tile, replace(options, tile=tile, overlap=None)).options
    model, schedule = Model(preset, DTYPES[options.precision]), schedule_for(preset, options)
    enlarge, params = enlarge_function(model, schedule, resolved), upscaler.weights(options.precision)
    alphas = np.array(options.alphas, np.float32)
    guides = TileGuides(np.broadcast_to(alphas, (1, schedule.steps)), None, None) if alphas.any() else None

    def program(lr: Float[Array, "b h w 3"], seed: UInt32[Array, ""]) -> Float[Array, "b H W 3"]:
        root, numbers = jax.random.key(seed, impl="threefry2x32"), jnp.arange(lr.shape[0], dtype=jnp.uint32)
        keys = jax.vmap(jax.random.fold_in, (None, 0))(root, numbers)
        origins = jnp.zeros((lr.shape[0], 2), jnp.int32)
        return jnp.clip(enlarge(params, keys, lr, origins, guides), 0, 1)

    (count,) = jax.export.symbolic_shape("b")
    shapes = jax.ShapeDtypeStruct((count, *tile, 3), jnp.float32), jax.ShapeDtypeStruct((), jnp.uint32)
    with onednn.off():  # its calls are those of one CPU
        return jax.export.export(jax.jit(program), platforms=tuple(platforms))(*shapes)

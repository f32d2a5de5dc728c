"""Images as a `Problem` for samplers of your own: one image, or a batch of images of one size."""

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxsr.choices import Precision, Thinning
from jaxsr.imaging import noise, tiling
from jaxsr.imaging.pixels import as_array, to_float_rgb
from jaxsr.models.model import DTYPES, Model, Params
from jaxsr.models.presets import ModelPreset
from jaxsr.models.problem import NetworkCalls, Problem, network_calls, pose_with
from jaxsr.options import Options
from jaxsr.upscaling.inpainting import check_mask, with_mask
from jaxsr.upscaling.plan import plan_run, schedule_for


def pose_images(
    preset: ModelPreset, params: Params, lr: Any, options: Options, *, seed: int = 0, sample: int = 0, mask: Any = None
) -> Problem:
    """Pose whole LR images as a problem, see `jaxsr.Upscaler.problem`.

    Images are extended at the right and the bottom by reflection, each side to its own next size that the network
    accepts. `decode` crops its result to the size of the image, and `encode` extends its images in the same way.
    """
    images, single = _as_batch(lr)
    plan = plan_run(preset, images.shape[1:3], options).plan
    keys = jnp.stack([noise.image_key(seed, noise.content_hash(image), sample) for image in images])
    make_noise = lambda shape: noise.chain_noise(keys, jnp.zeros(2, jnp.int32), shape)  # noqa: E731
    calls = _compiled_calls(preset, options.precision, options.steps, options.thinning)
    known = check_mask(preset, mask, images.shape[1:3])
    inputs = np.stack([with_mask(image, known) for image in images])
    problem = pose_with(calls, params, _pad(inputs, plan.tile), make_noise)
    height, width = (preset.scale * n for n in images.shape[1:3])

    def encode(image: Any) -> Float[Array, "b hz wz z"]:
        batch, _ = _as_batch(image)
        if batch.shape[1:3] != (height, width):
            size = f"{batch.shape[2]}x{batch.shape[1]}"
            raise ValueError(f"image: must be {width}x{height} pixels, as the result is, but is {size}.")
        return problem.encode(_pad(batch, (preset.scale * plan.tile[0], preset.scale * plan.tile[1])))

    def decode(latent: Float[Array, "b hz wz z"], *, clip: bool = True) -> Float[np.ndarray, "*b H W 3"]:
        result = np.asarray(problem.decode(latent, clip=clip))[:, :height, :width]
        return result[0] if single else result

    return replace(problem, encode=encode, decode=decode)


@lru_cache(maxsize=8)
def _compiled_calls(preset: ModelPreset, precision: Precision, steps: int | None, thinning: Thinning) -> NetworkCalls:
    """Make the compiled functions that all problems of a model with these options share."""
    schedule = schedule_for(preset, Options(steps=steps, thinning=thinning))
    return network_calls(Model(preset, DTYPES[precision]), schedule, jax.jit)


def _as_batch(images: Any) -> tuple[Float[np.ndarray, "b h w 3"], bool]:
    """Convert images to float32 RGB in [0, 1] with a batch axis; also return whether `images` is a single image."""
    array = as_array(images)
    parts: Sequence[np.ndarray] = list(array) if array.ndim == 4 else [array]
    return np.stack([to_float_rgb(part)[0] for part in parts]), array.ndim != 4


def _pad(images: Float[np.ndarray, "b h w c"], tile: tuple[int, int]) -> Float[Array, "b H W c"]:
    _, height, width, _ = images.shape
    plan = tiling.plan_tiles(height, width, tile, 0)
    return jnp.asarray(np.stack([tiling.cut(image, plan, 0) for image in images]))

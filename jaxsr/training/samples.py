"""Sample images of a run: the results of the averaged parameters for the first examples of a batch."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, UInt8

from jaxsr import diffusion
from jaxsr.imaging.files import Photo, write_photo
from jaxsr.models.model import Model
from jaxsr.models.problem import pose
from jaxsr.runtime.compilation import compiler_options
from jaxsr.training.step import Batch, Weights

ROWS = 4
Enlarge = Callable[[Weights, UInt8[Array, "b h w 3"]], Float[Array, "b H W 3"]]


def make_enlarge(model: Model, seed: int) -> Enlarge:
    """Make the preset's default sampling one compiled function (params, uint8 LR images) -> images in [0, 1]."""
    schedule = diffusion.thin(model.preset.schedule.build(), model.preset.steps)

    def enlarge(params: Weights, lr: UInt8[Array, "b h w 3"]) -> Float[Array, "b H W 3"]:
        make_noise = partial(diffusion.normal_noise, jax.random.key(seed), schedule.steps)
        problem = pose(model, params, schedule, lr.astype(jnp.float32) / 255, make_noise)
        x0 = diffusion.sample(problem.denoise, schedule, problem.z_lr, problem.noise, sampler=model.preset.sampler)
        return problem.decode(x0)

    return jax.jit(enlarge, compiler_options=compiler_options())


def write_samples(enlarge: Enlarge, params: Weights, batch: Batch, path: Path) -> None:
    """Write a sheet of the batch's first examples, one per row: LR enlarged by nearest neighbour, the sample, HR."""
    # Only the first device's share: four images are not worth a program over all devices and hosts.
    params, batch = jax.tree.map(lambda a: a.addressable_data(0), (params, batch))
    hr, lr = (np.asarray(batch[key][:ROWS]) for key in ("hr", "lr"))
    scale = hr.shape[1] // lr.shape[1]
    nearest = lr.repeat(scale, 1).repeat(scale, 2)
    columns = (nearest / np.float32(255), np.asarray(enlarge(params, jnp.asarray(lr))), hr / np.float32(255))
    sheet = np.concatenate([np.concatenate([*images]) for images in columns], axis=1)
    write_photo(path, Photo(sheet, None, 8, False, None, None, str(path)))

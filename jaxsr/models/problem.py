"""The sampling problem of a batch of LR images: latent, denoiser, schedule, noise, and the way back to images.

Everything that samples uses a `Problem`: the enlarging of tiles, the sweep of a calibration, the sample images of a
training, the study of errors, and samplers of your own (see `jaxsr.Upscaler.problem`).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from jaxsr.diffusion import Denoiser, Noise, Schedule
from jaxsr.imaging.resize import project_onto
from jaxsr.models.model import Model, Params

Image = Float[Array, "_b _H _W 3"]
Latent = Float[Array, "_b _h _w _z"]
Input = Float[Array, "_b _H _W _c"]
"""RGB, and for an inpainting network the mask as a fourth channel."""


@dataclass(frozen=True, eq=False)
class Problem:
    """A batch of b LR images, ready for sampling: `diffusion.sample(p.denoise, p.schedule, p.z_lr, p.noise)`.

    Images are NHWC, RGB, float32 in [0, 1]. Latents are NHWC, float32, about [-1, 1].

    Attributes:
        schedule: the T sampling steps. Row i = 0..T-1 is t = i + 1; samplers run from row T-1 down to row 0.
        z_lr: latent of the LR images, y_0, shape (b, hz, wz, z).
        denoise: (x_t, step) -> x0_hat. `x_t` has the shape of `z_lr`; `step` is a row of the schedule, an int32 scalar
            that may be traced. It clips the prediction to [-1, 1] where the latent consists of pixels, and only there.
        noise: k -> standard normal array of the shape of `z_lr`; k is an int32 scalar that may be traced. k = 0 starts
            the chain, x_T = z_lr + kappa sqrt(eta_T) noise(0); k = 1..T belongs to the k-th step taken (t = T + 1 - k).
        encode: images of the size of the result -> their latent, for HR references.
        decode: latent -> images of the size of the result, clipped to [0, 1]; with `clip=False`, not clipped.
    """

    schedule: Schedule
    z_lr: Float[Array, "b hz wz z"]
    denoise: Denoiser
    noise: Noise
    encode: Callable[[Image], Latent]
    decode: Callable[..., Any]


class NetworkCalls(NamedTuple):
    """A schedule, and the functions of a model on it that a problem calls: pure functions of parameters and arrays.

    Attributes:
        schedule: the sampling steps.
        encode_lr: (params, LR images in [-1, 1]) -> z_lr.
        predict: (params, z_lr, LR images in [-1, 1] with their mask, x_t, step) -> x0_hat.
        encode: (params, images in [0, 1]) -> latent.
        decode: (params, latent) -> images, about [0, 1].
    """

    schedule: Schedule
    encode_lr: Callable[..., Any]
    predict: Callable[..., Any]
    encode: Callable[..., Any]
    decode: Callable[..., Any]


def network_calls(
    model: Model, schedule: Schedule, compiled: Callable[..., Callable[..., Any]] = lambda function: function
) -> NetworkCalls:
    """Make the functions of a model that a problem on this schedule calls.

    `compiled` wraps each function. Give `jax.jit` if problems are used outside of a compiled function.
    """

    def predict(params: Params, z_lr: Latent, signed: Input, x_t: Latent, step: Int[Array, ""]) -> Latent:
        mask = signed[..., 3:] if model.preset.network.cond_mask else None
        return model.denoiser(params, schedule, z_lr, signed[..., :3], mask)(x_t, step)

    def encode(params: Params, image: Image) -> Latent:
        return model.encode(params, image * 2 - 1)

    def decode(params: Params, latent: Latent) -> Image:
        return (model.decode(params, latent) + 1) / 2

    return NetworkCalls(schedule, *map(compiled, (model.encode_lr, predict, encode, decode)))


def project(decode: Callable[..., Image], x_0: Latent, lr: Image, scale: int, strength: float) -> Image:
    """Decode a latent, and project the image onto those that reduce to `lr` before it is clipped to [0, 1].

    Args:
        decode: the problem's, see `Problem`.
        x_0: the latent.
        lr: LR images in [0, 1].
        scale: size of the result divided by the size of the LR images.
        strength: of the projection, see `jaxsr.imaging.resize.project_onto`; 0 only decodes.
    """
    if not strength:
        return decode(x_0)
    return jnp.clip(project_onto(decode(x_0, clip=False), lr, scale, strength), 0, 1)


def pose(
    model: Model,
    params: Params,
    schedule: Schedule,
    lr: Input,
    make_noise: Callable[[tuple[int, ...]], Noise],
) -> Problem:
    """Make the sampling problem of a batch of LR images. This function is pure.

    Args:
        model: the model.
        params: the model's parameters.
        schedule: the sampling steps.
        lr: LR images in [0, 1], whose sides are multiples of the preset's `align`. For an inpainting network, a fourth
            channel is the mask: 1 where content is missing, 0 elsewhere.
        make_noise: shape of a latent -> noise of its chain.
    """
    return pose_with(network_calls(model, schedule), params, lr, make_noise)


def pose_with(
    calls: NetworkCalls, params: Params, lr: Input, make_noise: Callable[[tuple[int, ...]], Noise]
) -> Problem:
    """Make the problem as `pose` does, with functions of the model that several problems share."""
    signed = lr * 2 - 1
    z_lr = calls.encode_lr(params, signed[..., :3])
    draw = make_noise(z_lr.shape)

    def decode(latent: Latent, *, clip: bool = True) -> Image:
        image = calls.decode(params, latent)
        return jnp.clip(image, 0, 1) if clip else image

    return Problem(
        schedule=calls.schedule,
        z_lr=z_lr,
        denoise=lambda x_t, step: calls.predict(params, z_lr, signed, x_t, jnp.asarray(step, jnp.int32)),
        noise=lambda k: draw(jnp.asarray(k, jnp.int32)),
        encode=lambda image: calls.encode(params, image),
        decode=decode,
    )

"""Dispersion and the measured front: whether samples are as varied as the data, and what the missing variance costs.

The posterior's variance is unknown for photographs, but it is not needed. If the truth x_0 and n samples with mean xbar
and variance V are draws of one posterior, then E|x_0 - xbar|^2 = (1 + 1/n) E V. The samples should therefore have the
variance |x_0 - xbar|^2 - V/n, on average over images. If the mean has a bias, this number includes its square.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from jaxsr.diffusion import Denoiser, Guidance, Schedule, normal_noise, sample
from jaxsr.metrics.psnr import psnr
from jaxsr.metrics.texture import high_frequency_ratio, texture_distance

Samples = Float[Array, "n b h w c"]
PerImage = Any  # on the device Float[Array, " b"]; on the host, for many images, Float[np.ndarray, " n"]
Decode = Callable[[Array], Array]
"""Maps latents (b, h, w, c) to RGB images of about [0, 1], (b, H, W, 3)."""


class Dispersion(NamedTuple):
    """The variance of the samples of every image, and the variance that they should have, both per element."""

    variance: PerImage
    needed: PerImage


class Point(NamedTuple):
    """One sampler on the plane of distortion and perception, with its dispersion: means over the samples, per image.

    Attributes:
        variance, needed: see `Dispersion`, in (units of [0, 1])^2.
        mse: mean squared error of RGB clipped to [0, 1].
        psnr: PSNR of luma, in dB.
        swd: `texture_distance`, in grey levels.
        hf: `high_frequency_ratio`.
    """

    variance: PerImage
    needed: PerImage
    mse: PerImage
    psnr: PerImage
    swd: PerImage
    hf: PerImage


def draw(
    denoise: Denoiser,
    schedule: Schedule,
    z_lr: Float[Array, "b h w c"],
    key: Key[Array, ""],
    draws: int,
    *,
    sampler: str = "ancestral",
    guidance: Sequence[Guidance] = (),
) -> Samples:
    """Draw `draws` independent samples of the batch, one after the other, in the memory of one. Pure; jit it."""

    def one(key: Key[Array, ""]) -> Float[Array, "b h w c"]:
        noise = normal_noise(key, schedule.steps, z_lr.shape)
        return sample(denoise, schedule, z_lr, noise, sampler=sampler, guidance=guidance)

    return jax.lax.map(one, jax.random.split(key, draws))


def dispersion(samples: Samples, truth: Float[Array, "b h w c"]) -> Dispersion:
    """Compute the variance of the samples, and the variance that the truth requires: |truth - mean|^2 - variance/n.

    Both are averages per image. Over many images, their ratio is below 1 for samples that are too similar (lost
    texture), and above 1 for samples that are too noisy. For a single image, the required variance is an estimate with
    a large error, and may be negative.
    Raises ValueError for fewer than 2 samples.
    """
    count = samples.shape[0]
    if count < 2:
        raise ValueError("dispersion: needs at least 2 samples of each image.")
    variance = jnp.var(samples, axis=0, ddof=1).mean((1, 2, 3))
    error = jnp.square(truth - samples.mean(0)).mean((1, 2, 3))
    return Dispersion(variance, error - variance / count)


def measure_point(
    denoise: Denoiser,
    schedule: Schedule,
    z_lr: Float[Array, "b h w c"],
    hr: Float[Array, "b H W 3"],
    decode: Decode,
    key: Key[Array, ""],
    *,
    draws: int = 4,
    sampler: str = "ancestral",
    guidance: Sequence[Guidance] = (),
    border: int = 0,
) -> Point:
    """Draw samples, decode them, and measure their point. Compare only points of one `key`. Pure; jit it.

    Args:
        denoise, schedule, z_lr, sampler, guidance: see `jaxsr.diffusion.sample`.
        hr: the original, float32 in [0, 1].
        decode: function from latents to images of about [0, 1].
        key: key of the noise, and of the places and projections of the texture distance.
        draws: samples per image, at least 2.
        border: pixels left out of the PSNR on each side; the x4 benchmarks leave out 4.
    """
    sample_key, texture_key = jax.random.split(key)
    latents = draw(denoise, schedule, z_lr, sample_key, draws, sampler=sampler, guidance=guidance)
    images = jax.lax.map(decode, latents)
    variance, needed = dispersion(images, hr)

    def score(image: Float[Array, "b H W 3"]) -> tuple[PerImage, ...]:
        image = jnp.clip(image, 0, 1)
        return (
            jnp.square(image - hr).mean((1, 2, 3)),
            psnr(image, hr, border=border, luma=True),
            texture_distance(image, hr, texture_key),
            high_frequency_ratio(image, hr),
        )

    scores = jax.tree.map(lambda values: values.mean(0), jax.lax.map(score, images))
    return Point(variance, needed, *scores)

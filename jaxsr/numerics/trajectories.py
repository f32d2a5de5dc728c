"""The paths of the SR, HR and LR images, and the spectrum of the error.

The paper claims that the paths lie on one line (Fig. 5); `alignment` and `pca_plane` test this.
Paths have index t = 0..T, x_0 first, and share their noise.
"""

from typing import Any, Literal, NamedTuple, get_args

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxsr.diffusion import Denoiser, Noise, Schedule, trajectory
from jaxsr.diffusion.process import Latent
from jaxsr.guidance.moments import reference_path

ReferenceKind = Literal["diffusion", "inversion", "oracle"]
REFERENCE_KINDS: tuple[ReferenceKind, ...] = get_args(ReferenceKind)

Path = Float[Array, "t b h w c"]


class Paths(NamedTuple):
    """The states x_t of the three images, t = 0..T, x_0 first."""

    sr: Path
    hr: Path
    lr: Path


def paths(
    denoise: Denoiser,
    schedule: Schedule,
    z_lr: Float[Array, "b h w c"],
    z_hr: Float[Array, "b h w c"],
    noise: Noise,
    *,
    reference: ReferenceKind = "diffusion",
    sampler: str = "ancestral",
) -> Paths:
    """Compute the sampler's path, and beside it the paths of the HR and LR images. Pure; jit it.

    `reference` decides how the x_t of the HR and LR images are made:
    - `diffusion`: equation (F) with the eps of the sampler's start for all t (the paper's ForwardODE);
    - `inversion`: HR by the inverse of the deterministic sampler, LR as by `diffusion` (its inverse is of no use);
    - `oracle`: the same sampler with the same noise in every step, where the image itself replaces the network. The
      paths then differ by the prediction alone. For `ancestral`, which draws new noise in every step, only `oracle`
      shares all of it.
    Raises ValueError for another word, or an unknown sampler.
    """
    if reference not in REFERENCE_KINDS:
        raise ValueError(f"reference: no {reference!r}; choose one of {', '.join(REFERENCE_KINDS)}.")

    def sampled(predict: Denoiser) -> Path:
        steps = trajectory(predict, schedule, z_lr, noise, sampler=sampler)
        return jnp.concatenate([steps.sample[-1:], steps.x_t[::-1]])

    def diffused(image: Latent, forward_ode: Literal["diffusion", "inversion"]) -> Path:
        path = reference_path(denoise, schedule, image, z_lr, noise(jnp.int32(0)), forward_ode)
        return jnp.concatenate([image[None], path])

    if reference == "oracle":
        return Paths(sampled(denoise), *(sampled(lambda x, step, at=at: at) for at in (z_hr, z_lr)))
    return Paths(sampled(denoise), diffused(z_hr, reference), diffused(z_lr, "diffusion"))


def cosine(a: Float[Any, "*n h w c"], b: Float[Any, "*n h w c"]) -> Float[np.ndarray, "*n"]:
    """Compute the cosine of the angle between vectors of h w c values. It is NaN if one of them is zero."""
    a, b = (np.asarray(values, np.float64) for values in (a, b))
    dot, lengths = (a * b).sum((-3, -2, -1)), np.square(a).sum((-3, -2, -1)) * np.square(b).sum((-3, -2, -1))
    return np.divide(dot, np.sqrt(lengths), out=np.full_like(dot, np.nan), where=lengths > 0)


def alignment(found: Paths) -> Float[np.ndarray, "t b"]:
    """Compute cos(SR -> HR, SR -> LR) at t = 0..T: -1 if SR lies between the two on their line, +1 if it lies beyond.

    If the paths lie on one line, as the paper claims, the cosine is near -1 or 1. But noise can imitate this: SR may
    have its own noise while HR and LR share theirs (`ancestral` against `diffusion`). Both directions are then mostly
    the difference of the two noises, and the cosine is near 1 at large t for any images. `oracle` and `deterministic`
    are free of this effect. At t = T, where the chain starts at the LR image's own x_T, the direction is only rounding
    error, and the cosine is NaN.
    """
    sr, hr, lr = (np.asarray(path, np.float64) for path in found)
    to_lr = lr - sr
    nothing = np.abs(to_lr).max((-3, -2, -1), keepdims=True) < 1e-5 * np.abs(sr).max()
    return cosine(hr - sr, np.where(nothing, 0.0, to_lr))


class Plane(NamedTuple):
    """The points of the paths in the plane of two principal components, and each component's share of the variance."""

    points: dict[str, Float[np.ndarray, "t 2"]]
    explained: Float[np.ndarray, " k"]


def pca_plane(found: Paths, image: int = 0) -> Plane:
    """Find the plane that holds most of the three paths of one image of the batch, by a principal component analysis.

    `explained` holds the shares of all components in falling order; the first two are those of the plane. Noise alone
    gives a high share: with three equal images, whose paths are only noise, the plane holds over 95 % at 4 steps.
    """
    each = [np.asarray(path[:, image], np.float64).reshape(len(path), -1) for path in found]
    points = np.concatenate(each)
    left, sizes, _ = np.linalg.svd(points - points.mean(0), full_matrices=False)
    coordinates = np.split(left[:, :2] * sizes[:2], len(each))
    return Plane(dict(zip(found._fields, coordinates, strict=True)), np.square(sizes) / np.square(sizes).sum())


class Spectrum(NamedTuple):
    """The mean power per radial frequency (cycles per pixel, 0 to 0.5), one row per image; see `radial_spectrum`."""

    frequency: Float[np.ndarray, " k"]
    power: Float[np.ndarray, "b k"]


def radial_spectrum(images: Float[Any, "b h w c"], bins: int = 32) -> Spectrum:
    """Compute the power in rings of equal width up to the Nyquist frequency, 0.5 cycles per pixel.

    The power is the mean of |FFT|^2 / (h w) over a ring and the channels: for white noise of variance v it is v in
    every ring. The mean of every image is subtracted first. Frequencies beyond 0.5 (corners of the square) are left
    out, and rings without any frequency are NaN. The power of SR - HR shows where the error is. The power of SR divided
    by that of HR shows what is lost.
    """
    values = np.asarray(images, np.float64)
    values = values - values.mean((1, 2), keepdims=True)
    _, h, w, _ = values.shape
    power = (np.square(np.abs(np.fft.fft2(values, axes=(1, 2)))) / (h * w)).mean(-1)
    radius = np.hypot(np.fft.fftfreq(h)[:, None], np.fft.fftfreq(w)[None])
    ring = np.minimum((radius * 2 * bins).astype(int), bins - 1)
    used = (radius <= 0.5) & (radius > 0)
    counts = np.bincount(ring[used], minlength=bins)
    sums = np.stack([np.bincount(ring[used], one[used], bins) for one in power])
    means = np.divide(sums, counts, out=np.full_like(sums, np.nan), where=counts > 0)
    return Spectrum((np.arange(bins) + 0.5) / bins / 2, means)

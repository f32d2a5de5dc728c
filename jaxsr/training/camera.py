"""The degradations `photo` and `photo_mild`: what cameras, software and the web do to photographs, little or much.

A part of the examples is reduced bicubically, a part as a camera would see the scene from farther away (`camera`), and
the rest by the second-order degradation of Real-ESRGAN, with somewhat narrower ranges than its paper has.
`benchmarks/degradations.py` compares the sharpness, noise and JPEG blocks of the second part with real LR images.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from jaxsr.training.degradation import (
    FILTERS,
    LUMA,
    Degradation,
    Pixels,
    Range,
    RealEsrganConfig,
    RoundConfig,
    bicubic,
    draw_quality,
    draw_sigmas,
    jpeg,
    real_esrgan,
    resize,
    to_uint8,
)
from jaxsr.training.kernels import blur, mahalanobis, normalised

RESIZES = (*FILTERS, Image.Resampling.LANCZOS)

STRONG = RealEsrganConfig(
    first=RoundConfig(sigma=(0.2, 2.5), noise_sigma=(1.0, 20.0), poisson_scale=(0.05, 2.0), jpeg_quality=(40, 95)),
    second=RoundConfig(
        blur_probability=0.7,
        sigma=(0.2, 1.2),
        resize_probabilities=(0.3, 0.4, 0.3),
        resize_range=(0.4, 1.2),
        noise_sigma=(1.0, 15.0),
        poisson_scale=(0.05, 1.5),
        jpeg_quality=(40, 95),
    ),
    final_sinc_probability=0.5,
)
"""The second-order degradation of `photo`."""


@dataclass(frozen=True)
class CameraConfig:
    """The parameters of `camera`. Values are drawn uniformly from a range.

    They are chosen so that the sharpness and JPEG blocks of the results resemble those of photographs of one scene at
    two focal lengths (RealSR). There is more noise than in those, which were taken in good light.
    """

    blur_sigma: Range = (0.4, 3.2)
    """Standard deviation of the lens blur, in HR pixels."""
    disc_probability: float = 0.3
    """Probability that the lens is out of focus: the blur is a plateau with soft edges instead of a Gaussian."""
    isotropic_probability: float = 0.6
    """Probability that a blur is the same in all directions."""
    two_resizes_probability: float = 0.2
    """Probability that the image is reduced in two steps, with a size between HR and LR in between."""
    noise_probability: float = 0.6
    """Probability of noise."""
    shot_noise: Range = (0.0, 0.03)
    """Standard deviation of the shot noise of a white pixel, of full white; it falls with the root of the pixel."""
    read_noise: Range = (0.0, 0.012)
    """Standard deviation of the noise that does not depend on the pixel, of full white."""
    grain_sigma: Range = (0.3, 0.9)
    """Width of the grain: noise that is white on the sensor is correlated after the camera has made colours of it."""
    grey_share: Range = (0.3, 0.9)
    """Share of the noise that is the same in the three channels."""
    sharpen_probability: float = 0.3
    """Probability that the camera sharpens."""
    sharpen_amount: Range = (0.2, 1.0)
    """Strength of the unsharp mask; its halos are what the network has to undo."""
    sharpen_sigma: Range = (0.6, 1.4)
    """Width of the unsharp mask in LR pixels."""
    jpeg_probability: float = 0.4
    """Probability that the result is a JPEG."""
    jpeg_quality: tuple[int, int] = (65, 98)
    """Lowest and highest JPEG quality factor, both included. Chroma subsampling is 4:4:4, 4:2:2 or 4:2:0."""


GOOD_LIGHT = CameraConfig(shot_noise=(0.0, 0.015), read_noise=(0.0, 0.006))
"""Half the noise. `benchmarks.degradations` then reads as much from its results as from RealSR's photographs.

The bundled calibrations of `photo-x4` are for it.
"""


def photo(hr: UInt8[np.ndarray, "h w 3"], scale: int, rng: np.random.Generator) -> UInt8[np.ndarray, "p q 3"]:
    """Reduce bicubically (15 %), as a camera does (45 %), or with the second-order degradation (40 %).

    Raises ValueError if a side of `hr` is not a multiple of the scale.
    """
    return _mixture(hr, scale, rng, 0.15)


def photo_mild(hr: UInt8[np.ndarray, "h w 3"], scale: int, rng: np.random.Generator) -> UInt8[np.ndarray, "p q 3"]:
    """Reduce as `photo` does, but bicubically in 30 % of the cases and with the second-order degradation in 25 %."""
    return _mixture(hr, scale, rng, 0.3)


def _mixture(hr: np.ndarray, scale: int, rng: np.random.Generator, bicubic_share: float) -> np.ndarray:
    kind = rng.random()
    if kind < bicubic_share:
        return bicubic(hr, scale, rng)
    return camera(hr, scale, rng) if kind < bicubic_share + 0.45 else real_esrgan(hr, scale, rng, STRONG)


def camera(
    hr: UInt8[np.ndarray, "h w 3"], scale: int, rng: np.random.Generator, config: CameraConfig | None = None
) -> UInt8[np.ndarray, "p q 3"]:
    """Blur by a lens, reduce to the LR size, add shot and read noise, sharpen, and compress to JPEG."""
    config = config or CameraConfig()
    h, w = (side // scale for side in hr.shape[:2])
    x = _lens(hr / np.float32(255), rng, config)
    if rng.random() < config.two_resizes_probability:
        between = rng.uniform(1.1, scale)
        x = resize(x, (round(h * between), round(w * between)), RESIZES[rng.integers(len(RESIZES))])
    x = np.clip(resize(x, (h, w), RESIZES[rng.integers(len(RESIZES))]), 0, 1)
    if rng.random() < config.noise_probability:
        x = np.clip(x + _sensor_noise(x, rng, config), 0, 1)
    if rng.random() < config.sharpen_probability:
        soft = blur(x, _gaussian(rng.uniform(*config.sharpen_sigma)))
        x = np.clip(x + np.float32(rng.uniform(*config.sharpen_amount)) * (x - soft), 0, 1)
    if rng.random() < config.jpeg_probability:
        x = jpeg(x, draw_quality(rng, config.jpeg_quality), subsampling=int(rng.integers(3)))
    return to_uint8(x)


DEGRADATIONS: Mapping[str, Degradation] = {
    "bicubic": bicubic,
    "real_esrgan": real_esrgan,
    "photo": photo,
    "photo_mild": photo_mild,
}
"""The degradations by name."""


def _lens(x: Pixels, rng: np.random.Generator, config: CameraConfig) -> Pixels:
    sigmas = draw_sigmas(rng, config.blur_sigma, config.isotropic_probability)
    q = mahalanobis(_size(max(sigmas)), *sigmas, rng.uniform(-np.pi, np.pi))
    disc = rng.random() < config.disc_probability
    # A disc of radius 2 sigma has the variance sigma^2. Its edge is about a pixel wide.
    kernel = 1 / (1 + np.exp((np.sqrt(q) - 2) * 2 * max(sigmas))) if disc else np.exp(-0.5 * q)
    return blur(x, normalised(kernel))


def _sensor_noise(x: Pixels, rng: np.random.Generator, config: CameraConfig) -> Pixels:
    """Draw noise with the variance a x + b of a sensor, partly grey, with the grain of a developed image."""
    grey = rng.uniform(*config.grey_share)
    white = rng.standard_normal((*x.shape[:2], 4), np.float32)
    noise = np.float32(grey**0.5) * white[..., 3:] + np.float32((1 - grey) ** 0.5) * white[..., :3]
    kernel = _gaussian(rng.uniform(*config.grain_sigma))
    noise = blur(noise, kernel / np.sqrt((kernel**2).sum()))
    shot, read = map(np.float32, (rng.uniform(*config.shot_noise), rng.uniform(*config.read_noise)))
    return noise * np.sqrt(shot**2 * (x @ LUMA)[..., None] + read**2)


def _gaussian(sigma: float) -> np.ndarray:
    return normalised(np.exp(-0.5 * mahalanobis(_size(sigma), sigma, sigma, 0.0)))


def _size(sigma: float) -> int:
    """Return an odd size that holds a kernel of this width."""
    return 2 * int(np.ceil(3 * sigma)) + 1

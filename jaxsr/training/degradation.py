"""Degradations of a high-resolution photograph to a low-resolution (LR) training input, in NumPy and Pillow.

They run on the host. A degradation is a function `degrade(hr, scale, rng)` of a uint8 [h, w, 3] image whose sides are
multiples of the scale. It returns the uint8 [h/scale, w/scale, 3] LR image, and draws all its randomness from `rng`.
`real_esrgan` is the second-order degradation of X. Wang et al., "Real-ESRGAN", arXiv:2107.10833, sections 3 and 4.1.
"""

import io
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image

from jaxsr.imaging.resize import downsample_bicubic_uint8
from jaxsr.training.kernels import KERNEL_SIZES, Kernel, blur, draw_sinc, mahalanobis, normalised

Degradation = Callable[[np.ndarray, int, np.random.Generator], np.ndarray]
Range = tuple[float, float]
Pixels = Float[np.ndarray, "_ _ 3"]

FILTERS = (Image.Resampling.BOX, Image.Resampling.BILINEAR, Image.Resampling.BICUBIC)
LUMA = np.array([0.299, 0.587, 0.114], np.float32)


@dataclass(frozen=True)
class RoundConfig:
    """The parameters of one round of blur, resize, noise and JPEG. The defaults are the paper's first round.

    Values are drawn uniformly from a range. The paper leaves the parameters marked * open; they are set as in the
    training options that its authors published.
    """

    blur_probability: float = 1.0
    """Probability that the round blurs at all."""
    sinc_probability: float = 0.1
    """Probability that the blur kernel is a sinc filter (ringing, overshoot)."""
    shape_probabilities: tuple[float, float, float] = (0.7, 0.15, 0.15)
    """Probabilities of a Gaussian, a generalized Gaussian and a plateau-shaped kernel, if it is not a sinc filter."""
    isotropic_probability: float = 0.69
    """* Probability that one of these three kernels is isotropic; if not, two widths and an angle are drawn."""
    sigma: Range = (0.2, 3.0)
    """Standard deviation of the blur, in pixels."""
    beta_generalized: Range = (0.5, 4.0)
    """Shape parameter of generalized Gaussian kernels; 1 is the Gaussian."""
    beta_plateau: Range = (1.0, 2.0)
    """Shape parameter of plateau-shaped kernels."""
    resize_probabilities: tuple[float, float, float] = (0.2, 0.7, 0.1)
    """* Probabilities of enlarging, shrinking and keeping the size."""
    resize_range: Range = (0.15, 1.5)
    """* Smallest and largest resize factor: of the HR size in the first round, of the LR size in the second."""
    gaussian_probability: float = 0.5
    """Probability of Gaussian noise; otherwise the noise is Poisson."""
    noise_sigma: Range = (1.0, 30.0)
    """Standard deviation of the Gaussian noise, in grey levels of 255."""
    poisson_scale: Range = (0.05, 3.0)
    """Strength of the Poisson noise; 1 is the shot noise of one photon per grey level."""
    gray_probability: float = 0.4
    """Probability that the noise is the same in the three channels."""
    jpeg_quality: tuple[int, int] = (30, 95)
    """Lowest and highest JPEG quality factor, both included."""


@dataclass(frozen=True)
class RealEsrganConfig:
    """Parameters of the second-order degradation of arXiv:2107.10833, section 4.1."""

    first: RoundConfig = RoundConfig()
    """First round, at the size of the HR image."""
    second: RoundConfig = RoundConfig(
        blur_probability=0.8,
        sigma=(0.2, 1.5),
        resize_probabilities=(0.3, 0.4, 0.3),
        resize_range=(0.3, 1.2),
        noise_sigma=(1.0, 25.0),
        poisson_scale=(0.05, 2.5),
    )
    """Second round, at about the size of the LR image; milder."""
    final_sinc_probability: float = 0.8
    """Probability of the last sinc filter, which comes before or after the last JPEG with equal probability."""


def bicubic(hr: UInt8[np.ndarray, "h w 3"], scale: int, rng: np.random.Generator) -> UInt8[np.ndarray, "p q 3"]:
    """Downsample with MATLAB's antialiased bicubic filter. Deterministic: it draws nothing from `rng`."""
    del rng
    return downsample_bicubic_uint8(hr, scale)


def real_esrgan(
    hr: UInt8[np.ndarray, "h w 3"], scale: int, rng: np.random.Generator, config: RealEsrganConfig | None = None
) -> UInt8[np.ndarray, "p q 3"]:
    """Apply the Real-ESRGAN degradation: two rounds of blur, resize, noise and JPEG, and a last sinc filter.

    The sinc filter follows the last resize, to the LR size. Both come before or after the second JPEG (section 3.3).
    Raises ValueError if a side of `hr` is not a multiple of the scale.
    """
    config = config or RealEsrganConfig()
    h, w, _ = hr.shape
    if h % scale or w % scale:
        raise ValueError(
            f"an image of {h} x {w} pixels has no LR image of scale {scale}; crop its sides to multiples of {scale}."
        )
    size = h // scale, w // scale
    x = blur_resize_noise(hr / np.float32(255), (h, w), rng, config.first)
    x = jpeg(x, draw_quality(rng, config.first.jpeg_quality))
    x = blur_resize_noise(x, size, rng, config.second)
    quality = draw_quality(rng, config.second.jpeg_quality)
    if rng.random() < 0.5:
        x = jpeg(final_sinc(x, size, rng, config.final_sinc_probability), quality)
    else:
        x = final_sinc(jpeg(x, quality), size, rng, config.final_sinc_probability)
    return to_uint8(x)


def blur_resize_noise(x: Pixels, size: tuple[int, int], rng: np.random.Generator, config: RoundConfig) -> Pixels:
    """Apply the first three operations of a round to [0, 1] pixels. Resize factors are relative to `size` (h, w)."""
    if rng.random() < config.blur_probability:
        x = blur(x, draw_kernel(rng, config))
    factor = draw_factor(rng, config)
    h, w = (max(1, round(n * factor)) for n in size)
    x = resize(x, (h, w), FILTERS[rng.integers(3)])
    return add_noise(x, rng, config)


def final_sinc(x: Pixels, size: tuple[int, int], rng: np.random.Generator, probability: float) -> Pixels:
    """Resize to the LR size, then apply the last sinc filter with the given probability."""
    x = resize(x, size, FILTERS[rng.integers(3)])
    return np.clip(blur(x, draw_sinc(rng)), 0, 1) if rng.random() < probability else x


def draw_kernel(rng: np.random.Generator, config: RoundConfig) -> Kernel:
    """Draw a random blur kernel of a round. Its sum is 1."""
    if rng.random() < config.sinc_probability:
        return draw_sinc(rng)
    size, shape = int(rng.choice(KERNEL_SIZES)), int(rng.choice(3, p=config.shape_probabilities))
    sigmas = draw_sigmas(rng, config.sigma, config.isotropic_probability)
    q = mahalanobis(size, *sigmas, rng.uniform(-np.pi, np.pi))
    if shape == 2:
        return normalised(1 / (1 + q ** rng.uniform(*config.beta_plateau)))
    beta = rng.uniform(*config.beta_generalized) if shape == 1 else 1.0
    return normalised(np.exp(-0.5 * q**beta))


def draw_sigmas(rng: np.random.Generator, sigma: Range, isotropic_probability: float) -> tuple[float, float]:
    """Draw the standard deviations of a blur along its two axes; they are equal with the given probability."""
    first, second = rng.uniform(*sigma, size=2)
    return (first, first) if rng.random() < isotropic_probability else (first, second)


def draw_factor(rng: np.random.Generator, config: RoundConfig) -> float:
    """Draw a random resize factor: above 1, below 1, or 1."""
    low, high = config.resize_range
    up, down = rng.uniform(1, high), rng.uniform(low, 1)
    return (up, down, 1.0)[rng.choice(3, p=config.resize_probabilities)]


def resize(x: Pixels, size: tuple[int, int], resample: Image.Resampling) -> Pixels:
    """Resize to (h, w) with Pillow's area, bilinear or bicubic filter, in floating point."""
    if x.shape[:2] == size:
        return x
    h, w = size
    channels = (Image.fromarray(np.ascontiguousarray(x[..., c], np.float32)) for c in range(3))
    return np.stack([np.asarray(c.resize((w, h), resample)) for c in channels], axis=-1)


def add_noise(x: Pixels, rng: np.random.Generator, config: RoundConfig) -> Pixels:
    """Add Gaussian or Poisson noise, coloured or grey, and clip the result to [0, 1]."""
    x = np.clip(x, 0, 1)
    gray = rng.random() < config.gray_probability
    source = x @ LUMA[:, None] if gray else x
    if rng.random() < config.gaussian_probability:
        noise = np.float32(rng.uniform(*config.noise_sigma) / 255) * rng.standard_normal(source.shape, np.float32)
    else:
        noise = np.float32(rng.uniform(*config.poisson_scale)) * (
            rng.poisson(source * 255).astype(np.float32) / 255 - source
        )
    return np.clip(x + noise, 0, 1)


def draw_quality(rng: np.random.Generator, quality: tuple[int, int]) -> int:
    """Draw a JPEG quality factor of a range, both ends included."""
    return int(rng.integers(*quality, endpoint=True))


def jpeg(x: Pixels, quality: int, subsampling: int = 2) -> Pixels:
    """Compress to JPEG in memory and read it back. `subsampling` of the colours: 0 is 4:4:4, 1 is 4:2:2, 2 is 4:2:0."""
    with io.BytesIO() as buffer:
        Image.fromarray(to_uint8(x)).save(buffer, "JPEG", quality=quality, subsampling=subsampling)
        return np.asarray(Image.open(buffer)) / np.float32(255)


def to_uint8(x: Pixels) -> UInt8[np.ndarray, "h w 3"]:
    """Clip pixels to [0, 1] and round them to uint8."""
    return np.round(np.clip(x, 0, 1) * 255).astype(np.uint8)

"""Blur kernels of the random degradations, and filtering with them (X. Wang et al., arXiv:2107.10833, section 3)."""

import numpy as np
from jaxtyping import Float, Float64
from scipy.fft import irfft2, next_fast_len, rfft2
from scipy.special import j1

Kernel = Float64[np.ndarray, "k k"]

KERNEL_SIZES = range(7, 22, 2)


def mahalanobis(size: int, sigma_1: float, sigma_2: float, theta: float) -> Kernel:
    """Evaluate C^T Sigma^-1 C on a grid centred at zero, with Sigma = R(theta) diag(sigma^2) R(theta)^T."""
    i, j = np.mgrid[:size, :size] - size // 2
    u, v = np.cos(theta) * j + np.sin(theta) * i, np.cos(theta) * i - np.sin(theta) * j
    return (u / sigma_1) ** 2 + (v / sigma_2) ** 2


def sinc_kernel(size: int, cutoff: float) -> Kernel:
    """Make a circular low-pass filter with a cutoff frequency in radians per pixel (section 3.3). Its sum is 1."""
    i, j = np.mgrid[:size, :size] - size // 2
    r = np.hypot(i, j)
    # J1(z) / z tends to 1/2 at the centre.
    return normalised(np.where(r == 0, cutoff / 2, j1(cutoff * r) / np.maximum(r, 1)))


def draw_sinc(rng: np.random.Generator) -> Kernel:
    """Draw a random sinc filter. The paper gives no range of cutoffs; the range here is pi/3 to pi."""
    return sinc_kernel(int(rng.choice(KERNEL_SIZES)), rng.uniform(np.pi / 3, np.pi))


def normalised(kernel: Kernel) -> Kernel:
    """Divide a kernel by its sum, so that it keeps the mean of an image."""
    return kernel / kernel.sum()


def blur(x: Float[np.ndarray, "h w 3"], kernel: Kernel) -> Float[np.ndarray, "h w 3"]:
    """Filter with an odd-sized kernel and reflected borders, by FFT. The border that the FFT wraps is cut off."""
    r = kernel.shape[0] // 2
    padded = np.pad(x, ((r, r), (r, r), (0, 0)), mode="reflect").transpose(2, 0, 1)
    h, w = padded.shape[1:]
    shape = next_fast_len(h, True), next_fast_len(w, True)
    spectra = (np.asarray(rfft2(image, shape)) for image in (padded, kernel.astype(x.dtype)))
    blurred = np.asarray(irfft2(np.multiply(*spectra), shape))
    return blurred[:, 2 * r : h, 2 * r : w].transpose(1, 2, 0)

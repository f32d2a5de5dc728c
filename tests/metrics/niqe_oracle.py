"""Compute NIQE of one luma image in NumPy and SciPy, float64, one block and one feature at a time."""

import numpy as np
from scipy import ndimage
from scipy.special import gamma

from jaxsr.imaging.resize import bicubic_matrix

SHAPES = np.arange(0.2, 10.0005, 0.001)
RATIOS = gamma(2 / SHAPES) ** 2 / (gamma(1 / SHAPES) * gamma(3 / SHAPES))


def score(luma: np.ndarray, mean: np.ndarray, covariance: np.ndarray) -> float:
    """Return sqrt((m1 - m2)^T pinv((S1 + S2) / 2) (m1 - m2)), with luma in 0..255."""
    found = features(luma)
    difference = mean - found.mean(axis=0)
    middle = np.linalg.pinv((covariance + np.cov(found, rowvar=False)) / 2)
    return float(np.sqrt(difference @ middle @ difference))


def features(luma: np.ndarray) -> np.ndarray:
    h, w = (n // 96 * 96 for n in luma.shape)
    full = np.asarray(luma, np.float64)[:h, :w]
    half = bicubic_matrix(h, h // 2) @ full @ bicubic_matrix(w, w // 2).T
    return np.hstack([_scale_features(full, 96), _scale_features(half, 48)])


def sharpness(luma: np.ndarray) -> np.ndarray:
    h, w = (n // 96 * 96 for n in luma.shape)
    _, deviation = _moments(np.asarray(luma, np.float64)[:h, :w])
    return np.array([deviation[i : i + 96, j : j + 96].mean() for i in range(0, h, 96) for j in range(0, w, 96)])


def _moments(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    y, z = np.mgrid[-3:4, -3:4]
    window = np.exp(-(y**2 + z**2) / (2 * (7 / 6) ** 2))
    window /= window.sum()
    mean = ndimage.convolve(x, window, mode="nearest")
    return mean, np.sqrt(np.abs(ndimage.convolve(x * x, window, mode="nearest") - mean**2))


def _scale_features(x: np.ndarray, side: int) -> np.ndarray:
    mean, deviation = _moments(x)
    coefficients = (x - mean) / (deviation + 1)
    rows, columns = (range(0, n, side) for n in x.shape)
    return np.array([_block_features(coefficients[i : i + side, j : j + side]) for i in rows for j in columns])


def _block_features(block: np.ndarray) -> list[float]:
    shape, left, right = _fit(block)
    found = [shape, (left + right) / 2]
    for shift in ((0, 1), (1, 0), (1, 1), (1, -1)):
        shape, left, right = _fit(block * np.roll(block, shift, axis=(0, 1)))
        found += [shape, (right - left) * gamma(2 / shape) / gamma(1 / shape), left, right]
    return found


def _fit(x: np.ndarray) -> tuple[float, float, float]:
    left, right = (np.sqrt(np.mean(x[side] ** 2)) for side in (x < 0, x > 0))
    skew = left / right
    ratio = np.mean(np.abs(x)) ** 2 / np.mean(x**2) * (skew**3 + 1) * (skew + 1) / (skew**2 + 1) ** 2
    shape = SHAPES[np.argmin((RATIOS - ratio) ** 2)]
    factor = np.sqrt(gamma(1 / shape) / gamma(3 / shape))
    return shape, left * factor, right * factor

"""Corrections of a result's colours by those of its input: `wavelet` and `adain`, on the host, band by band.

`adain` gives every channel the mean and the standard deviation of the input's (adaptive instance normalisation of Huang
and Belongie, ICCV 2017). `wavelet` replaces the low frequencies by those of the enlarged input (Wang et al., IJCV 2024,
describe both for super-resolution). Low is what is left after LEVELS steps of the a trous transform with the kernel
(1, 2, 1) / 4, whose taps are 1, 2, 4, ... pixels apart (Holschneider et al., 1990).
"""

from collections.abc import Iterator

import numpy as np
from jaxtyping import Float, Float64, Num
from scipy.ndimage import correlate1d

from jaxsr.choices import COLOUR_FIXES, ColourFix, check_word
from jaxsr.imaging.pixels import from_float
from jaxsr.imaging.resize import enlarge_rows

LEVELS = 5
REACH = 2**LEVELS - 1
"""Pixels from a pixel to the farthest one that its low frequencies depend on."""
_BAND = 128  # rows


def fix_colours(out: Num[np.ndarray, "H W *c"], lr: Float[np.ndarray, "h w *c"], kind: ColourFix) -> None:
    """Correct the colours of a result in place. `none` changes nothing.

    Args:
        out: the result, (H, W) or (H, W, c), uint8, uint16, or float in [0, 1]; it is clipped and rounded to its type.
        lr: its input, with the same channels, float in [0, 1], whose size divides that of the result.
        kind: `none`, `wavelet` or `adain`.
    Raises:
        ValueError: for another word.
    """
    check_word("colour_fix", kind, COLOUR_FIXES)
    if kind == "none":
        return
    sr, small = (x[..., None] if x.ndim == 2 else x for x in (out, lr))
    if kind == "adain":
        _adain(sr, small)
    else:
        _wavelet(sr, small)


def colour_moments(
    pixels: Num[np.ndarray, "h w c"],
) -> tuple[Float64[np.ndarray, " c"], Float64[np.ndarray, " c"]]:
    """Return the mean and the standard deviation of every channel, in [0, 1], computed in float64 by bands."""
    bands = list(_bands(pixels))
    mean = np.sum([band.sum((0, 1)) for _, band in bands], 0) / (pixels.shape[0] * pixels.shape[1])
    squares = np.sum([np.square(band - mean).sum((0, 1)) for _, band in bands], 0)
    return mean, np.sqrt(squares / (pixels.shape[0] * pixels.shape[1]))


def low_frequencies(x: Float64[np.ndarray, "h w c"]) -> Float64[np.ndarray, "h w c"]:
    """Return the low frequencies of an image of any range, with mirrored borders (the edge pixel counts twice)."""
    for level in range(LEVELS):
        taps = np.zeros(2 ** (level + 1) + 1)
        taps[[0, 2**level, -1]] = 0.25, 0.5, 0.25
        x = correlate1d(correlate1d(x, taps, 0, mode="reflect"), taps, 1, mode="reflect")
    return x


def _adain(sr: Num[np.ndarray, "H W c"], lr: Float[np.ndarray, "h w c"]) -> None:
    (mean, deviation), (wanted_mean, wanted) = colour_moments(sr), colour_moments(lr)
    gain = wanted / np.where(deviation > 0, deviation, 1)
    for top, band in _bands(sr):
        sr[top : top + len(band)] = from_float((band - mean) * gain + wanted_mean, sr.dtype)


def _wavelet(sr: Num[np.ndarray, "H W c"], lr: Float[np.ndarray, "h w c"]) -> None:
    """Add the low frequencies of (enlarged input - result) to the result: the transform is linear.

    The rows above a band are needed as they were, so that each band is written when the next one has been computed.
    """
    height, width = sr.shape[:2]
    waiting: list[tuple[int, np.ndarray]] = []
    for top in range(0, height, _BAND):
        end = min(top + _BAND, height)
        rows = _mirrored(np.arange(top - REACH, end + REACH), height)
        values = sr[rows] / _peak(sr)
        low = low_frequencies(enlarge_rows(lr, (height, width), rows) - values)[REACH : REACH + end - top]
        fixed = from_float(values[REACH : REACH + end - top] + low, sr.dtype)
        for first, band in waiting:
            sr[first : first + len(band)] = band
        waiting = [(top, fixed)]
    for first, band in waiting:
        sr[first : first + len(band)] = band


def _bands(pixels: Num[np.ndarray, "h w c"]) -> Iterator[tuple[int, Float64[np.ndarray, "b w c"]]]:
    """Yield bands of rows as (first row, values in [0, 1])."""
    for top in range(0, len(pixels), _BAND):
        yield top, pixels[top : top + _BAND] / _peak(pixels)


def _peak(pixels: Num[np.ndarray, "..."]) -> np.float64:
    return np.float64(np.iinfo(pixels.dtype).max if np.issubdtype(pixels.dtype, np.integer) else 1)


def _mirrored(rows: np.ndarray, height: int) -> np.ndarray:
    """Map rows beyond the image to those that a mirror at its edges shows."""
    rows = np.mod(rows, 2 * height)
    return np.minimum(rows, 2 * height - 1 - rows)

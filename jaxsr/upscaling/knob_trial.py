"""A trial that proves on this machine that the knob works: a small picture, enlarged with several alphas."""

import math
from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from jaxsr.guidance.guide import Guide
from jaxsr.imaging.resize import upsample_bicubic
from jaxsr.options import Options
from jaxsr.upscaling.upscaler import Upscaler

ALPHAS = (-0.1, -0.05, 0.0, 0.05, 0.1)
SIDE = 64
_ROUNDING = 1e-3  # of values in [0, 1]: programs of other shapes round otherwise


@dataclass(frozen=True)
class KnobTrial:
    """What a trial found.

    Attributes:
        alphas: the scales, in rising order.
        residuals: root mean square of (result - enlarged input) for each alpha, in grey levels of 0..255.
        finite: whether all pixels were numbers.
        zero_is_plain: whether alpha = 0 gave the bits of the plain sampler.
        zero_gap: the largest difference in [0, 1] between the plain sampler and the guided program with a scale of 0.
    """

    alphas: tuple[float, ...]
    residuals: tuple[float, ...]
    finite: bool
    zero_is_plain: bool
    zero_gap: float

    @property
    def monotone(self) -> bool:
        """Whether a larger alpha led farther away from the input every time."""
        return all(low < high for low, high in zip(self.residuals, self.residuals[1:], strict=False))

    @property
    def problems(self) -> list[str]:
        """What is wrong, one sentence each."""
        found = [] if self.finite else ["some pixels are not numbers"]
        found += [] if self.zero_is_plain else ["alpha = 0 does not give the bits of the plain sampler"]
        found += [] if self.zero_gap <= _ROUNDING else ["the guided program with a scale of 0 is not the plain sampler"]
        found += [] if self.monotone else ["a larger alpha does not lead farther away from the input"]
        return found


def try_knob(upscaler: Upscaler, alphas: tuple[float, ...] = ALPHAS) -> KnobTrial:
    """Enlarge a small picture plainly, with alpha = 0, and with all `alphas`, which contain 0, and compare."""
    picture, scale = trial_picture(), upscaler.preset.scale
    plain, zero = upscaler.upscale(picture), upscaler.upscale(picture, alpha=0.0)
    side = scale * SIDE
    panels = np.empty((side, side, len(alphas), 3), np.float32)
    upscaler.enlarge(picture, panels, Options(), guide=Guide(strip=alphas), seed=0)
    enlarged = picture if scale == 1 else np.asarray(upsample_bicubic(jnp.asarray(picture[None]), scale))[0]
    gaps = [panels[:, :, i] - enlarged for i in range(len(alphas))]
    return KnobTrial(
        alphas=alphas,
        residuals=tuple(255 * math.sqrt(float(np.square(gap, dtype=np.float64).mean())) for gap in gaps),
        finite=bool(np.isfinite(panels).all() and np.isfinite(plain).all()),
        zero_is_plain=plain.tobytes() == zero.tobytes(),
        zero_gap=float(np.abs(panels[:, :, alphas.index(0.0)] - plain).max()),
    )


def trial_picture() -> Float[np.ndarray, "h w 3"]:
    """Make the picture of a trial: a slope, edges, stripes and grain, away from black and white."""
    y, x = np.mgrid[:SIDE, :SIDE] / SIDE
    grain = np.random.default_rng(0).normal(0, 0.02, (SIDE, SIDE, 3))
    disc = ((x - 0.4) ** 2 + (y - 0.5) ** 2 < 0.06)[..., None] * np.array([0.25, -0.1, -0.2])
    stripes = 0.08 * np.sign(np.sin(40 * x + 12 * y))[..., None]
    slope = np.stack([0.35 + 0.3 * x, 0.4 + 0.2 * y, 0.6 - 0.2 * x], -1)
    return np.clip(slope + disc + stripes + grain, 0.05, 0.95).astype(np.float32)

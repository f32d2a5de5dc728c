"""What makes a result of an LR image: bicubic, or a model under some guidance."""

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from jaxsr.evaluation.images import Pair, Ready, to_float
from jaxsr.guidance.conflicts import Given, find_conflict, refuse
from jaxsr.imaging.resize import bicubic_matrix
from jaxsr.options import Options
from jaxsr.storage import sha256_file
from jaxsr.upscaling.plan import plan_run
from jaxsr.upscaling.upscaler import Upscaler

BICUBIC = "bicubic"


@dataclass(frozen=True, eq=False)
class Method:
    """A way to enlarge.

    Attributes:
        name: in tables.
        make: (pair with its LR image, seed) -> the result, float in about [0, 1].
        told: all that decides the results, as JSON can hold it.
        random: the seed changes the result.
    """

    name: str
    make: Callable[[Pair, int], Float[np.ndarray, "H W 3"]]
    told: dict[str, Any] = field(default_factory=dict)
    random: bool = True


def enlarge_bicubic(lr: Ready, scale: int) -> Float[np.ndarray, "H W 3"]:
    """MATLAB's bicubic (a = -0.5) enlargement of RGB pixels in [0, 1], unclipped: the `bicubic` row of the papers."""
    rows, columns = (bicubic_matrix(n, scale * n) for n in lr.shape[:2])
    return np.einsum("ph,hwc,qw->pqc", rows, to_float(lr).astype(np.float64), columns, optimize=True)


def bicubic_method(scale: int) -> Method:
    """Bicubic enlargement, the same for every seed."""

    def make(pair: Pair, seed: int) -> Float[np.ndarray, "H W 3"]:
        return enlarge_bicubic(_lr(pair), scale)

    return Method(BICUBIC, make, {"kind": BICUBIC}, random=False)


def model_method(
    upscaler: Upscaler,
    options: Options,
    *,
    name: str,
    model: str = "",
    preset: str | None = None,
    calibration: Path | None = None,
    hr_guidance: bool = False,
) -> Method:
    """Sampling with a model.

    Args:
        options: how to sample; without alpha where a preset or a reference gives it.
        name: of the method, in tables. model: as which the model was asked for.
        preset: of the calibration beside the model, or of the file `calibration`.
        hr_guidance: guide by the original itself, slope and offset fitted on each image (Eq. 10): no method, but what
            guidance by a perfect reference comes to.
    Raises:
        ValueError: for options that do not fit the model or each other.
    """
    refuse(find_conflict(Given(preset=preset is not None, calibration=calibration is not None)))
    chosen = options if preset is None else upscaler.with_preset(options, preset, calibration)
    resolved = plan_run(upscaler.preset, (1, 1), chosen).options
    asked = asdict(chosen) | {"steps": resolved.steps, "sampler": resolved.sampler}
    told = {"kind": "model", "model": model, "model_sha256": upscaler.sha256, "options": asked}
    told |= {"preset": preset, "hr_guidance": hr_guidance}
    if calibration is not None:
        told |= {"calibration_sha256": sha256_file(calibration)}

    def make(pair: Pair, seed: int) -> Float[np.ndarray, "H W 3"]:
        lr, more = to_float(_lr(pair)), {}
        if hr_guidance:
            assert pair.hr is not None
            more = {"reference": pair.hr, "reference_box": (0, 0, lr.shape[1], lr.shape[0])}
        return upscaler.upscale(lr, seed=seed, **asdict(chosen), **more)

    return Method(name, make, told)


def _lr(pair: Pair) -> Ready:
    if pair.lr is None:
        raise ValueError(f"{pair.image}: there is no LR image of it to enlarge.")
    return pair.lr

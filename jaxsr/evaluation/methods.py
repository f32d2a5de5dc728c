"""Methods that make a result from an LR image: bicubic enlargement, or a model with optional guidance."""

import warnings
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Num

from jaxsr.choices import Batch
from jaxsr.evaluation.images import Pair, Ready, to_float
from jaxsr.guidance.option_conflicts import Given, find_conflict, refuse
from jaxsr.imaging.resize import bicubic_matrix
from jaxsr.options import Options
from jaxsr.upscaling.inpainting import check_takes_mask
from jaxsr.upscaling.knob_presets import apply_knob_preset
from jaxsr.upscaling.plan import plan_run
from jaxsr.upscaling.stream import upscale_many
from jaxsr.upscaling.upscaler import Upscaler

BICUBIC = "bicubic"


@dataclass(frozen=True, eq=False)
class Method:
    """A method that enlarges images.

    Attributes:
        name: name of the method in tables.
        make: (pair with its LR image, seed) -> the result: float in about [0, 1], or whole numbers of 8 or 16 bits.
        record: everything that decides the results, as JSON values.
        random: whether the seed changes the result.
        notes: what a calibration knows against the choice of a preset or alpha, see `Upscaler.knob_notes`.
        together: number of images that devices make at a time.
        make_many: (that many pairs, seed) -> their results, each as `make` gives it; None to make one at a time.
    """

    name: str
    make: Callable[[Pair, int], Num[np.ndarray, "H W 3"]]
    record: dict[str, Any] = field(default_factory=dict)
    random: bool = True
    notes: tuple[str, ...] = ()
    together: int = 1
    make_many: Callable[[Sequence[Pair], int], list[Num[np.ndarray, "_H _W 3"]]] | None = None

    def results(self, pairs: Sequence[Pair], seed: int) -> list[Num[np.ndarray, "_H _W 3"]]:
        """Make the results of some pairs."""
        if self.make_many is None or len(pairs) == 1:
            return [self.make(pair, seed) for pair in pairs]
        return self.make_many(pairs, seed)


def enlarge_bicubic(lr: Ready, scale: int) -> Float[np.ndarray, "H W 3"]:
    """Enlarge RGB pixels by MATLAB's bicubic (a = -0.5), in [0, 1] and unclipped: the `bicubic` row of the papers."""
    rows, columns = (bicubic_matrix(n, scale * n) for n in lr.shape[:2])
    return np.einsum("ph,hwc,qw->pqc", rows, to_float(lr).astype(np.float64), columns, optimize=True)


def bicubic_method(scale: int) -> Method:
    """Make the method of bicubic enlargement. Its result is the same for every seed."""

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
    devices: int = 1,
    batch: Batch = 1,
) -> Method:
    """Make the method that samples with a model.

    Args:
        upscaler: the model.
        options: how to sample; without alpha if a preset or a reference sets it.
        name: name of the method in tables.
        model: the name by which the user requested the model.
        preset: name of a preset, from the calibration beside the model or from the file `calibration`.
        calibration: a calibration file or a folder of them; None for those beside the model.
        hr_guidance: guide by the original itself, with slope and offset fitted on each image (Eq. 10). This is not a
            usable method: it shows how well a perfect reference would guide.
        devices: number of this process's devices that make as many images at a time.
        batch: tiles per call, see `Upscaler.upscale`.
    Raises:
        ValueError: if the options do not fit the model or each other.
    """
    refuse(find_conflict(Given(preset=preset is not None, calibration=calibration is not None)))
    check_takes_mask(upscaler.preset, given=False)
    chosen, calibrated = options, {}
    if preset is not None:
        found = upscaler.find_calibration(options, calibration, preset)
        calibration, calibrated = found.path, {"calibration_sha256": found.sha256}
        chosen = apply_knob_preset(options, preset, found.calibration, reference=hr_guidance)
    resolved = plan_run(upscaler.preset, (1, 1), chosen).options
    requested = asdict(chosen) | {"steps": resolved.steps, "sampler": resolved.sampler}
    record = {"kind": "model", "model": model, "model_sha256": upscaler.sha256, "options": requested}
    record |= {"preset": preset, "hr_guidance": hr_guidance} | calibrated

    def make(pair: Pair, seed: int) -> Float[np.ndarray, "H W 3"]:
        lr, guidance = to_float(_lr(pair)), {}
        if hr_guidance:
            assert pair.hr is not None
            guidance = {"reference": pair.hr, "reference_box": (0, 0, lr.shape[1], lr.shape[0])}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # `notes` says once what they say of every image
            return upscaler.upscale(lr, seed=seed, batch=batch, **asdict(chosen), **guidance)

    def make_many(pairs: Sequence[Pair], seed: int) -> list[Float[np.ndarray, "_H _W 3"]]:
        images = [to_float(_lr(pair)) for pair in pairs]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            return [*upscale_many(upscaler, images, seed=seed, batch=batch, devices=devices, **asdict(chosen))]

    notes = tuple(upscaler.knob_notes(chosen, [chosen.alphas], preset, calibration))
    many = make_many if devices > 1 and not hr_guidance else None
    return Method(name, make, record, notes=notes, together=devices if many else 1, make_many=many)


def _lr(pair: Pair) -> Ready:
    if pair.lr is None:
        raise ValueError(f"{pair.image}: has no LR image to enlarge; give one with --lr.")
    return pair.lr

"""The file of a calibration: scales, how they were found, and what they may be used with."""

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, TypedDict

import numpy as np

from jaxsr.choices import ForwardODE, Objective, ReferenceMean, ReferenceVariance, Through
from jaxsr.diffusion.schedule import Schedule
from jaxsr.storage import write_whole
from jaxsr.version import __version__

FORMAT_VERSION = 1
PRESETS = ("open-loop", "faithful", "balanced", "vivid", "rule")
SIGN_CONVENTION = (
    "mean + scale_t (mean - z_lr): scale > 0 leads away from the LR image (perception), scale < 0 toward it "
    "(fidelity), 0 is the plain sampler; the first number is for t = 1, the last step taken."
)
_SCHEDULE_KEYS = {"eta", "kappa", "timestep_map", "input_scaling"}


class CalibrationError(ValueError):
    """A calibration file that cannot be read, or that was made for something else."""


class KnobPreset(TypedDict):
    """A named choice: one scale per step, t = 1 first, and the rule or objective that picked it."""

    scale: list[float]
    rule: str


def describe_schedule(schedule: Schedule) -> dict[str, Any]:
    """The schedule as it is written into the file."""
    return {
        "eta": schedule.eta.tolist(),
        "kappa": schedule.kappa,
        "timestep_map": schedule.timestep_map.tolist(),
        "input_scaling": schedule.input_scaling,
    }


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """A calibration; what it holds is plain JSON, so that reading gives back what was written.

    Attributes:
        model: its name, or the name of its file.
        model_sha256: of the checkpoint file.
        schedule: of `describe_schedule`, after thinning.
        sampler, thinning, precision: as of `Options`.
        through, reference_mean, reference_variance: as of `Guidance`.
        forward_ode, objective: as of `open_loop.reference_path` and `objectives.choose`.
        candidates: scales that were tried.
        data: hashes of the names and of the files, number of pairs, crop: what tells one data set from another.
        seed: of the noise.
        presets: by names among `PRESETS`.
        open_loop: of `objectives.table`.
        closed_loop: the table of the closed loop, or None.
    Raises:
        CalibrationError: for a schedule that lacks a part, or a preset of an unknown name, without one finite scale per
            step, or without a rule.
    """

    model: str
    model_sha256: str
    schedule: dict[str, Any]
    sampler: str
    thinning: str
    precision: str
    through: Through
    reference_mean: ReferenceMean
    reference_variance: ReferenceVariance
    forward_ode: ForwardODE
    objective: Objective
    candidates: list[float]
    data: dict[str, Any]
    seed: int
    presets: dict[str, KnobPreset]
    open_loop: dict[str, Any]
    closed_loop: dict[str, Any] | None = None
    sign_convention: str = SIGN_CONVENTION
    jaxsr_version: str = __version__
    format_version: int = FORMAT_VERSION

    def __post_init__(self) -> None:
        if not self.schedule.keys() >= _SCHEDULE_KEYS:
            raise CalibrationError(f"the schedule needs {', '.join(sorted(_SCHEDULE_KEYS))}.")
        for name, preset in self.presets.items():
            if name not in PRESETS:
                raise CalibrationError(f"no preset can be called {name!r}; the names are {', '.join(PRESETS)}.")
            scale = preset["scale"]
            if len(scale) != self.steps or not all(map(math.isfinite, scale)) or not preset["rule"]:
                raise CalibrationError(f"preset {name} needs a rule and {self.steps} finite scales, got {preset}.")

    @property
    def steps(self) -> int:
        """T, the number of sampling steps."""
        return len(self.schedule["eta"])

    def scale(self, preset: str) -> tuple[float, ...]:
        """The scales of a preset, one per step, t = 1 first. Raises CalibrationError if there is no such preset."""
        if preset not in self.presets:
            raise CalibrationError(f"preset: this calibration has no {preset!r}; it has {', '.join(self.presets)}.")
        return tuple(self.presets[preset]["scale"])

    @classmethod
    def read(cls, path: str | Path) -> "Calibration":
        """Read a calibration file.

        Raises CalibrationError naming the file if it holds no calibration, or one of a newer jaxsr; OSError if it
        cannot be opened.
        """
        try:
            content = json.loads(Path(path).read_text(encoding="utf-8"))
        except (json.JSONDecodeError, UnicodeDecodeError) as error:
            raise CalibrationError(f"{path}: no calibration, or cut short ({error}); make it again.") from error
        try:
            return cls(**_checked_keys(content))
        except CalibrationError as error:
            raise CalibrationError(f"{path}: {error}") from error
        except (AttributeError, KeyError, TypeError) as error:
            raise CalibrationError(f"{path}: a damaged calibration ({error!r}); calibrate again.") from error

    def write(self, path: str | Path) -> None:
        """Write the file, whole or not at all. Raises CalibrationError for a number that is not finite."""
        try:
            text = json.dumps(asdict(self), indent=1, allow_nan=False) + "\n"
        except ValueError as error:
            raise CalibrationError(f"{path}: the calibration has numbers that are not finite, not written.") from error
        write_whole(Path(path), text)


def check(calibration: Calibration, model_sha256: str, schedule: Schedule, sampler: str) -> None:
    """Raise CalibrationError unless the calibration was made for this model, this (thinned) schedule and sampler."""
    if calibration.model_sha256 != model_sha256:
        raise CalibrationError(
            f"the calibration is for other weights ({calibration.model}, sha256 {calibration.model_sha256[:12]}), "
            f"not for these ({model_sha256[:12]}): calibrate this model."
        )
    if calibration.steps != schedule.steps:
        raise CalibrationError(
            f"the calibration is for {calibration.steps} steps, not for {schedule.steps}: "
            f"take --steps {calibration.steps}, or calibrate for {schedule.steps}."
        )
    ours = describe_schedule(schedule)
    if not all(_same(calibration.schedule.get(key), value) for key, value in ours.items()):
        raise CalibrationError(
            f"the calibration is for another schedule of {schedule.steps} steps (--thinning {calibration.thinning}): "
            "take that, or calibrate for this one."
        )
    if calibration.sampler != sampler:
        raise CalibrationError(
            f"the calibration is for the sampler {calibration.sampler}, not for {sampler}: "
            f"take --sampler {calibration.sampler}, or calibrate for {sampler}."
        )


def _same(stored: Any, ours: Any) -> bool:
    """Equal, numbers up to the rounding that differs from machine to machine."""
    if isinstance(ours, str) or stored is None:
        return stored == ours
    return np.shape(stored) == np.shape(ours) and np.allclose(stored, ours, rtol=1e-9, atol=0)


def _checked_keys(content: Any) -> Mapping[str, Any]:
    if not isinstance(content, dict) or "format_version" not in content:
        raise CalibrationError("this is no calibration; make one with python -m jaxsr.calibrate.")
    if content["format_version"] != FORMAT_VERSION:
        raise CalibrationError(
            f"a calibration of format {content['format_version']}, and this jaxsr reads {FORMAT_VERSION}; update jaxsr."
        )
    names = {f.name for f in fields(Calibration)}
    if wrong := sorted(names ^ content.keys()):
        raise CalibrationError(f"keys missing or not known: {', '.join(wrong)}; calibrate again.")
    return content

"""The calibration file: guidance scales, how they were chosen, and the model, schedule and sampler they fit."""

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, TypedDict

import numpy as np

from jaxsr.choices import ForwardODE, GradientForm, Objective, ReferenceMean, ReferenceVariance, Through
from jaxsr.diffusion.schedule import Schedule
from jaxsr.plain_data import brief, convert, parse_json
from jaxsr.storage import write_whole
from jaxsr.version import __version__

FORMAT_VERSION = 3
PRESETS = ("open-loop", "fitted", "faithful", "balanced", "vivid", "rule")
SIGN_CONVENTION = (
    "mean + scale_t (mean - z_lr): scale > 0 leads away from the LR image (perception), scale < 0 toward it "
    "(fidelity), 0 is the plain sampler; the first number is for t = 1, the last step taken."
)
_SCHEDULE_KEYS = {"eta", "kappa", "timestep_map", "input_scaling"}


class CalibrationError(ValueError):
    """A calibration file that is unreadable, or that was made for another model, schedule or sampler."""


class KnobPreset(TypedDict):
    """A named choice of scales.

    Attributes:
        scale: one scale per step, t = 1 first.
        temperature: factor of the noise of every step, t = 1 first, see `jaxsr.options.Options`.
        projection: strength of the projection onto the images that reduce to the input, see `jaxsr.options.Options`.
        rule: the rule or objective that picked them.
        change: the change of every metric of the closed loop against the plain sampler; empty without a closed loop.
        warning: what a user of the preset must know, as the end of a sentence that begins with its name; or empty.
    """

    scale: list[float]
    temperature: list[float]
    projection: float
    rule: str
    change: dict[str, float]
    warning: str


def describe_schedule(schedule: Schedule) -> dict[str, Any]:
    """Return the schedule as plain JSON values, as the file stores it."""
    return {
        "eta": schedule.eta.tolist(),
        "kappa": schedule.kappa,
        "timestep_map": schedule.timestep_map.tolist(),
        "input_scaling": schedule.input_scaling,
    }


@dataclass(frozen=True)
class _StoredSchedule:
    """The part of a file that `describe_schedule` made."""

    eta: list[float]
    kappa: float
    timestep_map: list[int]
    input_scaling: str


@dataclass(frozen=True)
class _Ranges:
    """The part of the closed loop that `Calibration.knob_range` reads."""

    range: list[tuple[float, float]]
    constant_range: list[tuple[float, float]]


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """A calibration. All its values are plain JSON, so that reading a file returns exactly what was written.

    Attributes:
        model: name of the model, or of its file.
        model_sha256: SHA-256 of the checkpoint file.
        schedule: the result of `describe_schedule`, after thinning.
        sampler, thinning, precision: see `jaxsr.options.Options`.
        through, reference_mean, reference_variance: see `jaxsr.choices.GradientForm`.
        forward_ode: see `jaxsr.guidance.moments.reference_path`.
        objective: see `jaxsr.calibration.objectives.choose`.
        candidates: the grid of the closed loop, see `jaxsr.calibration.plan.Choices`.
        data: identity of the data set: hashes of the file names and of the files, number of pairs, crop.
        seed: seed of the noise.
        presets: presets by name; every name is one of `PRESETS`.
        reference: `slope` (A) and `offset` (B) of Eq. 10, fitted with c = HR, one number per step each: the preset
            `fitted` uses them where an image has an HR reference of its own.
        open_loop: the table of `jaxsr.calibration.objectives.table`; of a fit to one image, `fit` with its quality.
        closed_loop: the table of the closed loop, or None.
    Raises:
        CalibrationError: for an unknown word of the gradient's form, if the schedule lacks a key, or if a preset has an
            unknown name, no rule, or anything other than one finite scale per step.
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
    reference: dict[str, list[float]]
    open_loop: dict[str, Any]
    closed_loop: dict[str, Any] | None = None
    sign_convention: str = SIGN_CONVENTION
    jaxsr_version: str = __version__
    format_version: int = FORMAT_VERSION

    def __post_init__(self) -> None:
        try:
            _ = self.gradient
        except ValueError as error:
            raise CalibrationError(f"{error} Or calibrate again.") from error
        if not self.schedule.keys() >= _SCHEDULE_KEYS:
            raise CalibrationError(f"the schedule needs {', '.join(sorted(_SCHEDULE_KEYS))}; calibrate again.")
        for name, preset in self.presets.items():
            if name not in PRESETS:
                raise CalibrationError(f"{name!r} is not the name of a preset; use one of {', '.join(PRESETS)}.")
            if lacking := KnobPreset.__required_keys__ - preset.keys():
                raise CalibrationError(f"preset {name} lacks {', '.join(sorted(lacking))}; calibrate again.")
            scale = preset["scale"]
            if len(scale) != self.steps or not all(map(math.isfinite, scale)) or not preset["rule"]:
                raise CalibrationError(f"preset {name} needs a rule and {self.steps} finite scales, got {preset}.")
            warmth = preset["temperature"]
            if len(warmth) != self.steps or not all(math.isfinite(number) and number >= 0 for number in warmth):
                raise CalibrationError(f"preset {name} needs {self.steps} temperatures of 0 or more, got {warmth}.")
            if not 0 <= preset["projection"] <= 1:
                raise CalibrationError(f"preset {name} needs a projection from 0 to 1, got {preset['projection']}.")
        fit = [self.reference["slope"], self.reference["offset"]]
        if any(len(numbers) != self.steps or not all(map(math.isfinite, numbers)) for numbers in fit):
            raise CalibrationError(f"reference needs {self.steps} finite slopes and offsets, got {self.reference}.")

    @property
    def gradient(self) -> GradientForm:
        """The form of the gradient that the scales were found with. The file stores its three words as three keys."""
        return GradientForm(self.through, self.reference_mean, self.reference_variance)

    @property
    def steps(self) -> int:
        """T, the number of sampling steps."""
        return len(self.schedule["eta"])

    def knob_range(self, steps: int) -> list[tuple[float, float]] | None:
        """Return the calibrated range of `alpha`: (lowest, highest) scale for each of its numbers, t = 1 first.

        For one number (`steps` is 1) it runs from the best fidelity to the best perception of one scale for all steps:
        beyond it, another scale is better in both. For one number per step it holds, step by step, the scales of the
        Pareto front. Returns None without a closed loop, or if no such scales were tried.
        """
        if not self.closed_loop:
            return None
        pairs = self.closed_loop["range" if steps > 1 else "constant_range"]
        return [(float(low), float(high)) for low, high in pairs] or None

    def find(self, preset: str) -> KnobPreset:
        """Return a preset by name. Raises CalibrationError for an unknown one."""
        if preset not in self.presets:
            raise CalibrationError(f"preset: this calibration has no {preset!r}; it has {', '.join(self.presets)}.")
        return self.presets[preset]

    def scale(self, preset: str) -> tuple[float, ...]:
        """Return the scales of a preset, one per step, t = 1 first. Raises CalibrationError for an unknown preset."""
        return tuple(self.find(preset)["scale"])

    @classmethod
    def read(cls, path: str | Path) -> "Calibration":
        """Read a calibration file.

        Raises CalibrationError, which names the file, if the file is not a calibration or was written by another
        version of the format. Raises OSError if the file cannot be opened.
        """
        return cls.parse(Path(path).read_bytes(), path)

    @classmethod
    def parse(cls, data: bytes, path: str | Path) -> "Calibration":
        """Make a calibration from the content of the file `path`; see `read`."""
        try:
            content = parse_json(data)
        except ValueError as error:
            raise CalibrationError(
                f"{path}: is not a calibration file, or is truncated ({error}); calibrate again."
            ) from error
        try:
            found = convert(_checked_keys(content), cls)
            convert({key: found.schedule[key] for key in _SCHEDULE_KEYS}, _StoredSchedule, where="schedule")
            if found.closed_loop:
                names = ("range", "constant_range")
                convert({name: found.closed_loop[name] for name in names}, _Ranges, where="closed_loop")
            return found
        except CalibrationError as error:
            raise CalibrationError(f"{path}: {brief(error)}") from error
        except (ValueError, AttributeError, KeyError, TypeError) as error:
            raise CalibrationError(f"{path}: is a damaged calibration ({brief(error)}); calibrate again.") from error

    def write(self, path: str | Path) -> None:
        """Write the file completely or not at all. Raises CalibrationError for a number that is not finite."""
        try:
            text = json.dumps(asdict(self), indent=1, allow_nan=False) + "\n"
        except ValueError as error:
            raise CalibrationError(
                f"{path}: was not written because the calibration has numbers that are not finite; "
                "check the images and the checkpoint."
            ) from error
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
            f"use --steps {calibration.steps} --thinning {calibration.thinning}, or calibrate for {schedule.steps}."
        )
    ours = describe_schedule(schedule)
    if not all(_same(calibration.schedule.get(key), value) for key, value in ours.items()):
        raise CalibrationError(
            f"the calibration is for another schedule of {schedule.steps} steps (--thinning {calibration.thinning}): "
            "use that thinning, or calibrate for this schedule."
        )
    if calibration.sampler != sampler:
        raise CalibrationError(
            f"the calibration is for the sampler {calibration.sampler}, not for {sampler}: "
            f"use --sampler {calibration.sampler}, or calibrate for {sampler}."
        )


def _same(stored: Any, ours: Any) -> bool:
    """Return whether two values are equal. Numbers may differ by rounding, which varies from machine to machine."""
    if isinstance(ours, str) or stored is None:
        return stored == ours
    return np.shape(stored) == np.shape(ours) and np.allclose(stored, ours, rtol=1e-9, atol=0)


def _checked_keys(content: Any) -> Mapping[str, Any]:
    if not isinstance(content, dict) or "format_version" not in content:
        raise CalibrationError("is not a calibration; make one with python -m jaxsr.calibrate.")
    if content["format_version"] == 1:
        raise CalibrationError(
            "was made with another reading of Algorithm 1 (calibration format 1); calibrate again with python -m "
            "jaxsr.calibrate."
        )
    if content["format_version"] == 2:  # the same, before presets had a temperature and a projection
        new = lambda preset: {**preset, "temperature": [1.0] * len(preset["scale"]), "projection": 0.0}  # noqa: E731
        presets = {name: new(preset) for name, preset in content["presets"].items()}
        content = content | {"format_version": FORMAT_VERSION, "presets": presets}
    if content["format_version"] != FORMAT_VERSION:
        raise CalibrationError(
            f"has calibration format {content['format_version']} and this jaxsr reads format {FORMAT_VERSION}; "
            "update jaxsr."
        )
    names = {f.name for f in fields(Calibration)}
    if wrong := sorted(names ^ content.keys()):
        raise CalibrationError(f"has missing or unknown keys: {', '.join(wrong)}; calibrate again.")
    return content

"""Knob presets: the conversion of the scales in a calibration file to options, and the range that was calibrated."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

from jaxsr.guidance.calibration_file import Calibration, CalibrationError, check
from jaxsr.models.presets import ModelPreset
from jaxsr.options import Options, spell_value
from jaxsr.upscaling.plan import schedule_for

FILES = "calibration*.json"
"""The calibrations beside a model's file: any number, each for one number of steps and one sampler."""
_FORM = ("through", "reference_variance")  # no reference_mean: for the LR image `clean` and `shifted` are the same


@dataclass(frozen=True)
class Setting:
    """What a calibration must have been made for.

    Attributes:
        preset: preset of the model that will sample.
        sha256: SHA-256 of that model's checkpoint.
        options: options of sampling; they give the schedule and the sampler.
    """

    preset: ModelPreset
    sha256: str
    options: Options

    @property
    def sampler(self) -> str:
        return self.options.sampler or self.preset.sampler

    def check(self, calibration: Calibration) -> None:
        """Raise CalibrationError if the calibration is for another model, schedule or sampler."""
        check(calibration, self.sha256, schedule_for(self.preset, self.options), self.sampler)

    def fits(self, calibration: Calibration) -> bool:
        """Return whether `check` accepts the calibration."""
        try:
            self.check(calibration)
        except CalibrationError:
            return False
        return True


@dataclass(frozen=True)
class FoundCalibration:
    """A calibration, with its file and the SHA-256 of what was read; None if it did not come from a file."""

    calibration: Calibration
    path: Path | None
    sha256: str | None


def find_calibration(
    calibration: str | Path | Calibration | None, model_file: Path, setting: Setting, preset: str | None = None
) -> FoundCalibration:
    """Find the calibration for a setting.

    Args:
        calibration: a calibration; a file; a folder with files named as `FILES` says; or None, which is the folder of
            the model's file. Of a folder's calibrations, the first that fits the setting and has the preset is taken,
            else the first that fits. Files that cannot be read are passed over if another fits.
        model_file: file of the model.
        setting: what the calibration must be for.
        preset: the preset that is wanted; None for any.
    Raises:
        CalibrationError, OSError: if there is no calibration, or none that fits.
    """
    if isinstance(calibration, Calibration):
        setting.check(calibration)
        return FoundCalibration(calibration, None, None)
    place = model_file.parent if calibration is None else Path(calibration)
    if not place.exists():
        raise CalibrationError(f"calibration: there is no {place}; check the name.")
    paths = sorted(place.glob(FILES)) if place.is_dir() else [place]
    if not paths:
        raise CalibrationError(
            f"calibration: there is no {place / FILES}; make one with python -m jaxsr.calibrate, or name another."
        )
    found, unread = [], []
    for path in paths:
        try:
            found.append(_read(path, path.stat().st_mtime_ns if path.is_file() else 0))
        except CalibrationError as error:
            unread.append(error)
    if fitting := [one for one in found if setting.fits(one.calibration)]:
        return next((one for one in fitting if preset in one.calibration.presets), fitting[0])
    if unread:
        raise unread[0]
    if len(found) == 1:
        setting.check(found[0].calibration)
    raise CalibrationError(_none_fits(found, place, setting))


@lru_cache(maxsize=32)
def _read(path: Path, changed: int) -> FoundCalibration:
    """Read a calibration once, until its time of change differs. A pipe gives its content only once."""
    data = path.read_bytes()
    return FoundCalibration(Calibration.parse(data, path), path, hashlib.sha256(data).hexdigest())


def _none_fits(found: Sequence[FoundCalibration], place: Path, setting: Setting) -> str:
    steps = schedule_for(setting.preset, setting.options).steps
    made: dict[tuple[str, str], set[int]] = {}
    for one in found:
        made.setdefault((one.calibration.thinning, one.calibration.sampler), set()).add(one.calibration.steps)
    there = "; ".join(
        f"{sampler} with {', '.join(map(str, sorted(counts)))} steps (--thinning {thinning})"
        for (thinning, sampler), counts in sorted(made.items())
    )
    return (
        f"calibration: no file in {place} fits this model with {setting.sampler} steps, {steps} of them "
        f"(--thinning {spell_value(setting.options.thinning)}). There are presets for {there}. "
        "Use one of these, or calibrate yours."
    )


def apply_knob_preset(
    options: Options, knob_preset: str, calibration: Calibration, *, reference: bool = False
) -> Options:
    """Set the scales of a preset of the calibration, the form of their gradient, the temperature and the projection.

    A temperature or a projection in `options` goes before that of the preset.

    Args:
        options: the other options; alpha must be None.
        knob_preset: name of a preset in the calibration.
        calibration: the calibration, see `find_calibration`.
        reference: whether the image has an HR reference. The preset `fitted` then sets its slope and offset too.
    Raises:
        ValueError: if options and calibration contradict each other.
        CalibrationError: (a ValueError) if the calibration has no such preset.
    """
    if options.alpha is not None:
        raise ValueError("alpha: the preset gives it; leave one of the two out.")
    scale = calibration.scale(knob_preset)
    fitted = reference and knob_preset == "fitted"
    names = (*_FORM, "reference_mean") if fitted else _FORM  # A and B depend on the reference's mean too
    form = {name: getattr(calibration.gradient, name) for name in names} if any(scale) or fitted else {}
    for name, value in form.items():
        if name in options.gradient.changed and getattr(options, name) != value:
            raise ValueError(f"{name}: the preset is for {value}, not {getattr(options, name)}; leave it out.")
    if fitted:
        if options.reference_slope is not None:
            raise ValueError("reference_slope: the preset fitted gives it; leave one of the two out.")
        numbers = {f"reference_{name}": tuple(values) for name, values in calibration.reference.items()}
        options = replace(options, **numbers)
    found = calibration.find(knob_preset)
    if options.projection is None:
        form["projection"] = found["projection"]
    if options.temperature is None and set(found["temperature"]) != {1.0}:
        form["temperature"] = tuple(found["temperature"])
    return replace(options, alpha=scale, **form)


def beyond_range(options: Options, alphas: Sequence[Sequence[float]], calibration: Calibration) -> str | None:
    """Return a sentence about the first alpha that lies outside of the calibrated range, or None.

    Args:
        options: options of sampling. A gradient of another form than the calibration's has no calibrated range.
        alphas: values of alpha, each with one number, or one per step.
        calibration: a calibration that fits the options.
    """
    if any(getattr(options, name) != getattr(calibration.gradient, name) for name in _FORM):
        return None
    for alpha in alphas:
        for t, (value, (low, high)) in enumerate(zip(alpha, calibration.knob_range(len(alpha)) or (), strict=False), 1):
            if not low - 1e-6 <= value <= high + 1e-6:
                step = f" at t = {t}" if len(alpha) > 1 else ""
                return (
                    f"alpha {value:.4g}{step} lies outside of the calibrated range {low:g} to {high:g} "
                    f"({calibration.sampler}, {calibration.steps} steps)"
                )
    return None

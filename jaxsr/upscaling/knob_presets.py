"""Knob presets: the conversion of the scales in a calibration file to options."""

from dataclasses import replace
from pathlib import Path

from jaxsr.guidance.calibration_file import Calibration, CalibrationError, check
from jaxsr.models.presets import ModelPreset
from jaxsr.options import Options
from jaxsr.upscaling.plan import schedule_for

FILE_NAME = "calibration.json"
_FORM = ("through", "reference_variance")  # no reference_mean: for the LR image `clean` and `shifted` are the same


def find_calibration(calibration: str | Path | Calibration | None, model_file: Path) -> Calibration:
    """Return the given calibration, or read it from the given file or, for None, from the one beside the model's.

    Raises:
        CalibrationError, OSError: if the file does not exist or is not a calibration.
    """
    if isinstance(calibration, Calibration):
        return calibration
    path = calibration_path(calibration, model_file)
    if not path.is_file():
        advice = "make one with python -m jaxsr.calibrate" if calibration is None else "check the name"
        raise CalibrationError(f"calibration: there is no {path}; {advice}.")
    return Calibration.read(path)


def calibration_path(calibration: str | Path | None, model_file: Path) -> Path:
    """Return the path of the given calibration file or, for None, of the one beside the model's file."""
    return model_file.with_name(FILE_NAME) if calibration is None else Path(calibration)


def apply_knob_preset(
    options: Options, knob_preset: str, calibration: Calibration, *, model_preset: ModelPreset, model_sha256: str
) -> Options:
    """Set the scales of a preset of the calibration, and the form of the gradient with which they were fitted.

    Args:
        options: the other options; alpha must be None.
        knob_preset: name of a preset in the calibration.
        calibration: the calibration, see `find_calibration`.
        model_preset: preset of the model that will sample.
        model_sha256: SHA-256 of that model's checkpoint.
    Raises:
        ValueError: if options and calibration contradict each other.
        CalibrationError: (a ValueError) if the calibration is for another model, schedule or sampler.
    """
    if options.alpha is not None:
        raise ValueError("alpha: the preset gives it; leave one of the two out.")
    check(calibration, model_sha256, schedule_for(model_preset, options), options.sampler or model_preset.sampler)
    scale = calibration.scale(knob_preset)
    form = {name: getattr(calibration.gradient, name) for name in _FORM} if any(scale) else {}  # all 0: plain sampler
    for name, value in form.items():
        if name in options.gradient.changed and getattr(options, name) != value:
            raise ValueError(f"{name}: the preset is for {value}, not {getattr(options, name)}; leave it out.")
    return replace(options, alpha=scale, **form)

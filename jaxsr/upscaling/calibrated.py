"""Knob presets: the scales that a calibration file holds, as options."""

from dataclasses import replace
from pathlib import Path

from jaxsr.guidance.calibration_file import Calibration, CalibrationError, check
from jaxsr.models.presets import ModelPreset
from jaxsr.options import Options
from jaxsr.upscaling.plan import schedule_for

FILE_NAME = "calibration.json"
_FORM = ("through", "reference_variance")  # for the LR image, the reference means `clean` and `shifted` are the same


def find_calibration(calibration: str | Path | Calibration | None, model_file: Path) -> Calibration:
    """The given calibration, the one in the given file, or (None) the one in the file beside the model's.

    Raises:
        CalibrationError, OSError: for a file that does not exist or holds no calibration.
    """
    if isinstance(calibration, Calibration):
        return calibration
    path = calibration_path(calibration, model_file)
    if not path.is_file():
        how = "make one with python -m jaxsr.calibrate" if calibration is None else "check the name"
        raise CalibrationError(f"calibration: there is no {path}; {how}.")
    return Calibration.read(path)


def calibration_path(calibration: str | Path | None, model_file: Path) -> Path:
    """The named file, or the calibration file beside the model's."""
    return model_file.with_name(FILE_NAME) if calibration is None else Path(calibration)


def apply_knob_preset(
    options: Options, knob_preset: str, calibration: Calibration, *, model_preset: ModelPreset, model_sha256: str
) -> Options:
    """Set the scales of a calibration's preset, and the form of the gradient that they were found with.

    Args:
        options: without alpha.
        knob_preset: name of a preset in the calibration.
        calibration: see `find_calibration`.
        model_preset: of the model that will sample.
        model_sha256: of that model's checkpoint.
    Raises:
        ValueError: if options and calibration contradict each other; a CalibrationError if the calibration is for
            another model, schedule or sampler.
    """
    if options.alpha is not None:
        raise ValueError("alpha: the preset gives it; leave one of the two out.")
    check(calibration, model_sha256, schedule_for(model_preset, options), options.sampler or model_preset.sampler)
    scale = calibration.scale(knob_preset)
    form = {name: getattr(calibration, name) for name in _FORM} if any(scale) else {}  # the plain sampler has no form
    for name, value in form.items():
        if name in options.gradient.changed and getattr(options, name) != value:
            raise ValueError(f"{name}: the preset is for {value}, not {getattr(options, name)}; leave it out.")
    return replace(options, alpha=scale, **form)

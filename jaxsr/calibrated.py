"""The guidance that a calibration file holds, as options."""

from dataclasses import replace
from pathlib import Path

from jaxsr.calibration.result import Calibration, CalibrationError, check
from jaxsr.models.presets import Preset
from jaxsr.options import Options, schedule_for

FILE_NAME = "calibration.json"
_GUIDING = ("through", "reference_variance")  # the mean is the same for the LR image, clean or shifted


def find_calibration(calibration: str | Path | Calibration | None, model_file: Path) -> Calibration:
    """The calibration itself, of a file, or (None) of the file that lies beside the model's.

    Raises:
        CalibrationError, OSError: for a file that is not there or holds no calibration.
    """
    if isinstance(calibration, Calibration):
        return calibration
    path = calibration_path(calibration, model_file)
    if not path.is_file():
        how = "make one with python -m jaxsr.calibrate" if calibration is None else "check the name"
        raise CalibrationError(f"calibration: there is no {path}; {how}.")
    return Calibration.read(path)


def calibration_path(calibration: str | Path | None, model_file: Path) -> Path:
    """The file that was named, or the one beside the model's."""
    return model_file.with_name(FILE_NAME) if calibration is None else Path(calibration)


def with_preset(options: Options, name: str, calibration: Calibration, preset: Preset, model_sha256: str) -> Options:
    """The options with the scales of one of the calibration's presets, and what these were found with.

    Args:
        options: without alpha.
        name: of the calibration's preset.
        calibration: see `find_calibration`.
        preset: the model's.
        model_sha256: of the model's checkpoint.
    Raises:
        ValueError: if they do not fit each other; a CalibrationError for another model, schedule or sampler.
    """
    if options.alpha is not None:
        raise ValueError("alpha: the preset gives it; leave one of the two out.")
    check(calibration, model_sha256, schedule_for(preset, options), options.sampler or preset.sampler)
    scale = calibration.scale(name)
    words = {key: getattr(calibration, key) for key in _GUIDING} if any(scale) else {}  # the plain sampler has none
    for key in words:
        if key in options.guiding and getattr(options, key) != words[key]:
            raise ValueError(f"{key}: the preset is for {words[key]}, not {getattr(options, key)}; leave it out.")
    return replace(options, alpha=scale, **words)

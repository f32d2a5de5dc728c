"""The knob of the page: one number that moves along the calibrated profile, from `faithful` to `vivid`.

The presets of a calibration that lie on the knob (`ON_KNOB`) are points in the space of all scales, temperatures and
the projection. The knob passes through them in even steps, from 0 to 100, on straight lines. Beyond both ends the
scales go on along the last line, and nothing has been calibrated there.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from jaxsr.guidance.calibration_file import Calibration, CalibrationError
from jaxsr.options import Options
from jaxsr.upscaling.knob_presets import beyond_range
from jaxsr.upscaling.plan import schedule_for
from jaxsr.upscaling.upscaler import Upscaler

ON_KNOB = ("faithful", "balanced", "vivid")
"""The presets on the knob, in its order."""
BEYOND = 50
"""How far the knob turns beyond both ends of the calibrated range, where 100 is the length of that range."""
_FREE = 0.2  # greatest alpha of a knob without a calibration, at 100
_DIGITS = 6
_NOTCH = 5


@dataclass(frozen=True)
class Tick:
    """A point that was calibrated: the presets that share it, its place on the knob, and its numbers.

    Attributes:
        names: the presets.
        position: place on the knob, 0 to 100.
        scale, temperature, projection: see `jaxsr.guidance.calibration_file.KnobPreset`.
        warning: what a user of the preset must know, or empty.
    """

    names: tuple[str, ...]
    position: float
    scale: tuple[float, ...]
    temperature: tuple[float, ...]
    projection: float
    warning: str = ""


@dataclass(frozen=True)
class Knob:
    """The knob for one model, one number of steps and one sampler.

    Attributes:
        calibration: the calibration that it follows; None if none fits.
        ticks: the points that were calibrated, at least two of a calibrated knob, in the order of their positions.
        steps: number of sampling steps.
        reason: why nothing is calibrated, as one sentence; or empty.
    """

    calibration: Calibration | None
    ticks: tuple[Tick, ...]
    steps: int
    reason: str = ""

    @property
    def span(self) -> tuple[int, int]:
        """The lowest and the highest position."""
        return (-BEYOND, 100 + BEYOND) if self.ticks else (-100, 100)

    def turned(self, options: Options, position: float) -> Options:
        """Return `options` with the numbers of the knob at a position, and the form of their gradient.

        A temperature or a projection in `options` goes before that of the knob. Raises ValueError for a position
        outside of `span`, or if `options` have an alpha.
        """
        low, high = self.span
        if not low <= position <= high:
            raise ValueError(f"knob: must be from {low} to {high}, got {position}.")
        if options.alpha is not None:
            raise ValueError("alpha: the knob gives it; leave one of the two out.")
        if not self.ticks or self.calibration is None:
            return replace(options, alpha=round(_FREE * position / 100, _DIGITS) + 0.0)
        here = [(tick.scale, tick.temperature, tick.projection) for tick in self.ticks if tick.position == position]
        scale, temperature, projection = here[0] if here else self._numbers(position)
        gradient = self.calibration.gradient
        form: dict[str, Any] = {}
        if any(scale):
            form = {"through": gradient.through, "reference_variance": gradient.reference_variance}
        if options.projection is None:
            form["projection"] = projection
        if options.temperature is None and set(temperature) != {1.0}:
            form["temperature"] = temperature
        return replace(options, alpha=scale, **form)

    def _numbers(self, position: float) -> tuple[tuple[float, ...], tuple[float, ...], float]:
        inside = min(max(position, 0.0), 100.0)
        number = next(i for i in range(1, len(self.ticks)) if inside <= self.ticks[i].position)
        first, second = self.ticks[number - 1], self.ticks[number]
        length = second.position - first.position
        part, held = (position - first.position) / length, (inside - first.position) / length
        return (
            _between(first.scale, second.scale, part),
            _between(first.temperature, second.temperature, held),
            _between((first.projection,), (second.projection,), held)[0],
        )

    def describe(self) -> dict[str, Any]:
        """Describe the knob as plain JSON: its ticks, its calibrated range, and its numbers at every notch."""
        low, high = self.span
        notches = []
        for position in range(low, high + 1, _NOTCH):
            options = self.turned(Options(steps=self.steps), float(position))
            note = beyond_range(options, [options.alphas], self.calibration) if self.calibration else None
            notch = {"position": position, "alpha": options.alphas, "temperature": options.numbers("temperature")}
            notches.append(notch | {"projection": options.projection or 0.0, "note": note})
        ticks = [{"names": tick.names, "position": tick.position, "warning": tick.warning} for tick in self.ticks]
        quiet = [notch["position"] for notch in notches if notch["note"] is None]
        calibrated = [min(quiet), max(quiet)] if quiet and self.ticks else None
        return {
            "steps": self.steps,
            "low": low,
            "high": high,
            "step": _NOTCH,
            "calibrated": calibrated,
            "reason": self.reason,
            "ticks": ticks,
            "notches": notches,
        }


def find_knob(upscaler: Upscaler, options: Options) -> Knob:
    """Make the knob for the steps and the sampler of `options`, from the calibration beside the model's file."""
    steps = schedule_for(upscaler.preset, options).steps
    try:
        found = upscaler.find_calibration(options).calibration
    except (CalibrationError, OSError):
        sampler = options.sampler or upscaler.preset.sampler
        return Knob(None, (), steps, f"No calibration fits {steps} steps of the sampler {sampler}.")
    ticks = make_ticks(found)
    if len(ticks) < 2:
        return Knob(found, (), steps, "All presets of this calibration are equal; the knob is one alpha for all steps.")
    return Knob(found, ticks, steps)


def make_ticks(calibration: Calibration) -> tuple[Tick, ...]:
    """List the presets on the knob. Neighbours with equal numbers share a tick; the ticks lie in even steps."""
    points: list[Tick] = []
    for name in ON_KNOB:
        if (preset := calibration.presets.get(name)) is None:
            continue
        numbers = (tuple(preset["scale"]), tuple(preset["temperature"]), preset["projection"])
        if points and numbers == (points[-1].scale, points[-1].temperature, points[-1].projection):
            points[-1] = replace(points[-1], names=(*points[-1].names, name))
        else:
            points.append(Tick((name,), 0.0, *numbers, preset["warning"]))
    return tuple(replace(point, position=100.0 * i / max(len(points) - 1, 1)) for i, point in enumerate(points))


def _between(first: Sequence[float], second: Sequence[float], part: float) -> tuple[float, ...]:
    row = np.array(first) + part * (np.array(second) - np.array(first))
    return tuple((np.round(row, _DIGITS) + 0.0).tolist())  # + 0.0: no -0.0

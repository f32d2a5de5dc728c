"""What a client asks for, as plain data that is checked, and its translation to options of sampling."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from jaxsr.choices import MAX_SEED, Metadata, Objective, check_word
from jaxsr.guidance.option_conflicts import Given, find_conflict, refuse
from jaxsr.guidance.region import Box
from jaxsr.options import Options
from jaxsr.plain_data import convert
from jaxsr.studio.knob import find_knob
from jaxsr.upscaling.knob_presets import apply_knob_preset
from jaxsr.upscaling.upscaler import Upscaler

MOST_SAMPLES = 8
"""The most samples of one photograph in a job."""
MOST_SETTINGS = 8
"""The most settings of the knob in a look."""
FILE_FORMATS = ("png", "jpg", "webp", "tif")


@dataclass(frozen=True, kw_only=True)
class KnobSetting:
    """A setting of the knob: a preset, or a position from 0, faithful, to 100, vivid. Neither is the plain model.

    Raises:
        ValueError: if both are given.
    """

    preset: str | None = None
    position: float | None = None

    def __post_init__(self) -> None:
        if self.preset is not None and self.position is not None:
            raise ValueError("knob: give a preset or a position, not both.")

    def apply(self, upscaler: Upscaler, options: Options, *, reference: bool = False) -> Options:
        """Return `options` with the numbers of this setting.

        Raises:
            ValueError: if the model has no such preset, or the numbers contradict `options`.
        """
        if self.preset is not None:
            found = upscaler.find_calibration(options, None, self.preset)
            return apply_knob_preset(options, self.preset, found.calibration, reference=reference)
        if self.position is not None:
            return find_knob(upscaler, options).turned(options, self.position)
        return options


@dataclass(frozen=True, kw_only=True)
class Asked:
    """A job: one photograph, enlarged in one or more samples.

    Attributes:
        photo: id of an uploaded photograph.
        model: name of the model; None for the one that was named at the start.
        options: how to sample. `alpha` is an alternative to `knob`.
        knob: the setting of the knob.
        seed: seed of the noise.
        samples: number of results, each with noise of its own.
        format: format of the results: png, jpg, webp, tif; None for that of the photograph, as of the sample command.
        quality: quality of JPEG and WebP, 1 to 100.
        metadata: what the results keep of the metadata, see `jaxsr.imaging.files.with_metadata`.
        alpha_map, mask, reference: ids of uploaded files.
        reference_box: place of the reference, (x, y, width, height) in pixels of the photograph.
        feather: pixels over which the reference fades in.
        objective: how alpha is fitted to the reference.
    Raises:
        ValueError: for a number out of its range, an unknown word, or options that contradict each other.
    """

    photo: str
    model: str | None = None
    options: Options = field(default_factory=Options)
    knob: KnobSetting = field(default_factory=KnobSetting)
    seed: int = 0
    samples: int = 1
    format: str | None = None
    quality: int = 95
    metadata: Metadata = "keep"
    alpha_map: str | None = None
    mask: str | None = None
    reference: str | None = None
    reference_box: Box | None = None
    feather: int | None = None
    objective: Objective | None = None

    def __post_init__(self) -> None:
        _check_range("seed", self.seed, 0, MAX_SEED)
        _check_range("samples", self.samples, 1, MOST_SAMPLES)
        _check_range("quality", self.quality, 1, 100)
        check_word("format", self.format, (None, *FILE_FORMATS))
        names = ("alpha_map", "reference", "reference_box", "feather", "objective")
        given: dict[str, Any] = {name: getattr(self, name) is not None for name in names}
        turned = self.knob != KnobSetting()
        given["alpha"] = None if self.options.alpha is None else self.options.alphas
        given |= {"reference_slope": self.options.reference_slope is not None, "form": self.options.gradient}
        refuse(find_conflict(Given(preset=turned, **given)))


@dataclass(frozen=True, kw_only=True)
class Look:
    """A look at one window of a photograph with some settings of the knob.

    Attributes:
        photo, model, options, seed, alpha_map, mask: as in `Asked`.
        sample: number of the sample.
        at: (x, y) of a point in pixels of the photograph; the window shows it.
        knobs: the settings, one result for each.
    Raises:
        ValueError: for a number out of its range.
    """

    photo: str
    at: tuple[float, float]
    model: str | None = None
    options: Options = field(default_factory=Options)
    knobs: tuple[KnobSetting, ...] = (KnobSetting(),)
    seed: int = 0
    sample: int = 0
    alpha_map: str | None = None
    mask: str | None = None

    def __post_init__(self) -> None:
        _check_range("seed", self.seed, 0, MAX_SEED)
        _check_range("sample", self.sample, 0, MAX_SEED)
        _check_range("the number of knobs", len(self.knobs), 1, MOST_SETTINGS)

    def chosen(self, upscaler: Upscaler) -> list[Options]:
        """Return the options of every setting, in one form of the gradient. Raises as `KnobSetting.apply` does."""
        turned = [knob.apply(upscaler, self.options) for knob in self.knobs]
        form = next((one.gradient for one in turned if any(one.alphas)), turned[0].gradient)
        return [replace(one, through=form.through, reference_variance=form.reference_variance) for one in turned]


def read_asked(data: Any) -> Asked:
    """Make a job from what JSON gave. Raises ValueError, in one sentence that names the field."""
    return convert(_nested(data), Asked)


def read_look(data: Any) -> Look:
    """Make a look from what JSON gave. Raises ValueError, in one sentence that names the field."""
    return convert(_nested(data), Look)


def _nested(data: Any) -> Any:
    """Convert the objects inside of `data` first, so that their unknown fields are refused too."""
    if not isinstance(data, Mapping):
        return data
    makers: dict[str, Callable[[Any], Any]] = {
        "options": lambda part: convert(part, Options, where="options"),
        "knob": lambda part: convert(part, KnobSetting, where="knob"),
        "knobs": lambda parts: [convert(part, KnobSetting, where="knobs") for part in _listed(parts)],
    }
    return {name: makers[name](part) if name in makers else part for name, part in data.items()}


def _listed(parts: Any) -> list[Any]:
    if not isinstance(parts, list):
        raise ValueError(f"knobs: must be a list, not {type(parts).__name__}.")
    return parts


def _check_range(name: str, value: int, least: int, most: int) -> None:
    if not least <= value <= most:
        raise ValueError(f"{name}: must be a whole number from {least} to {most}, got {value}.")

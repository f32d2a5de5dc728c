"""The request: one frozen value that decides the bytes of one result. A sidecar is its serialised form."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from jaxsr.batch.jobs import Job
from jaxsr.choices import (
    COLOUR_FIXES,
    MAX_SEED,
    METADATA,
    MOST_SCALE,
    OBJECTIVES,
    Batch,
    ColourFix,
    Metadata,
    Objective,
    check_word,
)
from jaxsr.guidance.region import FEATHER, Box
from jaxsr.imaging.files import JPEG, PNG, TIFF, WEBP, hash_photo
from jaxsr.options import Options
from jaxsr.plain_data import brief, convert

GUIDE_FILES = ("alpha_map", "reference", "reference_mask", "mask")
_OPTIONS = tuple(field.name for field in fields(Options))
FORMATS = tuple(suffix[1:] for suffix in (*PNG, *JPEG, *WEBP, *TIFF))
_MAX = 2**31 - 1
# What a panel chooses for itself.
_BY_PANEL = (
    *("alpha", "temperature", "projection", "through", "reference_mean", "reference_variance"),
    *("reference_slope", "reference_offset"),
)
_SHOWN = 200  # characters of an error
_RANGES = {
    "seed": (0, MAX_SEED),
    "sample": (0, MAX_SEED),
    "quality": (1, 100),
    "batch": (1, _MAX),
    "feather": (0, _MAX),
    "width": (1, _MAX),
    "height": (1, _MAX),
}
_MAY_BE_NONE = ("quality", "feather", "width", "height")
_OWN = ("metadata", "strip", "reference_box", "feather", "objective", "scale", "width", "height", "colour_fix", "crop")


class RequestError(ValueError):
    """A sidecar does not hold a request."""


@dataclass(frozen=True)
class SourceFile:
    """A file and the SHA-256 of its bytes."""

    path: Path
    sha256: str


def hash_source(path: Path) -> SourceFile:
    """Return a file with its hash. Raises ImageFileError if the file cannot be read."""
    return SourceFile(path, hash_photo(path))


@dataclass(frozen=True)
class StripPanel:
    """One panel of a strip whose panels differ in more than alpha: its label and its options of sampling."""

    label: str
    options: Options


@dataclass(frozen=True, kw_only=True)
class Request:
    """All choices that decide one result.

    Attributes:
        input: the photograph.
        format: format of the result, an extension without its dot, such as `png`.
        model: name or path of the model, as the user gave it.
        model_sha256: hash of the model's checkpoint.
        options: options of sampling. Requested options may leave a choice open (`auto`); see `used`.
        seed, sample: numbers that decide the noise, together with the content of the photograph.
        quality: quality of JPEG and WebP, 1 to 100; None for other formats.
        metadata: what the result keeps of the photograph's metadata, see `jaxsr.imaging.files.with_metadata`; None is
            `keep`.
        batch: tiles per call of the network, or `auto`. It changes only roundings, so `decisions` leaves it out.
        strip: alphas of the panels; empty for a single result.
        panels: in place of `strip`, the panels with all their options; empty for a single result.
        scale: size of the result, as a multiple of the input's from 1 to MOST_SCALE; None is the network's own.
        width, height: in place of `scale`, one or both sides of the result in pixels, see `jaxsr.batch.size`.
        colour_fix: correction of the result's colours, see `jaxsr.imaging.colour_fix`; None is `none`.
        crop: (x, y, width, height) of the part of the input that is enlarged, in pixels; None is all of it.
        alpha_map, reference, reference_mask: guide files, or None.
        mask: file that marks what an inpainting model fills in, or None.
        reference_box: (x, y, width, height) of the reference in pixels of the input, or None.
        feather: pixels of the input over which the reference fades in; the default with a reference, None without one.
        objective: rule that fits alpha to the reference; None for the default.
        preset, calibration: source of alpha, whose numbers are in `options`.
    Raises:
        ValueError: for a number out of its range, or an unknown format or objective; the message begins with the
            field's name.
    """

    input: SourceFile
    format: str
    model: str
    model_sha256: str
    options: Options
    seed: int = 0
    sample: int = 0
    quality: int | None = None
    metadata: Metadata | None = None
    batch: Batch = 1
    strip: tuple[float, ...] = ()
    panels: tuple[StripPanel, ...] = ()
    scale: float | None = None
    width: int | None = None
    height: int | None = None
    colour_fix: ColourFix | None = None
    crop: Box | None = None
    alpha_map: SourceFile | None = None
    reference: SourceFile | None = None
    reference_mask: SourceFile | None = None
    mask: SourceFile | None = None
    reference_box: Box | None = None
    feather: int | None = None
    objective: Objective | None = None
    preset: str | None = None
    calibration: SourceFile | None = None

    def __post_init__(self) -> None:
        if self.format not in FORMATS:
            raise ValueError(f"format: no {self.format!r}; choose one of {', '.join(FORMATS)}.")
        if self.reference is not None and self.feather is None:
            object.__setattr__(self, "feather", FEATHER)  # the value that is used, so that equal requests are equal
        if not all(map(math.isfinite, self.strip)):
            raise ValueError(f"strip: must be finite numbers, not {self.strip}.")
        check_word("objective", self.objective, (None, *OBJECTIVES))
        if self.metadata == "keep":
            object.__setattr__(self, "metadata", None)  # so that equal requests are equal
        check_word("metadata", self.metadata, (None, *METADATA))
        if self.colour_fix == "none":
            object.__setattr__(self, "colour_fix", None)
        check_word("colour_fix", self.colour_fix, (None, *COLOUR_FIXES))
        if self.scale is not None and not 1 <= self.scale <= MOST_SCALE:
            raise ValueError(f"scale: must be from 1 to {MOST_SCALE:g}, not {self.scale}.")
        if self.crop is not None and not (len(self.crop) == 4 and min(self.crop) >= 0 and min(self.crop[2:]) > 0):
            raise ValueError(f"crop: must be X,Y,WIDTH,HEIGHT with a width and a height, not {self.crop}.")
        for name, (least, most) in _RANGES.items():
            value = getattr(self, name)
            if (name in _MAY_BE_NONE and value is None) or (name == "batch" and value == "auto"):
                continue
            if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
                raise ValueError(f"{name}: must be a whole number from {least} to {most}, not {value!r}.")

    @property
    def guide_files(self) -> dict[str, SourceFile]:
        """The guide files, by the names of their options."""
        return {name: file for name in GUIDE_FILES if (file := getattr(self, name)) is not None}

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels of the panels of a strip; empty for a single result."""
        return tuple(panel.label for panel in self.panels) or tuple(f"alpha {alpha:g}" for alpha in self.strip)

    def decisions(self) -> dict[str, Any]:
        """Return all that decides the bits besides input, model and format, as plain JSON. Hashes stand for files."""
        sampling = asdict(self.options) | {"seed": self.seed, "sample": self.sample}
        others = {"quality": self.quality} | {name: getattr(self, name) for name in _OWN}
        others = {name: value for name, value in others.items() if value not in (None, ())}
        if self.panels:
            others["panels"] = [asdict(panel) for panel in self.panels]
        hashes = {name: file.sha256 for name, file in self.guide_files.items()}
        return json.loads(json.dumps(sampling | others | hashes))

    def used(self, options: Sequence[Options]) -> "Request":
        """Return this request with the options that were really used, one for each panel, which leave no choice open.

        The options of a strip of panels themselves are those of its first panel, but for what they left open.
        """
        if not self.panels:
            return replace(self, options=options[0])
        panels = [StripPanel(panel.label, one) for panel, one in zip(self.panels, options, strict=True)]
        kept = {name: getattr(self.options, name) for name in _BY_PANEL}
        return replace(self, options=replace(options[0], **kept), panels=tuple(panels))

    def to_record(self) -> dict[str, Any]:
        """Return the request as plain JSON, for a sidecar; `from_record` reads it back."""
        record: dict[str, Any] = {
            "input": str(self.input.path),
            "input_sha256": self.input.sha256,
            "format": self.format,
            "model": self.model,
            "model_sha256": self.model_sha256,
            "requested": self.decisions(),
        }
        if self.batch != 1:
            record["requested_batch"] = self.batch
        if files := {name: str(file.path) for name, file in self.guide_files.items()}:
            record["files"] = files
        if self.preset is not None:
            record["from_preset"] = self.preset
        if self.calibration is not None:
            record["from_calibration"] = [str(self.calibration.path), self.calibration.sha256]
        return record

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> "Request":
        """Read the request that a sidecar holds. Raises RequestError if the sidecar does not hold a request."""
        try:
            stored = convert({name: record[name] for name in _STORED if name in record}, _Stored)
            decisions = stored.requested
            own = {name: decisions[name] for name in (*_OWN, "quality", "panels") if name in decisions}
            numbers = convert({name: decisions[name] for name in ("seed", "sample")} | own, _Own, where="requested")
            hashes = {name: decisions[name] for name in stored.files}
            if wrong := [name for name in hashes if name not in GUIDE_FILES or not isinstance(hashes[name], str)]:
                raise ValueError(f"files.{brief(wrong[0], 40)}: is no guide file with its hash")
            files: dict[str, Any] = {name: SourceFile(Path(path), hashes[name]) for name, path in stored.files.items()}
            if stored.from_calibration is not None:
                path, sha256 = stored.from_calibration
                files["calibration"] = SourceFile(Path(path), sha256)
            return cls(
                input=SourceFile(Path(stored.input), stored.input_sha256),
                **{name: getattr(stored, name) for name in ("format", "model", "model_sha256")},
                options=_options(decisions, "requested"),
                panels=tuple(StripPanel(p.label, _options(p.options, "requested.panels")) for p in numbers.panels),
                seed=numbers.seed,
                sample=numbers.sample,
                **{name: _tuple(value) for name, value in own.items() if name != "panels"},
                **files,
                preset=stored.from_preset,
                batch=stored.requested_batch,
            )
        except KeyError as error:
            raise RequestError(f"this sidecar holds no request: it lacks {error}; make the result again.") from error
        except (TypeError, ValueError) as error:
            reason = brief(error, _SHOWN)
            raise RequestError(f"this sidecar holds no request: {reason}; make the result again.") from error


@dataclass(frozen=True, kw_only=True)
class _Stored:
    """The fields of a sidecar that hold its request, as `Request.to_record` writes them."""

    input: str
    input_sha256: str
    format: str
    model: str
    model_sha256: str
    requested: dict[str, Any]
    files: dict[str, str] = field(default_factory=dict)
    from_preset: str | None = None
    from_calibration: tuple[str, str] | None = None
    requested_batch: Batch = 1


@dataclass(frozen=True)
class _StoredPanel:
    label: str
    options: dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class _Own:
    """What decides a result besides its options, as it stands in a sidecar."""

    seed: int
    sample: int
    quality: int | None = None
    panels: tuple[_StoredPanel, ...] = ()
    metadata: str | None = None
    strip: tuple[float, ...] = ()
    reference_box: Box | None = None
    feather: int | None = None
    objective: str | None = None
    scale: float | None = None
    width: int | None = None
    height: int | None = None
    colour_fix: str | None = None
    crop: Box | None = None


_STORED = tuple(one.name for one in fields(_Stored))


def request_for(job: Job, *, quality: int | None = None, **chosen: Any) -> Request:
    """Make the request of one job of a command.

    Args:
        job: the photograph and the file of its result.
        quality: quality of JPEG and WebP; dropped for other formats.
        **chosen: the other fields of `Request`.
    Raises:
        ImageFileError: if the photograph cannot be read.
    """
    suffix = job.target.suffix.lower()
    lossy = quality if suffix in (*JPEG, *WEBP) else None
    return Request(
        input=hash_source(job.source), format=suffix.removeprefix("."), sample=job.sample, quality=lossy, **chosen
    )


def _options(record: Mapping[str, Any], where: str) -> Options:
    """Read options from plain data. Their numbers stay as they are written, because a record repeats them."""
    stored = {name: record[name] for name in _OPTIONS}
    convert(stored, Options, where=where)
    return Options(**{name: _tuple(value) for name, value in stored.items()})


def _tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value

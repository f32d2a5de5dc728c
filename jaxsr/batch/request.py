"""The request: all that decides the bytes of one result, as one frozen value. A sidecar is its serialisation."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

from jaxsr.batch.jobs import Job
from jaxsr.choices import Objective
from jaxsr.guidance.region import FEATHER, Box
from jaxsr.imaging.files import JPEG, WEBP, hash_photo
from jaxsr.options import Options

GUIDE_FILES = ("alpha_map", "reference", "reference_mask")
_OPTIONS = tuple(field.name for field in fields(Options))
_OWN = ("strip", "reference_box", "feather", "objective")


class RequestError(ValueError):
    """A sidecar that holds no request."""


@dataclass(frozen=True)
class SourceFile:
    """A file and the SHA-256 of its bytes."""

    path: Path
    sha256: str


def hash_source(path: Path) -> SourceFile:
    """The file with its hash. Raises ImageFileError where it cannot be read."""
    return SourceFile(path, hash_photo(path))


@dataclass(frozen=True, kw_only=True)
class Request:
    """All that decides one result.

    Attributes:
        input: the photograph.
        format: of the result, an extension without its point, such as `png`.
        model: the name or path that the user asked for.
        model_sha256: of the model's checkpoint.
        options: how to sample. Those that were asked for may leave something open (`auto`); see `used`.
        seed, sample: decide the noise, together with the content of the photograph.
        quality: of JPEG and WebP, 1 to 100; None for other formats.
        strip: the alphas of the panels; empty for a single result.
        alpha_map, reference, reference_mask: files that guide, or None.
        reference_box: (x, y, width, height) of the reference in pixels of the input, or None.
        feather: pixels of the input over which the reference fades in; None without a reference.
        objective: how alpha is fitted to the reference; None for the default.
        preset, calibration: where alpha comes from; it stands in `options` as numbers.
    """

    input: SourceFile
    format: str
    model: str
    model_sha256: str
    options: Options
    seed: int = 0
    sample: int = 0
    quality: int | None = None
    strip: tuple[float, ...] = ()
    alpha_map: SourceFile | None = None
    reference: SourceFile | None = None
    reference_mask: SourceFile | None = None
    reference_box: Box | None = None
    feather: int | None = None
    objective: Objective | None = None
    preset: str | None = None
    calibration: SourceFile | None = None

    @property
    def guide_files(self) -> dict[str, SourceFile]:
        """The files that guide, by the names of their options."""
        return {name: file for name in GUIDE_FILES if (file := getattr(self, name)) is not None}

    def decisions(self) -> dict[str, Any]:
        """What decides the bits besides the input, the model and the format, as JSON has it; files by their hashes."""
        decided = asdict(self.options) | {"seed": self.seed, "sample": self.sample}
        own = {"quality": self.quality} | {name: getattr(self, name) for name in _OWN}
        own = {name: value for name, value in own.items() if value not in (None, ())}
        hashes = {name: file.sha256 for name, file in self.guide_files.items()}
        return json.loads(json.dumps(decided | own | hashes))

    def used(self, options: Options) -> "Request":
        """The same request with the options that were really used, which leave nothing open."""
        return replace(self, options=options)

    def to_record(self) -> dict[str, Any]:
        """The request as plain JSON, for a sidecar; `from_record` reads it back."""
        record: dict[str, Any] = {
            "input": str(self.input.path),
            "input_sha256": self.input.sha256,
            "format": self.format,
            "model": self.model,
            "model_sha256": self.model_sha256,
            "requested": self.decisions(),
        }
        if files := {name: str(file.path) for name, file in self.guide_files.items()}:
            record["files"] = files
        if self.preset is not None:
            record["from_preset"] = self.preset
        if self.calibration is not None:
            record["from_calibration"] = [str(self.calibration.path), self.calibration.sha256]
        return record

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> "Request":
        """The request that a sidecar holds. Raises RequestError where it holds none."""
        try:
            decided, paths = record["requested"], record.get("files", {})
            options = {name: _tuple(decided[name]) for name in _OPTIONS}
            given = {name: _tuple(decided[name]) for name in (*_OWN, "quality") if name in decided}
            files: dict[str, Any] = {name: SourceFile(Path(path), decided[name]) for name, path in paths.items()}
            if "from_calibration" in record:
                path, sha256 = record["from_calibration"]
                files["calibration"] = SourceFile(Path(path), sha256)
            return cls(
                input=SourceFile(Path(record["input"]), record["input_sha256"]),
                **{name: record[name] for name in ("format", "model", "model_sha256")},
                options=Options(**options),
                **{name: decided[name] for name in ("seed", "sample")},
                **given,
                **files,
                preset=record.get("from_preset"),
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise RequestError(f"this sidecar holds no request ({error!r}); make the result again.") from error


def request_for(job: Job, *, quality: int | None = None, **chosen: Any) -> Request:
    """The request of one job of a command.

    Args:
        job: what is enlarged into which file.
        quality: of JPEG and WebP; dropped for other formats.
        **chosen: the other fields of `Request`.
    Raises:
        ImageFileError: where the photograph cannot be read.
    """
    suffix = job.target.suffix.lower()
    lossy = quality if suffix in (*JPEG, *WEBP) else None
    if chosen.get("reference") and chosen.get("feather") is None:
        chosen["feather"] = FEATHER
    return Request(
        input=hash_source(job.source), format=suffix.removeprefix("."), sample=job.sample, quality=lossy, **chosen
    )


def _tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value

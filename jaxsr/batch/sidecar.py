"""The sidecar of a result: its request, the facts about its run, and the command that makes it again.

A result counts as done if its sidecar holds the same decisions, input and model, and the hash of the result. A killed
run therefore resumes where it stopped.
"""

import json
import shlex
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import jax
import PIL

from jaxsr.batch.jobs import Job
from jaxsr.batch.request import Request, SourceFile
from jaxsr.guidance.guide import Scales
from jaxsr.hub.cards import find_card
from jaxsr.hub.hugging_face import PREFIX
from jaxsr.options import spell_tile, spell_value
from jaxsr.plain_data import parse_json
from jaxsr.runtime.cpu import processor
from jaxsr.storage import sha256_file
from jaxsr.upscaling.plan import ImageRun
from jaxsr.upscaling.upscaler import Upscaler
from jaxsr.version import __version__


class ExistsError(ValueError):
    """The result of a job exists, but was made from another request."""


def is_done(job: Job, request: Request) -> bool:
    """Return whether the result exists and was made from this request.

    The options may equal either the requested or the used options in the sidecar, because `auto` is less exact than a
    number.

    Raises:
        ExistsError: if the file exists, but was made from another request.
        OSError: if the result cannot be read.
    """
    if not job.target.exists():
        return False
    decisions = request.decisions()
    why = "but was made from another input or with other options"
    made = None
    try:
        record = parse_json(job.sidecar.read_bytes())
        same = record["model_sha256"] == request.model_sha256 and decisions in (record["requested"], record["options"])
        if same and record["input_sha256"] == request.input.sha256:
            made, why = record["output_sha256"], "but was changed after it was made"
    except FileNotFoundError:
        why = f"without its record {job.sidecar.name}"
    except (OSError, ValueError, KeyError, TypeError):
        why = f"but its record {job.sidecar.name} cannot be read"
    if made is not None and made == sha256_file(job.target):
        return True
    raise ExistsError(f"{job.target} exists, {why}; give --overwrite, a --suffix or another --output.")


def describe(
    upscaler: Upscaler, request: Request, done: Sequence[ImageRun], *, accept_license: bool = False
) -> dict[str, Any]:
    """Describe a result for its sidecar: the request, its runs, and the command that makes the result again."""
    return {
        "command": command(upscaler, request, done, accept_license=accept_license),
        **request.to_record(),
        "options": request.used([run.options for run in done]).decisions(),
        "batch": done[0].batch,
        "tiles": len(done[0].plan),
        "preset": upscaler.preset.to_dict(),
        **surroundings(),
        "processor": processor(),
    } | _describe_guidance(request, done[0].scales if not request.panels else None)


def surroundings() -> dict[str, str]:
    """Return what may change the bytes of a result besides its request, by name."""
    versions = {"jaxsr": __version__, "jax": jax.__version__, "pillow": PIL.__version__}
    return {"device": jax.devices()[0].device_kind} | versions


def inner_record(upscaler: Upscaler, request: Request, done: Sequence[ImageRun]) -> str:
    """Return the record that a result carries inside its own file: JSON text of what decides its bytes.

    It has the names of files without their folders, and nothing that differs between two runs of one request.
    """

    def bare(file: SourceFile | None) -> SourceFile | None:
        return file and SourceFile(Path(file.path.name), file.sha256)

    files: dict[str, Any] = {name: bare(file) for name, file in request.guide_files.items()}
    files |= {"input": bare(request.input), "calibration": None}
    used = request.used([run.options for run in done])
    named = replace(used, **files, preset=None, batch=done[0].batch, model=_known_name(upscaler, request))
    return json.dumps(named.to_record() | surroundings(), separators=(",", ":"))


def _known_name(upscaler: Upscaler, request: Request) -> str:
    """Return the name of a model that others can load too, else the name of its file and folder."""
    if card := find_card(request.model):
        return card.name
    return request.model if request.model.startswith(PREFIX) else "/".join(upscaler.source.parts[-2:])


def _describe_guidance(request: Request, scales: Scales | None) -> dict[str, Any]:
    """Describe the scales of every step and their origin; {} without guidance."""
    if scales is None:
        return {}
    lr: Any = scales.lr[0] if len(scales.lr) == 1 else scales.lr
    record: dict[str, Any] = {"order": "t = 1, the last step taken, first", "alpha": lr}
    if scales.hr:
        record |= {"reference_scale": scales.hr, "reference_offset": scales.offset}
    record |= {f"fit_{name}": numbers for name, numbers in scales.quality.items()}
    if request.calibration:
        record |= {"preset": request.preset, "calibration": request.calibration.path.name}
        record |= {"calibration_sha256": request.calibration.sha256}
    record |= {name: file.path.name for name, file in request.guide_files.items()}
    return {"guidance": record | {f"{name}_sha256": file.sha256 for name, file in request.guide_files.items()}}


def command(upscaler: Upscaler, request: Request, done: Sequence[ImageRun], *, accept_license: bool = False) -> str:
    """Return the command that makes the result again, in ./out of any folder. Paths are absolute, no choice is open.

    The panels of a strip with names take their numbers from the calibration again.
    """
    model = request.model if find_card(request.model) else upscaler.source.resolve()
    options = request.used([run.options for run in done]).options
    flags = {"input": _whole(request.input.path), "model": model} | asdict(options)
    flags |= {"tile": spell_tile(options.tile)}
    flags |= {"seed": request.seed, "n-samples": request.sample + 1, "batch": done[0].batch, "quality": request.quality}
    labels = tuple(panel.label.removeprefix("alpha ") for panel in request.panels)
    flags |= {"ext": _extension(request), "strip": labels or request.strip or None}
    if request.panels and request.calibration:
        flags["calibration"] = _whole(request.calibration.path)
    names = ("metadata", "reference_box", "feather", "objective", "scale", "width", "height", "colour_fix", "crop")
    flags |= {name: getattr(request, name) for name in names}
    flags |= {name: _whole(file.path) for name, file in request.guide_files.items()}
    words = [f"--{name.replace('_', '-')}={spell_value(value)}" for name, value in flags.items() if value is not None]
    return shlex.join(["python", "-m", "jaxsr.sample", *words, *["--accept-license"] * accept_license])


def _whole(path: Path) -> Path:
    """Return an absolute path. A pipe keeps its name, because the one behind /dev/stdin means nothing later."""
    return path.absolute() if path.exists() and not path.is_file() else path.resolve()


def _extension(request: Request) -> str | None:
    """Return the format if the command must name it, because it differs from the input's extension; else None."""
    names = {"jpeg": "jpg", "tiff": "tif"}
    own, wanted = (names.get(name, name) for name in (request.input.path.suffix.lower()[1:], request.format))
    return None if own == wanted else wanted

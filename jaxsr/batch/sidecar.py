"""The sidecar of a result: its request, the facts of how it was made, and the command that makes it again.

A result counts as done when its sidecar holds the same decisions, input and model, and the hash of the result. So a
killed run resumes where it stopped.
"""

import json
import shlex
from dataclasses import asdict
from typing import Any

import jax

from jaxsr.batch.jobs import Job
from jaxsr.batch.request import Request
from jaxsr.guidance.guide import Scales
from jaxsr.hub.cards import MODELS
from jaxsr.storage import sha256_file
from jaxsr.upscaling.plan import ImageRun
from jaxsr.upscaling.upscaler import Upscaler
from jaxsr.version import __version__


class ExistsError(ValueError):
    """A result exists that was made from another request."""


def is_done(job: Job, request: Request) -> bool:
    """Whether the result exists and was made from this request.

    The options may equal those that were asked for then, or those that were used: `auto` says less than a number.

    Raises:
        ExistsError: if a file exists that was made otherwise.
        OSError: if the result cannot be read.
    """
    if not job.target.exists():
        return False
    decisions = request.decisions()
    try:
        record = json.loads(job.sidecar.read_text(encoding="utf-8"))
        same = record["model_sha256"] == request.model_sha256 and decisions in (record["requested"], record["options"])
        hashes = (record["input_sha256"], record["output_sha256"])
    except (OSError, ValueError, KeyError, TypeError):
        same, hashes = False, ()
    if same and hashes == (request.input.sha256, sha256_file(job.target)):
        return True
    raise ExistsError(f"{job.target} exists and was made otherwise; give --overwrite, a --suffix or another --output.")


def describe(upscaler: Upscaler, request: Request, done: ImageRun, *, accept_license: bool = False) -> dict[str, Any]:
    """The sidecar of a result: the request, what was done, and the command that does it again."""
    return {
        "command": command(upscaler, request, done, accept_license=accept_license),
        **request.to_record(),
        "options": request.used(done.options).decisions(),
        "batch": done.batch,
        "tiles": len(done.plan),
        "preset": upscaler.preset.to_dict(),
        "device": jax.devices()[0].device_kind,
        "jaxsr": __version__,
        "jax": jax.__version__,
    } | _describe_guidance(request, done.scales)


def _describe_guidance(request: Request, scales: Scales | None) -> dict[str, Any]:
    """The scales of every step and their origin; {} without guidance."""
    if scales is None:
        return {}
    lr: Any = scales.lr[0] if len(scales.lr) == 1 else scales.lr
    told: dict[str, Any] = {"order": "t = 1, the last step taken, first", "alpha": lr}
    if scales.hr:
        told |= {"reference_scale": scales.hr, "reference_offset": scales.offset}
    if request.calibration:
        told |= {"preset": request.preset, "calibration": request.calibration.path.name}
        told |= {"calibration_sha256": request.calibration.sha256}
    told |= {name: file.path.name for name, file in request.guide_files.items()}
    return {"guidance": told | {f"{name}_sha256": file.sha256 for name, file in request.guide_files.items()}}


def command(upscaler: Upscaler, request: Request, done: ImageRun, *, accept_license: bool = False) -> str:
    """The command that makes the result again, into ./out of any folder: absolute paths, nothing left open."""
    model = request.model if request.model in MODELS else upscaler.source.resolve()
    flags = {"input": request.input.path.resolve(), "model": model} | asdict(done.options)
    flags |= {"seed": request.seed, "n-samples": request.sample + 1, "batch": done.batch, "quality": request.quality}
    flags |= {"ext": _extension(request), "strip": request.strip or None}
    flags |= {name: getattr(request, name) for name in ("reference_box", "feather", "objective")}
    flags |= {name: file.path.resolve() for name, file in request.guide_files.items()}
    words = [f"--{name.replace('_', '-')}={_word(value)}" for name, value in flags.items() if value is not None]
    return shlex.join(["python", "-m", "jaxsr.sample", *words, *["--accept-license"] * accept_license])


def _extension(request: Request) -> str | None:
    """The format where it has to be said, because the input's own name does not give it."""
    names = {"jpeg": "jpg", "tiff": "tif"}
    own, wanted = (names.get(name, name) for name in (request.input.path.suffix.lower()[1:], request.format))
    return None if own == wanted else wanted


def _word(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)

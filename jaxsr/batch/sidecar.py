"""The sidecar of a result: its request, the facts about its run, and the command that makes it again.

A result counts as done if its sidecar holds the same decisions, input and model, and the hash of the result. A killed
run therefore resumes where it stopped.
"""

import shlex
from dataclasses import asdict
from typing import Any

import jax

from jaxsr.batch.jobs import Job
from jaxsr.batch.request import Request
from jaxsr.guidance.guide import Scales
from jaxsr.hub.cards import find_card
from jaxsr.options import spell_tile
from jaxsr.plain_data import parse_json
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
    try:
        record = parse_json(job.sidecar.read_bytes())
        same = record["model_sha256"] == request.model_sha256 and decisions in (record["requested"], record["options"])
        hashes = (record["input_sha256"], record["output_sha256"])
    except (OSError, ValueError, KeyError, TypeError):
        same, hashes = False, ()
    if same and hashes == (request.input.sha256, sha256_file(job.target)):
        return True
    raise ExistsError(
        f"{job.target} exists, but was made from another input or with other options; give --overwrite, a --suffix or "
        "another --output."
    )


def describe(upscaler: Upscaler, request: Request, done: ImageRun, *, accept_license: bool = False) -> dict[str, Any]:
    """Describe a result for its sidecar: the request, the run, and the command that makes the result again."""
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


def command(upscaler: Upscaler, request: Request, done: ImageRun, *, accept_license: bool = False) -> str:
    """Return the command that makes the result again, in ./out of any folder. Paths are absolute, no choice is open."""
    model = request.model if find_card(request.model) else upscaler.source.resolve()
    flags = {"input": request.input.path.resolve(), "model": model} | asdict(done.options)
    flags |= {"tile": spell_tile(done.options.tile)}
    flags |= {"seed": request.seed, "n-samples": request.sample + 1, "batch": done.batch, "quality": request.quality}
    flags |= {"ext": _extension(request), "strip": request.strip or None}
    flags |= {name: getattr(request, name) for name in ("metadata", "reference_box", "feather", "objective")}
    flags |= {name: file.path.resolve() for name, file in request.guide_files.items()}
    words = [f"--{name.replace('_', '-')}={_word(value)}" for name, value in flags.items() if value is not None]
    return shlex.join(["python", "-m", "jaxsr.sample", *words, *["--accept-license"] * accept_license])


def _extension(request: Request) -> str | None:
    """Return the format if the command must name it, because it differs from the input's extension; else None."""
    names = {"jpeg": "jpg", "tiff": "tif"}
    own, wanted = (names.get(name, name) for name in (request.input.path.suffix.lower()[1:], request.format))
    return None if own == wanted else wanted


def _word(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)

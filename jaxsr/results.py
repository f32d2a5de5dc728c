"""One result: a photograph read, enlarged and written, with a sidecar that tells how to make it again."""

import argparse
import shlex
import time
from dataclasses import asdict, replace
from typing import Any

import jax
import numpy as np

import jaxsr
from jaxsr.checkpoint import sha256_file
from jaxsr.imaging.files import check_side, read_photo
from jaxsr.jobs import Job, requested, write_result
from jaxsr.options import Options, Run
from jaxsr.pipeline import Progress, Upscaler
from jaxsr.registry import known_models


def make(upscaler: Upscaler, job: Job, options: Options, args: argparse.Namespace, progress: Progress) -> None:
    """Read, enlarge and write one photograph, with its sidecar."""
    photo, scale, began = read_photo(job.source), upscaler.preset.scale, time.perf_counter()
    height, width = (scale * n for n in photo.rgb.shape[:2])
    check_side(job.target, max(height, width))
    enlarged = np.empty((height, width, 3), np.float32)
    choices = {"seed": args.seed, "sample": job.sample, "batch": args.batch, "progress": progress}
    rgb, alpha = photo.rgb, photo.alpha
    if alpha is not None:
        from jaxsr.imaging.alpha import bleed, upscale_alpha  # scipy.ndimage, for transparent ones only

        rgb, alpha = bleed(rgb, alpha), upscale_alpha(alpha, scale)
    done = upscaler.enlarge(rgb, enlarged, options, **choices)
    record = describe(upscaler, job, options, done, args)
    record |= {"size": [width, height], "seconds": round(time.perf_counter() - began, 3)}
    write_result(job, replace(photo, rgb=enlarged, alpha=alpha), record, quality=args.quality)


def describe(upscaler: Upscaler, job: Job, options: Options, done: Run, args: argparse.Namespace) -> dict[str, Any]:
    """What the sidecar tells: all that is needed to make the result again, and what it was made with."""
    chosen = {"seed": args.seed, "quality": args.quality}
    asked, used = (requested(job, upscaler.sha256, asdict(o), **chosen) for o in (options, done.options))
    return {
        "command": command(upscaler, job, done, args),
        "input": str(job.source),
        "input_sha256": sha256_file(job.source),
        "model": args.model,
        "model_sha256": upscaler.sha256,
        "requested": asked["options"],
        "options": used["options"],
        "batch": done.batch,
        "tiles": len(done.plan),
        "preset": upscaler.preset.to_dict(),
        "device": jax.devices()[0].device_kind,
        "jaxsr": jaxsr.__version__,
        "jax": jax.__version__,
    }


def command(upscaler: Upscaler, job: Job, done: Run, args: argparse.Namespace) -> str:
    """The command that makes the result again, into ./out of any folder: absolute paths, no choice left open."""
    known = args.model in [card.name for card in known_models()]
    flags = {"input": job.source.resolve(), "model": args.model if known else upscaler.source.resolve()}
    flags |= asdict(done.options) | {"seed": args.seed, "n-samples": job.sample + 1, "batch": done.batch}
    flags |= {"quality": args.quality} | ({"ext": args.ext} if args.ext else {})
    words = [f"--{name}={value}" for name, value in flags.items()]
    return shlex.join(["python", "-m", "jaxsr.sample", *words, *["--accept-license"] * args.accept_license])

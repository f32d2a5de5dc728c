"""One result: a photograph read, enlarged and written, with a sidecar that tells how to make it again."""

import argparse
import shlex
import time
from dataclasses import asdict
from math import prod
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jaxtyping import Float, UInt8, UInt16

import jaxsr
from jaxsr.checkpoint import sha256_file
from jaxsr.imaging.files import Photo, check_side, pixel_dtype, read_photo
from jaxsr.imaging.pixels import from_float
from jaxsr.jobs import Job, requested, write_result
from jaxsr.options import Options, Run, plan_run
from jaxsr.pipeline import Progress, Upscaler
from jaxsr.registry import known_models

_ALPHA_BAND = 64  # rows of the input
_LANCZOS_REACH = 3  # pixels of the input


def make(upscaler: Upscaler, job: Job, options: Options, args: argparse.Namespace, progress: Progress) -> None:
    """Read, enlarge and write one photograph, with its sidecar; the enlarged one is held once, in its file's depth."""
    photo, scale, began = read_photo(job.source), upscaler.preset.scale, time.perf_counter()
    height, width, channels = result_shape(photo, scale)
    check_side(job.target, max(height, width))
    pixels = np.empty((height, width, channels), pixel_dtype(job.target, photo.depth))
    rgb = photo.rgb
    if photo.alpha is not None:
        from jaxsr.imaging.alpha import bleed  # scipy.ndimage, for transparent ones only

        rgb = bleed(rgb, photo.alpha)
        enlarge_alpha(photo.alpha, scale, pixels[..., -1])
    colour = pixels[..., 0] if photo.grey else pixels[..., :3]
    choices = {"seed": args.seed, "sample": job.sample, "batch": args.batch, "progress": progress}
    done = upscaler.enlarge(rgb, colour, options, **choices)
    record = describe(upscaler, job, options, done, args)
    record |= {"size": [width, height], "seconds": round(time.perf_counter() - began, 3)}
    write_result(job, pixels, photo, record, quality=args.quality)


def enlarge_alpha(
    alpha: Float[np.ndarray, "h w"], scale: int, out: UInt8[np.ndarray, "H W"] | UInt16[np.ndarray, "H W"]
) -> None:
    """As `upscale_alpha`, into `out` in its type, by bands: the whole as float would be larger than the result."""
    from jaxsr.imaging.alpha import upscale_alpha

    for top in range(0, len(alpha), _ALPHA_BAND):
        first, end = max(top - _LANCZOS_REACH, 0), min(top + _ALPHA_BAND, len(alpha))
        band = upscale_alpha(alpha[first : end + _LANCZOS_REACH], scale)
        out[scale * top : scale * end] = from_float(band[scale * (top - first) : scale * (end - first)], out.dtype)


def result_shape(photo: Photo, scale: int) -> tuple[int, int, int]:
    """(height, width, channels) of the enlarged photograph."""
    height, width = photo.rgb.shape[:2]
    return scale * height, scale * width, (1 if photo.grey else 3) + (photo.alpha is not None)


def held_bytes(photo: Photo, scale: int, target: Path) -> int:
    """About the most memory that the enlarged photograph takes: its pixels, the encoder's copy, and the file."""
    return 3 * prod(result_shape(photo, scale)) * np.dtype(pixel_dtype(target, photo.depth)).itemsize


def foresee(
    upscaler: Upscaler, job: Job, options: Options, batch: int, costs: dict[int, tuple[Run, float, float]]
) -> tuple[str, float]:
    """A line that tells what `make` would do, and its seconds; `costs` keeps what is measured, by the tile's side."""
    photo, scale = read_photo(job.source), upscaler.preset.scale
    size, (height, width, _) = photo.rgb.shape[:2], result_shape(photo, scale)
    check_side(job.target, max(height, width))
    tile = plan_run(upscaler.preset, size, options).plan.tile
    if tile not in costs:
        costs[tile] = upscaler.measure(size, options, batch)
    run, seconds, memory = costs[tile]
    plan = plan_run(upscaler.preset, size, run.options).plan
    seconds *= -(-len(plan) // run.batch)
    line = (
        f"{job.source} {size[1]}x{size[0]} -> {job.target} {width}x{height}: {len(plan)} tiles of {plan.tile}, "
        f"{memory / 1e6:.0f} MB for the network, {held_bytes(photo, scale, job.target) / 1e6:.1f} MB for the image, "
        f"about {seconds:.1f} s"
    )
    return line, seconds


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

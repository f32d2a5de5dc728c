"""One result: a photograph read, enlarged and written, with a sidecar that tells how to make it again."""

import argparse
import math
import shlex
import time
from dataclasses import asdict, dataclass
from math import prod
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jaxtyping import Float, Num, UInt8, UInt16

import jaxsr
from jaxsr.checkpoint import sha256_file
from jaxsr.guide_files import Recipe, describe_guidance
from jaxsr.imaging.decode import Pixels
from jaxsr.imaging.files import JPEG, Photo, check_side, pixel_dtype, read_photo
from jaxsr.imaging.pixels import from_float
from jaxsr.jobs import Job, requested, write_result
from jaxsr.metrics.consistency import lr_consistency_by_bands
from jaxsr.options import Options, Run, plan_run
from jaxsr.pipeline import Progress, Upscaler
from jaxsr.registry import known_models
from jaxsr.strip import new_strip, panels, strip_shape

_ALPHA_BAND = 64  # rows of the input
_LANCZOS_REACH = 3  # pixels of the input


@dataclass(frozen=True)
class Made:
    """What is told of a result that was made.

    Attributes:
        consistency: with the input (`lr_consistency`) in dB, of a strip the mean over the panels.
        lost: what the photograph lost on its way, each to be read after "the image".
    """

    consistency: float
    lost: tuple[str, ...]


def make(upscaler: Upscaler, job: Job, recipe: Recipe, args: argparse.Namespace, progress: Progress) -> Made:
    """Read, enlarge and write one photograph, with its sidecar; the enlarged one is held once, in its file's depth."""
    photo, scale, began = read_photo(job.source), upscaler.preset.scale, time.perf_counter()
    check_side(job.target, max(result_shape(photo, scale, recipe)))
    rgb = photo.rgb
    if photo.alpha is not None:
        from jaxsr.imaging.alpha import bleed  # scipy.ndimage, for transparent ones only

        rgb = bleed(rgb, photo.alpha)
    pixels, colour = _canvas(photo, scale, recipe, job)
    choices = {"seed": args.seed, "sample": job.sample, "batch": args.batch, "progress": progress}
    done = upscaler.enlarge(rgb, colour, recipe.options, guide=recipe.guide(rgb, scale), **choices)
    consistency = _consistency(colour, rgb, scale)
    record = describe(upscaler, job, recipe, done, args) | {"size": [pixels.shape[1], pixels.shape[0]]}
    told = [round(value, 3) if math.isfinite(value) else None for value in consistency]
    lost = losses(photo, pixels, job.target, strip=bool(recipe.strip))
    record |= {"lr_consistency_db": told if recipe.strip else told[0], "notes": [f"The image {it}." for it in lost]}
    record |= {"seconds": round(time.perf_counter() - began, 3)}
    write_result(job, pixels, photo, record, quality=args.quality)
    return Made(sum(consistency) / len(consistency), lost)


def losses(photo: Photo, pixels: Pixels, target: Path, *, strip: bool) -> tuple[str, ...]:
    """What the photograph lost on its way into `target`, which is to hold `pixels`; nothing where nothing was lost."""
    lost, jpeg = photo.lost, target.suffix.lower() in JPEG
    holder = "a strip" if strip else "JPEG" if jpeg else "WebP"
    if (strip or jpeg) and photo.alpha is not None and photo.alpha.min() < 1:
        lost += (f"lost transparency ({holder} cannot hold it)",)
    if photo.depth > 8 * pixels.itemsize:
        lost += (f"lost depth beyond 8 bits a channel ({holder} cannot hold it)",)
    return lost


def _canvas(photo: Photo, scale: int, recipe: Recipe, job: Job) -> tuple[Pixels, Num[np.ndarray, "H W *c"]]:
    """The pixels of the result, alpha and labels filled in, and those of them that are to be enlarged."""
    height, width = (scale * n for n in photo.rgb.shape[:2])
    if recipe.strip:
        strip = new_strip(height, width, recipe.strip)
        return strip, panels(strip, len(recipe.strip))
    pixels = np.empty(result_shape(photo, scale, recipe), pixel_dtype(job.target, photo.depth))
    if photo.alpha is not None:
        enlarge_alpha(photo.alpha, scale, pixels[..., -1])
    return pixels, pixels[..., 0] if photo.grey else pixels[..., :3]


def _consistency(colour: Num[np.ndarray, "H W *c"], rgb: Float[np.ndarray, "h w 3"], scale: int) -> list[float]:
    """In dB, of every panel."""
    if colour.ndim == 4:
        return [lr_consistency_by_bands(colour[:, :, i], rgb, scale) for i in range(colour.shape[2])]
    grey = colour.ndim == 2
    return [lr_consistency_by_bands(colour[..., None] if grey else colour, rgb[..., :1] if grey else rgb, scale)]


def enlarge_alpha(
    alpha: Float[np.ndarray, "h w"], scale: int, out: UInt8[np.ndarray, "H W"] | UInt16[np.ndarray, "H W"]
) -> None:
    """As `upscale_alpha`, into `out` in its type, by bands: the whole as float would be larger than the result."""
    from jaxsr.imaging.alpha import upscale_alpha

    for top in range(0, len(alpha), _ALPHA_BAND):
        first, end = max(top - _LANCZOS_REACH, 0), min(top + _ALPHA_BAND, len(alpha))
        band = upscale_alpha(alpha[first : end + _LANCZOS_REACH], scale)
        out[scale * top : scale * end] = from_float(band[scale * (top - first) : scale * (end - first)], out.dtype)


def result_shape(photo: Photo, scale: int, recipe: Recipe) -> tuple[int, int, int]:
    """(height, width, channels) of the enlarged photograph, or of the strip of it."""
    height, width = (scale * n for n in photo.rgb.shape[:2])
    if recipe.strip:
        return strip_shape(height, width, len(recipe.strip))
    return height, width, (1 if photo.grey else 3) + (photo.alpha is not None)


def held_bytes(photo: Photo, scale: int, target: Path, recipe: Recipe) -> int:
    """About the most memory that the enlarged photograph takes: its pixels, the encoder's copy, and the file."""
    return 3 * prod(result_shape(photo, scale, recipe)) * np.dtype(pixel_dtype(target, photo.depth)).itemsize


def foresee(
    upscaler: Upscaler, job: Job, recipe: Recipe, batch: int, costs: dict[int, tuple[Run, float, float]]
) -> tuple[str, float]:
    """A line that tells what `make` would do, and its seconds; `costs` keeps what is measured, by the tile's side.

    The seconds are without the fit of a reference.
    """
    photo, scale, options = read_photo(job.source), upscaler.preset.scale, recipe.options
    size, (height, width, _) = photo.rgb.shape[:2], result_shape(photo, scale, recipe)
    check_side(job.target, max(height, width))
    guide, tile = recipe.guide(photo.rgb, scale), plan_run(upscaler.preset, size, options).plan.tile
    if tile not in costs:
        costs[tile] = upscaler.measure(size, options, batch, guide)
    run, seconds, memory = costs[tile]
    plan = plan_run(upscaler.preset, size, run.options).plan
    seconds *= -(-len(plan) // run.batch)
    held = held_bytes(photo, scale, job.target, recipe)
    line = (
        f"{job.source} {size[1]}x{size[0]} -> {job.target} {width}x{height}: {len(plan)} tiles of {plan.tile}, "
        f"{memory / 1e6:.0f} MB for the network, {held / 1e6:.1f} MB for the image, about {seconds:.1f} s"
    )
    return line, seconds


def wanted(upscaler: Upscaler, job: Job, recipe: Recipe, options: Options, args: argparse.Namespace) -> dict[str, Any]:
    """What decides the bits of the result, with `options` in place of the recipe's: see `jobs.requested`."""
    chosen = asdict(options) | recipe.chosen()
    return requested(job, upscaler.sha256, chosen, seed=args.seed, quality=args.quality)


def describe(upscaler: Upscaler, job: Job, recipe: Recipe, done: Run, args: argparse.Namespace) -> dict[str, Any]:
    """What the sidecar tells: all that is needed to make the result again, and what it was made with."""
    asked, used = (wanted(upscaler, job, recipe, options, args) for options in (recipe.options, done.options))
    return {
        "command": command(upscaler, job, recipe, done, args),
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
    } | describe_guidance(args, upscaler.source, recipe, done)


def command(upscaler: Upscaler, job: Job, recipe: Recipe, done: Run, args: argparse.Namespace) -> str:
    """The command that makes the result again, into ./out of any folder: absolute paths, no choice left open."""
    known = args.model in [card.name for card in known_models()]
    flags = {"input": job.source.resolve(), "model": args.model if known else upscaler.source.resolve()}
    flags |= asdict(done.options) | {"seed": args.seed, "n-samples": job.sample + 1, "batch": done.batch}
    flags |= {"quality": args.quality} | ({"ext": args.ext} if args.ext else {}) | recipe.flags()
    words = [f"--{name.replace('_', '-')}={_word(value)}" for name, value in flags.items() if value is not None]
    return shlex.join(["python", "-m", "jaxsr.sample", *words, *["--accept-license"] * args.accept_license])


def _word(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)

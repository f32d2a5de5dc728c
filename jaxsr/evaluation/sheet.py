"""A contact sheet of the worst images of a result: input, result and original side by side, under their numbers."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageDraw, ImageFont

from jaxsr.evaluation.images import Pair, Ready, load
from jaxsr.evaluation.result import Result
from jaxsr.evaluation.run import Evaluation, make
from jaxsr.imaging.pixels import from_float
from jaxsr.metrics.catalogue import METRICS
from jaxsr.storage import whole_file

WORST = 10
SIDE, GAP, LABEL = 256, 6, 16


@dataclass(frozen=True)
class Bad:
    """One of the worst results: its image, patch, seed and number."""

    image: str
    patch: int
    seed: int
    value: float


def worst(result: Result, metric: str, count: int = WORST) -> list[Bad]:
    """List the `count` worst rows of a metric, the worst first, each image and patch once."""
    scored = (row for row in result.images if row.get(metric) is not None)
    rows = [Bad(row["image"], row["patch"], row["seed"], row[metric]) for row in scored]
    ordered = sorted(rows, key=lambda bad: bad.value, reverse=METRICS[metric].more_is_better is False)
    first: dict[tuple[str, int], Bad] = {}
    for bad in ordered:
        first.setdefault((bad.image, bad.patch), bad)
    return list(first.values())[:count]


def write_sheet(path: Path, job: Evaluation, result: Result, metric: str) -> None:
    """Write the contact sheet of the worst results by a metric that has numbers. Results are read or made again."""
    rows = [
        _row(_pair(job, bad), f"{bad.image} #{bad.patch} seed {bad.seed}  {_number(metric, bad)}")
        for bad in worst(result, metric)
    ]
    file_format = Image.registered_extensions().get(path.suffix.lower(), "PNG")
    with whole_file(path) as part:
        Image.fromarray(np.concatenate(rows)).save(part, file_format)


def _number(metric: str, bad: Bad) -> str:
    return f"{METRICS[metric].title} {bad.value:.{METRICS[metric].digits}f}"


def _pair(job: Evaluation, bad: Bad) -> Pair:
    item = next(item for item in job.items if item.name == bad.image)
    pair = load(item, job.protocol, make_lr=job.method is not None).pairs[bad.patch]
    return pair if job.method is None else make(job.method, [pair], bad.seed, job.protocol)[0]


def _row(pair: Pair, label: str) -> UInt8[np.ndarray, "h w 3"]:
    """Draw the available images of a pair (input, result, original) side by side, with a label on top."""
    row = Image.new("RGB", (3 * (SIDE + GAP), SIDE + LABEL + GAP), "white")
    ImageDraw.Draw(row).text((2, 0), label, "black", ImageFont.load_default(12))
    for place, pixels in enumerate((pair.lr, pair.sr, pair.hr)):
        if pixels is not None:
            row.paste(_thumbnail(pixels), (place * (SIDE + GAP), LABEL))
    return np.asarray(row)


def _thumbnail(pixels: Ready) -> Image.Image:
    """Fit an image into a square of SIDE: shrink a larger one, enlarge a smaller one with square pixels."""
    image = Image.fromarray(pixels if pixels.dtype == np.uint8 else from_float(pixels, np.uint8))
    factor = SIDE / max(image.size)
    width, height = (max(1, round(factor * n)) for n in image.size)
    return image.resize((width, height), Image.Resampling.NEAREST if factor > 1 else Image.Resampling.LANCZOS)


def default_metric(result: Result) -> str | None:
    """Choose the default metric of a sheet: the first with numbers for images and a better direction; else None."""
    return next(
        (name for name in result.scored if METRICS[name].more_is_better is not None and worst(result, name, 1)), None
    )

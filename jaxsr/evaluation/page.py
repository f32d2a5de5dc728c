"""One HTML page that compares pictures: a slider, linked zoom, and scores. It needs no other file and no network."""

import base64
import html
import importlib.resources
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from jaxsr.errors import IMAGE_FAILED
from jaxsr.evaluation.images import Pair, read_picture
from jaxsr.evaluation.metrics import check_metrics, describe, why_missing
from jaxsr.evaluation.protocol_files import load_protocol
from jaxsr.evaluation.scoring import Scorer, Scores
from jaxsr.imaging.pixels import from_float
from jaxsr.metrics.catalogue import METRICS

REFERENCE = "reference"
"""The name of the original on the page."""
ALONE, WITH_REFERENCE = ("niqe",), ("psnr", "ssim", "lpips", "niqe")
"""The metrics of a page without and with an original, if the user names none."""
MOST_SCORED = 16e6
"""Pixels of the largest picture that is scored here: LPIPS holds features of the whole picture."""
_SHAPES = 0.01  # of the aspect ratio: pictures of one scene at several sizes differ by a rounded pixel
_PROTOCOL = "plain"
_AS_IT_IS = {b"\x89PNG\r\n\x1a\n": "png", b"\xff\xd8\xff": "jpeg"}


@dataclass(frozen=True, eq=False)
class ShownPicture:
    """A picture of the page.

    Attributes:
        name: its label.
        uri: its file as a data URI that every browser shows.
        pixels: 8-bit RGB, as it shows on white.
    """

    name: str
    uri: str
    pixels: UInt8[np.ndarray, "h w 3"]


def show_picture(path: Path, name: str) -> ShownPicture:
    """Read a picture for the page. PNG and JPEG files stay as they are; others become PNG. Raises ImageFileError."""
    stored = read_picture(path).pixels
    pixels = stored if stored.dtype == np.uint8 else from_float(stored / np.float32(65535), np.uint8)
    data = path.read_bytes() if path.is_file() else b""
    kind = next((kind for head, kind in _AS_IT_IS.items() if data.startswith(head)), None)
    if kind is None or (kind == "jpeg" and _is_cmyk(data)):
        stream = BytesIO()
        Image.fromarray(pixels).save(stream, "PNG")
        kind, data = "png", stream.getvalue()
    return ShownPicture(name, f"data:image/{kind};base64,{base64.b64encode(data).decode()}", pixels)


def _is_cmyk(data: bytes) -> bool:
    with Image.open(BytesIO(data)) as image:
        return image.mode == "CMYK"


def check_shapes(pictures: Sequence[ShownPicture]) -> None:
    """Raise ValueError if the pictures are not of one aspect ratio. Their sizes may differ."""
    first, *others = pictures
    ratio = first.pixels.shape[1] / first.pixels.shape[0]
    for other in others:
        height, width = other.pixels.shape[:2]
        if abs(width / height / ratio - 1) > max(_SHAPES, 1 / min(height, width)):
            raise ValueError(
                f"{other.name}: {width}x{height} has not the proportions of {first.name}, "
                f"{first.pixels.shape[1]}x{first.pixels.shape[0]}; compare pictures of one scene."
            )


def check_names(metrics: Sequence[str] | None, *, reference: bool) -> tuple[str, ...]:
    """Return the metrics of a page. Raises MetricError for one that is unknown, or impossible without an original."""
    protocol = load_protocol(_PROTOCOL)
    names = check_metrics(metrics or (WITH_REFERENCE if reference else ALONE), protocol, target=reference, lr=False)
    if external := [name for name in names if METRICS[name].measure is None]:
        raise ValueError(f"--metrics: {external[0]} is computed by pyiqa; use jaxsr evaluate, or leave it out.")
    return names


def score_pictures(
    pictures: Sequence[ShownPicture], metrics: Sequence[str], reference: ShownPicture | None
) -> tuple[list[Scores], list[str]]:
    """Score the pictures, and list what could not be computed, one sentence each.

    A picture of another size than the original has only the numbers that need no original.
    """
    protocol, rows, notes = load_protocol(_PROTOCOL), [], []
    missing = {name: reason for name in metrics if (reason := why_missing(name, protocol))}
    notes += [f"{name}: {reason}" for name, reason in missing.items()]
    there = [name for name in metrics if name not in missing]
    scorers: dict[tuple[str, ...], Scorer] = {}
    for picture in pictures:
        row: Scores = dict.fromkeys(metrics)
        rows.append(row)
        fits = reference is not None and reference.pixels.shape == picture.pixels.shape
        names = tuple(name for name in there if fits or not METRICS[name].needs_target)
        if picture.pixels[..., 0].size > MOST_SCORED:
            notes.append(f"{picture.name}: has no scores, because it has more than {MOST_SCORED / 1e6:.0f} megapixels")
            continue
        if reference is not None and not fits:
            notes.append(f"{picture.name}: has not the size of the {REFERENCE}, so that no number compares them")
        scorer = scorers.setdefault(names, Scorer(names, protocol, batch=1))
        original = reference.pixels if fits and reference is not None else None
        try:
            (found,) = scorer.score([Pair(picture.name, 0, original, None, picture.pixels, False)]) if names else [row]
        except IMAGE_FAILED as error:
            notes.append(f"{picture.name}: has no scores ({error})")
            continue
        row.update(found)
        notes += [f"{picture.name}: no {name} ({scorer.reasons[name]})" for name in names if row[name] is None]
    return rows, list(dict.fromkeys(notes))


def make_page(
    pictures: Sequence[ShownPicture],
    *,
    title: str,
    metrics: Sequence[str] = (),
    rows: Sequence[Mapping[str, float | None]] = (),
    notes: Sequence[str] = (),
) -> str:
    """Make the page.

    Args:
        pictures: the pictures in their order; the first two are compared at first.
        title: its heading.
        metrics, rows: the scores of the pictures, in the same order; pictures after the last row have none.
        notes: sentences below the scores.
    """
    source = importlib.resources.files("jaxsr") / "assets" / "compare" / "page.html"
    parts = {
        "title": html.escape(title),
        "panes": "\n".join(_pane(picture) for picture in pictures),
        "scores": _scores(pictures, metrics, rows, notes),
        "names": json.dumps([picture.name for picture in pictures]).replace("<", "\\u003c"),
    }
    page = source.read_text(encoding="utf-8")
    pieces = page.split("{{")
    filled = [pieces[0]]
    for piece in pieces[1:]:
        name, rest = piece.split("}}", 1)
        filled += [parts[name], rest]
    return "".join(filled)


def _pane(picture: ShownPicture) -> str:
    name, (height, width) = html.escape(picture.name), picture.pixels.shape[:2]
    size = f'width="{width}" height="{height}"'
    return (
        f'<figure class="pane"><img alt="{name}" {size} draggable="false" src="{picture.uri}">'
        f"<figcaption>{name}</figcaption></figure>"
    )


def _scores(
    pictures: Sequence[ShownPicture],
    metrics: Sequence[str],
    rows: Sequence[Mapping[str, float | None]],
    notes: Sequence[str],
) -> str:
    """Write the table of scores, with the best number of each metric marked."""
    shown = [name for name in metrics if any(row[name] is not None for row in rows)]
    lines = [f'<p class="note">{html.escape(note)}</p>' for note in notes]
    if not shown:
        return "\n".join(lines)
    protocol = load_protocol(_PROTOCOL)
    heads = "".join(
        f'<th scope="col" title="{html.escape(describe(name, protocol))}">{_head(name)}</th>' for name in shown
    )
    body = ""
    best = {name: _best(name, [row[name] for row in rows]) for name in shown}
    for picture, row in zip(pictures, rows, strict=False):
        cells = "".join(_cell(name, row[name], best[name]) for name in shown)
        height, width = picture.pixels.shape[:2]
        body += f'<tr><th scope="row">{html.escape(picture.name)}</th><td>{width}x{height}</td>{cells}</tr>'
    head = f"<tr><th>picture</th><th>pixels</th>{heads}</tr>"
    return "\n".join([f'<div class="scroll"><table><thead>{head}</thead><tbody>{body}</tbody></table></div>', *lines])


def _head(name: str) -> str:
    metric = METRICS[name]
    arrow = {True: " ↑", False: " ↓", None: ""}[metric.more_is_better]
    return html.escape(f"{metric.title}{f' in {metric.unit}' if metric.unit else ''}{arrow}")


def _best(name: str, values: Sequence[float | None]) -> float | None:
    known, better = [value for value in values if value is not None], METRICS[name].more_is_better
    return None if better is None or len(known) < 2 else (max if better else min)(known)


def _cell(name: str, value: float | None, best: float | None) -> str:
    if value is None:
        return "<td>–</td>"
    return f"<td{' class=best' if value == best else ''}>{value:.{METRICS[name].digits}f}</td>"

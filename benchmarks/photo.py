"""Compare the bundled models with other upscalers on real photographs and on bicubic reductions, and draw the front.

    python -m benchmarks.photo --data ../shared/data --wheels WHEELS
    python -m benchmarks.photo --data ../shared/data --results OSEDiff=../shared/reference/osediff_realsr --sets realsr

This is `python -m jaxsr.evaluate suite` with `photo-x4` first, with every rival of `benchmarks.rivals` that is
installed, and with pictures. All files come to `out/photo`: `front-SET.png` shows PSNR against LPIPS of every row,
`pictures-SET.png` parts of the results at 100 %. DISTS needs its weights (`python -m jaxsr.cli.convert_lpips dists`).
LPIPS takes the bundled weights, rounded to float16, unless others were converted. A stopped run resumes.
"""

import argparse
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

import jaxsr
from benchmarks.harness import command_line, machine, run_benchmark
from benchmarks.quality import to_uint8
from benchmarks.readings import METRICS as READINGS_METRICS
from benchmarks.readings import items_of
from benchmarks.rivals import RIVALS, Upscale, installed
from jaxsr.cli.evaluate_commands import SETS, named_folder
from jaxsr.cli.shared_options import whole
from jaxsr.errors import install
from jaxsr.evaluation.images import Pair, load
from jaxsr.evaluation.methods import Method
from jaxsr.evaluation.pairs import Item
from jaxsr.evaluation.protocol_files import load_protocol
from jaxsr.evaluation.result import Result
from jaxsr.evaluation.suite import PROTOCOLS, Suite, methods, run_suite

METRICS = (*READINGS_METRICS, "colour_drift", "flat_grain")
STEPS = (4, 1, 2, 8, 15, 30, 60)
HR_GUIDANCE = "HR guidance"
"""The end of the names of rows that are no methods, for they have seen the original."""
SHOWN = ("bicubic", "DAT-light", "Real-ESRGAN x4plus", "photo-x4, 1 step", "photo-x4, 4 steps", "photo-x4, vivid")
COLOURS = {"photo-x4": "tab:red", "tiny-x4": "tab:blue"}
SIDES: list[dict[str, Any]] = [
    {"xytext": (6, 0), "ha": "left", "va": "center"},
    {"xytext": (-6, 0), "ha": "right", "va": "center"},
    {"xytext": (0, 6), "ha": "center", "va": "bottom"},
    {"xytext": (0, -6), "ha": "center", "va": "top"},
    {"xytext": (5, -5), "ha": "left", "va": "top"},
    {"xytext": (-5, 5), "ha": "right", "va": "bottom"},
    {"xytext": (0, -16), "ha": "center", "va": "top"},
]
"""Places of a label beside its point, the best first."""
PART = 192


def rival_method(name: str, upscale: Upscale, **record: Any) -> Method:
    """Make the method of a rival, which takes 8-bit pixels and has no seed. `record` says what else decides it."""

    def make(pair: Pair, seed: int) -> np.ndarray:
        assert pair.lr is not None
        return upscale(to_uint8(pair.lr))

    return Method(name, make, {"kind": "rival", "name": name} | record, random=False)


def draw_front(results: Sequence[Result], path: Path) -> None:
    """Plot PSNR against LPIPS; without matplotlib nothing is written."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        print(f"no plot: it needs matplotlib; {install('notebooks')}", file=sys.stderr)
        return
    figure = Figure(figsize=(8, 5), layout="constrained")
    axes, labels = figure.add_subplot(), list[tuple[tuple[float, float], str, str]]()
    for family, points in _families(results).items():
        colour, label = COLOURS.get(family, "black"), f"{family} (numbers: steps)" if family in COLOURS else None
        found = ((re.fullmatch(r"(\d+) steps?", name), at) for at, names in points.items() for name in names)
        steps = sorted((int(match[1]), at) for match, at in found if match)
        if steps:
            axes.plot(*zip(*(at for _, at in steps), strict=True), color=colour, lw=0.8)
        axes.scatter(*zip(*points, strict=True), color=colour, s=18, label=label)
        for at, names in sorted(points.items()):
            text = ", ".join(name.removesuffix(" steps").removesuffix(" step") for name in names)
            labels.append((at, text, colour))
    axes.set(xlabel="PSNR-Y (dB), right is more faithful", ylabel="LPIPS, lower is better")
    axes.margins(x=0.15, y=0.08)
    axes.invert_yaxis()
    axes.legend(loc="best")
    _name_points(axes, labels)
    figure.savefig(path, dpi=140)


def _name_points(axes: Any, labels: Sequence[tuple[tuple[float, float], str, str]]) -> None:
    """Write the text of each (place, text, colour) beside its place, where it covers the least."""
    from matplotlib.transforms import Bbox

    axes.figure.draw_without_rendering()  # places in the figure are known only afterwards
    points = [axes.transData.transform(at) for at, _, _ in labels]
    taken = [Bbox([point - 4, point + 4]) for point in points]
    for at, text, colour in labels:
        drawn = [axes.annotate(text, at, color=colour, fontsize=8, textcoords="offset points", **to) for to in SIDES]
        boxes = [one.get_window_extent().padded(1) for one in drawn]
        best = min(range(len(SIDES)), key=lambda i: sum(_shared(boxes[i], other) for other in taken))
        taken.append(boxes[best])
        for one in drawn[:best] + drawn[best + 1 :]:
            one.remove()


def _shared(one: Any, other: Any) -> float:
    """Return the area that two boxes share."""
    width, height = (min(a, b) - max(c, d) for a, b, c, d in zip(one.max, other.max, one.min, other.min, strict=True))
    return max(width, 0) * max(height, 0)


def _families(results: Sequence[Result]) -> dict[str, dict[tuple[float, float], list[str]]]:
    """Group the names of results by model, and by place on the front: presets that are equal share a name there."""
    families: dict[str, dict[tuple[float, float], list[str]]] = {}
    for result in (result for result in results if not result.name.endswith(HR_GUIDANCE)):
        x, y = (result.metrics.get(name, {}).get("mean") for name in ("psnr", "lpips"))
        if x is None or y is None:
            continue  # a metric that was not asked for, or has no weights
        family, _, rest = result.name.partition(", ")
        at = round(x, 2), round(y, 3)
        families.setdefault(family, {}).setdefault(at, []).append(rest or family)
    return families


def draw_pictures(rows: Sequence[Method], items: Sequence[Item], path: Path, protocol: Any) -> None:
    """Draw one row per image: the middle of the results of the methods in SHOWN and of the original, at 100 %."""
    shown = [row for name in SHOWN for row in rows if row.name == name]
    width, caption = PART + 4, 18
    sheet = Image.new("RGB", (width * (len(shown) + 1), caption + width * len(items)), "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(12)
    for column, name in enumerate([*(row.name for row in shown), "original"]):
        draw.text((column * width + 2, 2), name, fill="black", font=font)
    for line, item in enumerate(items):
        pair = load(item, protocol, make_lr=True).pairs[0]
        assert pair.hr is not None
        pictures = [to_uint8(row.make(pair, 0)) for row in shown] + [to_uint8(pair.hr)]
        for column, picture in enumerate(pictures):
            top, left = ((side - PART) // 2 for side in picture.shape[:2])
            part = Image.fromarray(picture[max(top, 0) :, max(left, 0) :][:PART, :PART])
            sheet.paste(part, (column * width, caption + line * width))
    sheet.save(path, optimize=True)


def run(args: argparse.Namespace, command: str) -> None:
    if args.wheels is not None and not args.wheels.is_dir():
        raise ValueError(f"--wheels: there is no folder {args.wheels}; check the name.")
    models = {"photo-x4": jaxsr.load(args.model)} | {name: jaxsr.load(name) for name in args.beside}
    rivals = installed(args.wheels)
    for name in RIVALS.keys() - rivals.keys():
        print(f"{name} is left out: its packages or its wheel are missing, see benchmarks/rivals", file=sys.stderr)
    suite = Suite(
        models=models,
        data=args.data,
        sets=args.sets,
        limit=args.limit,
        steps=args.steps,
        results=dict(args.results),
        others=[rival_method(name, upscale) for name, upscale in rivals.items()],
        time=args.runs,
        metrics=tuple(args.metrics),
        command=command,
        report=_report,
    )
    results = run_suite(suite, args.output)
    for name in args.sets:
        of_set = [result for result in results if result.data["name"] == name]
        base = next(result for result in of_set if result.name == suite.base)
        draw_front([r for r in of_set if r.names == base.names], args.output / f"front-{name}.png")
        if args.pictures:
            protocol = load_protocol(PROTOCOLS[name])
            items = items_of(name, args.data, protocol, args.pictures)
            draw_pictures(methods(suite)[0], items, args.output / f"pictures-{name}.png", protocol)
    table = (args.output / "table.md").read_text(encoding="utf-8")
    print(f"`{command}`  \n{machine()}\n\n{table}")


def _report(row: str) -> Callable[[int, str], None]:
    print(row, file=sys.stderr, flush=True)
    return lambda count, name: None


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.photo", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", default="photo-x4", help="name, folder or file of the model called photo-x4")
    text = "further models, by name or folder; none leaves them out (default: tiny-x4)"
    parser.add_argument("--beside", nargs="*", default=["tiny-x4"], metavar="MODEL", help=text)
    parser.add_argument("--data", type=Path, required=True, help="folder that holds the sets")
    parser.add_argument("--wheels", type=Path, help="folder with the wheels of the rivals, see benchmarks/rivals")
    text = "results of other programs, as in evaluate suite"
    parser.add_argument("--results", type=named_folder, nargs="+", default=[], metavar="NAME=DIR", help=text)
    parser.add_argument("--sets", nargs="+", choices=SETS, default=["realsr", "div2k", "set14", "kodak"])
    parser.add_argument("--metrics", nargs="+", default=list(METRICS), help="names of metrics")
    text = "numbers of steps; guidance takes the first"
    parser.add_argument("--steps", type=whole(1), nargs="+", default=list(STEPS), metavar="N", help=text)
    parser.add_argument("--limit", type=whole(1), help="images per set, spread evenly over it (default: all)")
    parser.add_argument("--pictures", type=whole(0), default=4, help="images of each set to draw, spread over it")
    parser.add_argument("--runs", type=whole(0), default=3, help="timed runs of each method; 0 times none")
    text = "folder for all files (default: %(default)s)"
    parser.add_argument("-o", "--output", type=Path, default=Path("out/photo"), metavar="DIR", help=text)
    return parser


def main(argv: list[str] | None = None) -> int:
    args = make_parser().parse_args(argv)
    return run_benchmark(lambda: run(args, command_line("photo", argv)))


if __name__ == "__main__":
    sys.exit(main())

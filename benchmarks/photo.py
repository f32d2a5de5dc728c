"""Compare the bundled models with other upscalers on real photographs and on bicubic reductions, and draw the front.

    python -m benchmarks.photo --data ../shared/data --wheels WHEELS -o benchmarks/results/photo

Rows: bicubic, every rival of `benchmarks.rivals` that is installed, `tiny-x4` and `photo-x4` plain at several numbers
of steps, and their presets. Each table is of one set; in parentheses is the mean difference to `photo-x4` with its own
steps, and its 95 % interval. The last table has seconds per megapixel of the result, side by side in one run.
`front-SET.png` shows PSNR against LPIPS of every row, `pictures-SET.png` parts of the results at 100 %.
LPIPS and DISTS need their weights (`python -m jaxsr.cli.convert_lpips lpips-alex dists`). A stopped run resumes.
"""

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

import jaxsr
from benchmarks.harness import command_line, machine, markdown, medians, run_benchmark
from benchmarks.quality import to_uint8
from benchmarks.readings import METRICS as READINGS_METRICS
from benchmarks.readings import SETS as READINGS_SETS
from benchmarks.readings import items_of, score_all
from benchmarks.rivals import RIVALS, Upscale, installed
from jaxsr.evaluation.images import Pair, load
from jaxsr.evaluation.methods import Method, bicubic_method, model_method
from jaxsr.evaluation.pairs import Item
from jaxsr.evaluation.protocol_files import load_protocol
from jaxsr.evaluation.result import Result
from jaxsr.evaluation.suite import PRESETS
from jaxsr.evaluation.tables import render
from jaxsr.options import Options
from jaxsr.storage import write_whole
from jaxsr.upscaling.upscaler import Upscaler

METRICS = (*READINGS_METRICS, "colour_drift", "flat_grain")
SETS = {**READINGS_SETS, "set14": "set14"}
STEPS = {"tiny-x4": (1, 4, 15), "photo-x4": (1, 2, 4, 8, 15, 30, 60)}
SHOWN = ("bicubic", "DAT-light", "Real-ESRGAN x4plus", "photo-x4, 1 step", "photo-x4, 4 steps", "photo-x4, vivid")
COLOURS = {"photo-x4": "tab:red", "tiny-x4": "tab:blue"}
PART = 192


def rival_method(name: str, upscale: Upscale, **record: Any) -> Method:
    """Make the method of a rival, which takes 8-bit pixels and has no seed. `record` says what else decides it."""

    def make(pair: Pair, seed: int) -> np.ndarray:
        assert pair.lr is not None
        return upscale(to_uint8(pair.lr))

    return Method(name, make, {"kind": "rival", "name": name} | record, random=False)


def in_steps(name: str, steps: int) -> str:
    """Name a model's row for a number of steps."""
    return f"{name}, {steps} step{'s' * (steps > 1)}"


def model_rows(name: str, upscaler: Upscaler, steps: Sequence[int]) -> list[Method]:
    """List the plain sampler at several numbers of steps, and the presets of the model's own number."""
    rows = [model_method(upscaler, Options(steps=n), name=in_steps(name, n), model=name) for n in steps]
    found = _presets(upscaler)
    return rows + [model_method(upscaler, Options(), name=f"{name}, {p}", model=name, preset=p) for p in found]


def _presets(upscaler: Upscaler) -> list[str]:
    """List the presets beside a model's file; a model without a calibration has none."""
    try:
        presets = upscaler.find_calibration(Options()).calibration.presets
    except ValueError:
        return []
    return [name for name in PRESETS if name in presets]


def timings(calls: dict[str, Callable[[], Any]], pixels: int, runs: int) -> str:
    """Time every call in turns, and return a table of seconds per megapixel, with ratios to the first call."""
    seconds = {name: value / (pixels / 1e6) for name, value in medians(calls, runs).items()}
    first = next(iter(seconds.values()))
    rows = [{"method": name, "s/megapixel": value, "of the first": value / first} for name, value in seconds.items()]
    return markdown(rows)


def draw_front(results: Sequence[Result], path: Path) -> None:
    """Plot PSNR against LPIPS; without matplotlib nothing is written."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        print("no plot: it needs matplotlib; install it with pip install 'jaxsr[notebooks]'", file=sys.stderr)
        return
    figure = Figure(figsize=(8, 5), layout="constrained")
    axes = figure.add_subplot()
    for family, points in _families(results).items():
        colour, label = COLOURS.get(family, "black"), f"{family} (numbers: steps)" if family in COLOURS else None
        steps = sorted((int(name.split()[0]), at) for at, names in points.items() for name in names if "step" in name)
        if steps:
            axes.plot(*zip(*(at for _, at in steps), strict=True), color=colour, lw=0.8)
        axes.scatter(*zip(*points, strict=True), color=colour, s=18, label=label)
        for i, (at, names) in enumerate(sorted(points.items())):
            text = ", ".join(name.removesuffix(" steps").removesuffix(" step") for name in names)
            left = i % 2 == 1  # neighbours along the front have their names on either side
            side = {"xytext": (-6 if left else 6, 0), "ha": "right" if left else "left", "va": "center"}
            axes.annotate(text, at, textcoords="offset points", fontsize=8, color=colour, **side)
    axes.set(xlabel="PSNR-Y (dB), right is more faithful", ylabel="LPIPS, lower is better")
    axes.margins(x=0.15, y=0.08)
    axes.invert_yaxis()
    axes.legend(loc="best")
    figure.savefig(path, dpi=140)


def _families(results: Sequence[Result]) -> dict[str, dict[tuple[float, float], list[str]]]:
    """Group the names of results by model, and by place on the front: presets that are equal share a name there."""
    families: dict[str, dict[tuple[float, float], list[str]]] = {}
    for result in results:
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
    upscalers = {name: jaxsr.load(path) for name, path in (("tiny-x4", "tiny-x4"), ("photo-x4", args.model))}
    if args.most_steps < (own := upscalers["photo-x4"].preset.steps):
        raise ValueError(f"--most-steps: must be at least {own}, the row that all others are compared with.")
    args.output.mkdir(parents=True, exist_ok=True)
    rivals = installed(args.wheels)
    for name in RIVALS.keys() - rivals.keys():
        print(f"{name} is left out: its packages or its wheel are missing, see benchmarks/rivals", file=sys.stderr)
    rows = [bicubic_method(4), *(rival_method(name, upscale) for name, upscale in rivals.items())]
    for name, upscaler in upscalers.items():
        rows += model_rows(name, upscaler, [n for n in STEPS[name] if n <= args.most_steps])
    text, against = [f"`{command}`  \n{machine()}\n"], f"photo-x4, {own} steps"
    for name in args.sets:
        protocol = load_protocol(SETS[name])
        items = items_of(name, args.data, protocol, args.limit)
        shared = {"items": items, "data": name, "protocol": protocol, "command": command}
        results = score_all(rows, args.metrics, args.output / "scores", name, **shared)
        text.append(f"\n{render(results, 'md', against=against)}")
        write_whole(args.output / "table.md", "".join(text))
        draw_front(results, args.output / f"front-{name}.png")
        if args.pictures:
            draw_pictures(rows, items[: args.pictures], args.output / f"pictures-{name}.png", protocol)
    if args.runs:
        text.append(f"\n\n## Seconds per megapixel of the result, 192x128 input\n\n{_time(args, rivals, upscalers)}\n")
    write_whole(args.output / "table.md", "".join(text))
    print("".join(text))


def _time(args: argparse.Namespace, rivals: dict[str, Upscale], upscalers: dict[str, Upscaler]) -> str:
    lr = np.random.default_rng(0).integers(0, 256, (128, 192, 3), np.uint8)
    calls: dict[str, Callable[[], Any]] = {
        name: (lambda upscale=upscale: upscale(lr)) for name, upscale in sorted(rivals.items(), reverse=True)
    }
    for name, upscaler in upscalers.items():
        for n in (1, upscaler.preset.steps):
            calls[in_steps(name, n)] = lambda u=upscaler, n=n: u.upscale(lr, seed=0, steps=n)
    return timings(calls, 16 * lr.shape[0] * lr.shape[1], args.runs)


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.photo", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", default="photo-x4", help="name, folder or file of the model called photo-x4")
    parser.add_argument("--data", type=Path, required=True, help="folder that holds the sets")
    parser.add_argument("--wheels", type=Path, help="folder with the wheels of the rivals, see benchmarks/rivals")
    parser.add_argument("--sets", nargs="+", choices=SETS, default=["realsr", "div2k", "set14"])
    parser.add_argument("--metrics", nargs="+", default=list(METRICS), help="names of metrics")
    parser.add_argument("--most-steps", type=int, default=60, help="leave rows with more steps out")
    parser.add_argument("--limit", type=int, help="images per set, spread evenly over it (default: all)")
    parser.add_argument("--pictures", type=int, default=0, help="images of each set to draw (default: none)")
    parser.add_argument("--runs", type=int, default=3, help="timed runs of each method; 0 times none")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="DIR", help="folder for all files")
    return parser


def main(argv: list[str] | None = None) -> int:
    args = make_parser().parse_args(argv)
    return run_benchmark(lambda: run(args, command_line("photo", argv)))


if __name__ == "__main__":
    sys.exit(main())

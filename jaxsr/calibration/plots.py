"""The plots of a calibration: the loss of every step, and the Pareto front with images at its ends."""

import sys
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from jaxsr.calibration.closed_loop import numbers_of
from jaxsr.calibration.plan import CalibrationRun
from jaxsr.calibration.run import example_images
from jaxsr.errors import install
from jaxsr.guidance.calibration_file import Calibration
from jaxsr.storage import whole_file


def write_plots(run: CalibrationRun, calibration: Calibration, output: Path) -> list[Path]:
    """Write `<output>.loss.png` and, after a closed loop, `<output>.front.png`. Return their paths.

    Without matplotlib (in the extra `notebooks`) nothing is written, and a line on stderr says so.
    """
    try:
        from matplotlib.figure import Figure  # no pyplot: no window and no state
    except ImportError:
        print(f"no plots: they need matplotlib; {install('notebooks')}", file=sys.stderr)
        return []
    loss = output.with_name(f"{output.name}.loss.png")
    figures = {loss: plot_loss(Figure(figsize=(6, 4), layout="constrained"), calibration)}
    if calibration.closed_loop:
        ends = [calibration.closed_loop["front"][at] for at in (0, -1)]
        rows = [numbers_of(calibration.closed_loop["rows"][row]) for row in (*ends, 0)]
        faithful, perceptual, plain = example_images(run, rows)
        images = {"most faithful": faithful, "plain": plain, "best perception": perceptual}
        images["original"] = run.pairs[0][1].astype(np.float32) / np.float32(255)
        front = output.with_name(f"{output.name}.front.png")
        figures[front] = plot_front(Figure(figsize=(10, 6), layout="constrained"), calibration.closed_loop, images)
    for path, figure in figures.items():
        with whole_file(path) as part:
            figure.savefig(part, dpi=120, format="png")
    return list(figures)


def plot_loss(figure: Any, calibration: Calibration) -> Any:
    """Plot the norm losses of Algorithm 1 over the candidates, one curve per step. Lines mark the closed form."""
    axes, found = figure.add_subplot(), calibration.open_loop
    for step, losses in enumerate(found["losses"]):
        (line,) = axes.plot(found["multiples"], losses, label=f"t = {step + 1}")
        axes.axvline(found["step-norm"]["weighted_median"][step], color=line.get_color(), linestyle=":", linewidth=1)
    label = "multiple of the unit: scale / Σ for norm, scale for step-norm"
    axes.set(xlabel=label, ylabel="mean of | ||Δ|| - multiple ||ΣG|| |", title="Open loop; dotted: weighted median")
    axes.legend()
    return figure


def plot_front(figure: Any, closed: dict[str, Any], images: dict[str, Float[np.ndarray, "h w 3"]]) -> Any:
    """Plot perception over fidelity: candidates, Pareto front and presets. Below are images of the front's ends."""
    grid = figure.add_gridspec(2, len(images), height_ratios=[3, 2])
    axes, x, y = figure.add_subplot(grid[0, :]), closed["fidelity"], closed["perception"]
    rows = [row for row in closed["rows"] if row[x] is not None and row[y] is not None]
    for profile in dict.fromkeys(row["profile"] for row in rows):
        mine = [row for row in rows if row["profile"] == profile]
        axes.scatter([row[x] for row in mine], [row[y] for row in mine], s=14, label=profile)
    front = [closed["rows"][row] for row in closed["front"]]
    axes.plot([row[x] for row in front], [row[y] for row in front], color="0.6", zorder=0, label="Pareto front")
    near = [*front, closed["rows"][0]]  # diverging candidates would leave no room for these
    limits = {f"{axis}lim": _around([row[name] for row in near]) for axis, name in (("x", x), ("y", y))}
    for at in set(closed["picks"].values()):
        row, names = closed["rows"][at], [preset for preset, pick in closed["picks"].items() if pick == at]
        axes.annotate(", ".join(names), (row[x], row[y]), xytext=(-6, 6), textcoords="offset points", ha="right")
    axes.set(xlabel=x, ylabel=y, **limits)
    axes.legend()
    for cell, (title, image) in enumerate(images.items()):
        below = figure.add_subplot(grid[1, cell])
        below.imshow(np.clip(image, 0, 1))
        below.set_title(title)
        below.axis("off")
    return figure


def _around(values: list[float]) -> tuple[float, float]:
    """Return the span of some values, extended by a third on each side."""
    margin = (max(values) - min(values)) / 3 or 1.0
    return min(values) - margin, max(values) + margin

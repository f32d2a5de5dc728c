"""The tables of a study, made from the instruments' results: lists of rows, each a dict of words and numbers.

Intervals (`low`, `high`) are 95 % intervals of Student's t over the images; for numbers that are not means, by the
jackknife.
"""

from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Float

from jaxsr.diffusion import SAMPLERS
from jaxsr.guidance.fits import concatenate
from jaxsr.guidance.moments import Moments
from jaxsr.metrics.statistics import jackknife_interval
from jaxsr.numerics import regression
from jaxsr.numerics.dispersion import Point
from jaxsr.numerics.errors import PatchSums, cumulative_error, sampling_floor
from jaxsr.numerics.instruments import Results, Setup
from jaxsr.numerics.trajectories import REFERENCE_KINDS, Paths

Row = dict[str, str | int | float]
Tables = dict[str, list[Row]]


def errors_tables(setup: Setup, parts: Sequence[Results]) -> Tables:
    """Make the tables `modular`, in nats per element of the latent, and `cumulative`, in nats per value of a patch.

    `cumulative` includes the counts and the floor. A number is NaN if the images give no covariance. An interval is NaN
    if the images without one of them give none.
    """
    modular: list[Row] = []
    for where in ("forward", "sampler"):
        values = np.stack([part[f"modular/{where}"] for part in parts])
        modular += [
            {"states": where, "t": i + 1, "eta": float(setup.coarse.eta[i])} | row
            for i, row in enumerate(_means(values))
        ]
    return {"modular": modular, "cumulative": _cumulative(setup, parts)}


def _cumulative(setup: Setup, parts: Sequence[Results]) -> list[Row]:
    fields = ("ours", "truth")
    sums = [PatchSums(*(np.stack([p[f"{one}/{f}"] for p in parts]) for f in PatchSums._fields)) for one in fields]

    def pooled(drawn: np.ndarray) -> list[PatchSums]:
        return [PatchSums(*(field[drawn].sum(0) for field in one)) for one in sums]

    def error(drawn: np.ndarray) -> np.ndarray:
        try:
            return cumulative_error(*pooled(drawn))
        except ValueError:  # images too few, or too flat, for a covariance
            return np.full(len(setup.rows), np.nan)

    images = len(parts)
    ours, truth = pooled(np.arange(images))
    values, floor = error(np.arange(images)), sampling_floor(ours, truth)
    low, high = (np.maximum(end, 0) for end in jackknife_interval(error, images))
    dimension = ours.total.shape[-1]
    return [
        {"t-1": t, "eta": float(setup.coarse.eta_prev[t]), "mean": float(values[t]), "low": float(low[t]),
         "high": float(high[t]), "floor": float(floor[t]), "patches": float(ours.count[t]), "dimension": dimension,
         "images": images}
        for t in range(len(values))
    ]  # fmt: skip


def truncation_tables(setup: Setup, parts: Sequence[Results]) -> Tables:
    """Make the tables `truncation` (RMS of local errors, distance moved), `order`, and `regression` (every gradient).

    The regression has no rows of t = 1 if nothing is measured there, see `jaxsr.numerics.truncation`.
    """
    local: list[Row] = []
    for sampler in SAMPLERS:
        values = np.stack([part[f"rms/{sampler}"] for part in parts])
        gap, moved = (np.mean([part[name] for part in parts], 0) for name in ("reference_gap", "moved"))
        local += [
            {"sampler": sampler, "t": i + 1, "eta": float(setup.coarse.eta[i])} | row
            | {"moved": float(moved[i]), "reference_gap": float(gap[i])}
            for i, row in enumerate(_means(values))
        ]  # fmt: skip
    return {"truncation": local, "order": _order(setup, parts), "regression": _regression(setup, parts)}


def _order(setup: Setup, parts: Sequence[Results]) -> list[Row]:
    """Make the table `order`. A row's order is the slope from the next shorter step to its own; NaN at the shortest."""
    lam = 1 / np.sqrt(setup.fine.eta) - np.sqrt(setup.fine.eta)
    length = lam[[setup.order_row - span for span in setup.spans]] - lam[setup.order_row]
    rows: list[Row] = []
    for sampler in SAMPLERS:
        squares = np.square([part[f"order/{sampler}"] for part in parts])

        def order(drawn: np.ndarray, squares: np.ndarray = squares) -> np.ndarray:
            return np.append(np.nan, np.diff(np.log(squares[drawn].mean(0)) / 2) / np.diff(np.log(length)))

        low, high = jackknife_interval(order, len(parts))
        error, slope = np.sqrt(squares.mean(0)), order(np.arange(len(parts)))
        rows += [
            {"sampler": sampler, "rows": span, "length": float(length[i]), "rms": float(error[i]),
             "order": float(slope[i]), "order_low": float(low[i]), "order_high": float(high[i])}
            for i, span in enumerate(setup.spans)
        ]  # fmt: skip
    return rows


def _regression(setup: Setup, parts: Sequence[Results]) -> list[Row]:
    rows: list[Row] = []
    for sampler in SAMPLERS:
        sums = {}
        for gradient in regression.GRADIENTS:
            name = "/".join(("regress", sampler, *gradient.words().values()))
            sums[gradient] = concatenate([Moments(*part[name][..., None]) for part in parts])
        rows += [{"sampler": sampler} | row for row in regression.table(sums, setup.coarse.eta)]
    nothing = setup.rows[0] == 0  # from the first row to eta = 0, reference and samplers take the same step
    return [row for row in rows if not (nothing and row["t"] == 1)]


def trajectories_tables(setup: Setup, parts: Sequence[Results]) -> Tables:
    """Make the tables `alignment`, cos(SR -> HR, SR -> LR); `plane`, of the first image; and `spectrum`, mean power.

    `spectrum` has the share of the original's power that the results have too, with its interval.
    """
    eta = np.concatenate([[0.0], setup.coarse.eta])
    rows: Tables = {"alignment": [], "plane": [], "spectrum": []}
    for kind in REFERENCE_KINDS:
        values = np.stack([part[f"alignment/{kind}"] for part in parts])
        records = [{"reference": kind, "t": t, "eta": float(eta[t])} | row for t, row in enumerate(_means(values))]
        rows["alignment"] += [row for row in records if np.isfinite(float(row["mean"]))]
        share = float(np.mean([part[f"explained/{kind}"][:2].sum() for part in parts]))
        for name, points in zip(Paths._fields, parts[0][f"plane/{kind}"], strict=True):
            rows["plane"] += [
                {"reference": kind, "path": name, "t": t, "x": float(x), "y": float(y), "explained": share}
                for t, (x, y) in enumerate(points)
            ]
    names = ("hr", "sr", "lr", "error")
    power = {name: np.stack([part[f"spectrum/{name}"] for part in parts]) for name in names}
    shares = lambda drawn: power["sr"][drawn].mean(0) / power["hr"][drawn].mean(0)  # noqa: E731
    share, (low, high) = shares(np.arange(len(parts))), jackknife_interval(shares, len(parts))
    bins = len(share)
    for k in range(bins):
        numbers = {name: float(power[name][:, k].mean()) for name in names}
        found = {"share": float(share[k]), "low": float(low[k]), "high": float(high[k])}
        rows["spectrum"].append({"frequency": (k + 0.5) / bins / 2, **numbers, **found})
    return rows


def dispersion_tables(setup: Setup, parts: Sequence[Results]) -> Tables:
    """Make the tables `dispersion` (the samples' variance over the required) and `front` (distortion, perception)."""
    tables: Tables = {"dispersion": [], "front": []}
    for name in dict.fromkeys(key.rpartition("/")[0] for key in parts[0]):
        point = Point(*(np.array([part[f"{name}/{field}"] for part in parts], np.float64) for field in Point._fields))
        steps, scale = map(float, name.split())
        low, high = jackknife_interval(lambda d, p=point: p.variance[d].mean() / p.needed[d].mean(), len(parts))
        fields = dict(zip(Point._fields, _means(np.stack(point, axis=1)), strict=True))
        variance, needed = (fields.pop(field)["mean"] for field in ("variance", "needed"))
        setting = {"steps": int(steps), "scale": scale}
        measured = {"variance": variance, "needed": needed, "ratio": float(variance) / float(needed)}
        tables["dispersion"].append(setting | measured | {"low": float(low), "high": float(high)})
        front: Row = {field: row["mean"] for field, row in fields.items()}
        front |= {f"{field}_{end}": row[end] for field, row in fields.items() for end in ("low", "high")}
        tables["front"].append(setting | front)
    return tables


def _means(values: Float[np.ndarray, "n t"]) -> list[Row]:
    """Compute for every column the mean over the images, its interval, and the number of images."""
    low, high = jackknife_interval(lambda images: values[images].mean(0), len(values))
    columns = zip(values.mean(0), low, high, strict=True)
    return [{"mean": float(m), "low": float(a), "high": float(b), "images": len(values)} for m, a, b in columns]


TABLES: dict[str, Callable[[Setup, Sequence[Results]], Tables]] = {
    "errors": errors_tables,
    "truncation": truncation_tables,
    "trajectories": trajectories_tables,
    "dispersion": dispersion_tables,
}

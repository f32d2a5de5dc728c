"""pyiqa as an oracle in a separate process: its non-commercial licence and its dependencies stay in their interpreter.

    JAXSR_PYIQA_PYTHON=~/pyiqa/bin/python    # the interpreter that has pyiqa; by default this interpreter

No metric replaces another: if a metric or its weights are unavailable, its result is a sentence that says so.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

PYTHON_VARIABLE = "JAXSR_PYIQA_PYTHON"
WORKER = Path(__file__).with_name("pyiqa_worker.py")
FID_ENOUGH = 2048  # images, because FID's covariance has 2048 features


@dataclass(frozen=True)
class Variant:
    """A metric of pyiqa with all choices that change its numbers, so that pyiqa's defaults do not decide them.

    Attributes:
        metric: pyiqa's name of the metric.
        options: options for `pyiqa.create_metric`.
        needs_target: whether the metric compares with the original.
        of_sets: whether the metric gives one number for all images together.
    """

    metric: str
    options: Mapping[str, Any] = field(default_factory=dict)
    needs_target: bool = True
    of_sets: bool = False

    @property
    def id(self) -> str:
        """The label of results: the metric and its options."""
        return f"pyiqa {self.metric}({', '.join(f'{name}={value}' for name, value in self.options.items())})"

    def changed(self, changes: Mapping[str, Any]) -> "Variant":
        """Return the variant with other options. The key `metric` selects another pyiqa metric of the same kind."""
        options = {**self.options, **changes}
        metric = options.pop("metric", self.metric)
        return Variant(metric, options, self.needs_target, self.of_sets)


# The eight metrics of the paper's Table 2. PSNR compares RGB, SSIM compares Y, LPIPS uses AlexNet, and MANIQA was
# trained on KonIQ-10k.
VARIANTS = {
    "psnr": Variant("psnr", {"test_y_channel": False}),
    "ssim": Variant("ssim", {"test_y_channel": True, "color_space": "ycbcr"}),
    "lpips": Variant("lpips", {"net": "alex", "version": "0.1"}),
    "dists": Variant("dists"),
    "niqe": Variant("niqe", {"test_y_channel": True, "color_space": "ycbcr"}, needs_target=False),
    "maniqa": Variant("maniqa", needs_target=False),
    "clipiqa": Variant("clipiqa", needs_target=False),
    "fid": Variant("fid", of_sets=True),
}


@dataclass(frozen=True)
class ExternalScores:
    """The scores of one metric.

    Attributes:
        variant: `Variant.id`. With `versions` and `weights_sha256` it identifies what was computed. Scores that differ
            in any of the three never share a column.
        versions: versions of Python, pyiqa and the packages it computes with, by package; `device` is `cpu` or `cuda`.
        weights_sha256: SHA-256 of all names and values in the metric's state; None if the state is empty.
        lower_is_better: as pyiqa declares it.
        values: one number per prediction, in order, or None without a number; empty for a metric of sets.
        set_score: the number of a metric of sets.
        problems: for each file without a number, the reason.
        note: a caution for readers of the number, or "".
    """

    variant: str
    versions: Mapping[str, str]
    weights_sha256: str | None
    lower_is_better: bool | None
    values: tuple[float | None, ...]
    set_score: float | None
    problems: Mapping[Path, str]
    note: str


OnScore = Callable[[str, Path, float, str], None]


def identify(variant: str, versions: Mapping[str, str], weights_sha256: str | None) -> str:
    """Describe what was measured, with the versions and the weights that it depends on."""
    listed = ", ".join(f"{name} {version}" for name, version in versions.items())
    return f"{variant}, {listed}{f', weights {weights_sha256[:12]}' if weights_sha256 else ''}"


def score_external(
    names: Sequence[str],
    pred_files: Sequence[Path],
    target_files: Sequence[Path] | None,
    variants: Mapping[str, Mapping[str, Any]] | None = None,
    *,
    python: str | None = None,
    on_score: OnScore | None = None,
) -> dict[str, ExternalScores | str]:
    """Score images with pyiqa's metrics. A metric without scores gets a sentence that says why.

    Args:
        names: names of metrics in `VARIANTS`.
        pred_files: images to score, in any format that Pillow reads.
        target_files: their originals in the same order, or None: then only metrics without a target have scores.
        variants: changes to `VARIANTS` by name, such as {"lpips": {"net": "vgg"}, "maniqa": {"metric":
            "maniqa-pipal"}}.
        python: the interpreter that has pyiqa; by default JAXSR_PYIQA_PYTHON, or else this interpreter.
        on_score: called for each score as it arrives, for progress and journals, with the metric, the prediction, the
            score and its `identify`.
    Returns:
        The scores or the sentence of each metric, in the order of `names`.
    Raises:
        ValueError: if a name is unknown, if there are no files, or if the numbers of predictions and targets differ.
    """
    _check(names, pred_files, target_files)
    chosen = {name: VARIANTS[name].changed((variants or {}).get(name, {})) for name in names}
    wanted = {name: each for name, each in chosen.items() if target_files is not None or not each.needs_target}
    received = {name: _Received(each.id, [None] * len(pred_files)) for name, each in wanted.items()}
    python = python or os.environ.get(PYTHON_VARIABLE) or sys.executable
    trouble = _run(python, _request(wanted, pred_files, target_files), received, pred_files, on_score) if wanted else ""
    return {
        name: _result(name, each, received[name], pred_files, trouble)
        if name in wanted
        else f"{name} compares with an original: give the targets"
        for name, each in chosen.items()
    }


@dataclass
class _Received:
    """The events of one metric that have arrived so far."""

    variant: str
    values: list[float | None]
    problems: dict[Path, str] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    about: dict[str, Any] = field(default_factory=dict)  # lower_is_better, weights_sha256, set_score, failed, finished


def _check(names: Sequence[str], preds: Sequence[Path], targets: Sequence[Path] | None) -> None:
    if unknown := [name for name in names if name not in VARIANTS]:
        raise ValueError(f"metric {unknown[0]!r} is not known: use one or more of {', '.join(VARIANTS)}")
    if not preds:
        raise ValueError("there are no images to score: give at least one prediction file")
    if targets is not None and len(targets) != len(preds):
        raise ValueError(f"{len(preds)} predictions and {len(targets)} targets: give one target for each prediction")


def _request(
    variants: Mapping[str, Variant], preds: Sequence[Path], targets: Sequence[Path] | None
) -> dict[str, list[Any]]:
    pairs = zip(preds, targets or [None] * len(preds), strict=True)
    return {
        "metrics": [
            {"name": name, **vars(variant), "options": dict(variant.options)} for name, variant in variants.items()
        ],
        "pairs": [[str(path.absolute()) if path else None for path in pair] for pair in pairs],
    }


def _run(
    python: str,
    request: Mapping[str, Any],
    received: dict[str, _Received],
    preds: Sequence[Path],
    on_score: OnScore | None,
) -> str:
    """Run the worker and fill `received`. Return a sentence that says why unfinished metrics have no scores."""
    with tempfile.TemporaryFile() as stderr, tempfile.TemporaryFile("w+") as stdin:
        json.dump(request, stdin)
        stdin.seek(0)
        try:
            process = subprocess.Popen([python, str(WORKER)], stdin=stdin, stdout=subprocess.PIPE, stderr=stderr)
        except OSError as error:
            return f"cannot run {python} ({error.strerror}): set {PYTHON_VARIABLE} to an interpreter that has pyiqa"
        with process:
            missing = _collect(process.stdout, received, preds, on_score)
        if missing:
            return (
                f"pyiqa cannot be imported in {python} ({missing}): run  {python} -m pip install pyiqa  (its licence "
                f"is non-commercial), or set {PYTHON_VARIABLE} to an interpreter that has it"
            )
        return f"pyiqa stopped with code {process.returncode}{_last_line(stderr)}"


def _collect(
    lines: IO[bytes] | None, received: dict[str, _Received], preds: Sequence[Path], on_score: OnScore | None
) -> str | None:
    """Put the worker's events into `received`. Return why pyiqa cannot be imported, or None if it can."""
    versions: dict[str, str] = {}
    for event in map(json.loads, lines or ()):
        if "missing" in event:
            return event["missing"]
        if "versions" in event:
            versions = event["versions"]
            continue
        name, index = event.pop("metric"), event.pop("index", None)
        received[name].versions = versions
        if index is None:
            received[name].about |= event
        elif "problem" in event:
            received[name].problems[preds[index]] = event["problem"]
        else:
            received[name].values[index] = event["score"]
            if on_score:
                by = identify(received[name].variant, versions, received[name].about.get("weights_sha256"))
                on_score(name, preds[index], event["score"], by)
    return None


def _last_line(stderr: IO[bytes]) -> str:
    stderr.seek(0)
    lines = stderr.read().decode(errors="replace").strip().splitlines()
    return f" ({lines[-1].strip()})" if lines else ""


def _result(
    name: str, variant: Variant, received: _Received, preds: Sequence[Path], trouble: str
) -> ExternalScores | str:
    if failed := received.about.get("failed"):
        return (
            f"{name} has no scores: {variant.id} failed ({failed}); if its weights are missing, run it once with "
            "access to the internet"
        )
    if "finished" not in received.about:
        return f"{name} has no scores: {trouble}"
    caution = f"FID of {len(preds)} images, fewer than {FID_ENOUGH}, is biased: compare only sets of that many images"
    return ExternalScores(
        variant=variant.id,
        versions=received.versions,
        weights_sha256=received.about["weights_sha256"],
        lower_is_better=received.about["lower_is_better"],
        values=() if variant.of_sets else tuple(received.values),
        set_score=received.about.get("set_score"),
        problems=received.problems,
        note=caution if variant.of_sets and len(preds) < FID_ENOUGH else "",
    )

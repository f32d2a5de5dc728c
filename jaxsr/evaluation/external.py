"""pyiqa as an oracle, out of process: its licence (non-commercial) and its dependencies stay in their own interpreter.

    JAXSR_PYIQA_PYTHON=~/pyiqa/bin/python    # where `pip install pyiqa` was done; by default this interpreter

Nothing is replaced: where a metric or its weights cannot be had, its result is a sentence that says so.
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
FID_ENOUGH = 2048  # images: FID's covariance is of 2048 features


@dataclass(frozen=True)
class Variant:
    """A metric of pyiqa with the choices that move its numbers, so that pyiqa's defaults do not decide them.

    Attributes:
        metric: pyiqa's name for it.
        options: of `pyiqa.create_metric`.
        needs_target: whether it compares with the original.
        of_sets: whether it is one number of all images.
    """

    metric: str
    options: Mapping[str, Any] = field(default_factory=dict)
    needs_target: bool = True
    of_sets: bool = False

    @property
    def id(self) -> str:
        """What results are labelled with."""
        return f"pyiqa {self.metric}({', '.join(f'{name}={value}' for name, value in self.options.items())})"

    def changed(self, changes: Mapping[str, Any]) -> "Variant":
        """With other options, and under the key `metric` another of pyiqa's metrics of the same kind."""
        options = {**self.options, **changes}
        metric = options.pop("metric", self.metric)
        return Variant(metric, options, self.needs_target, self.of_sets)


# The eight of the paper's Table 2. PSNR is of RGB and SSIM of Y, LPIPS is AlexNet's, MANIQA was trained on KonIQ-10k.
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
    """What one metric gave.

    Attributes:
        variant: `Variant.id`; with `versions` and `weights_sha256` it says what was computed. Never join two that
            differ into one column.
        versions: of Python, pyiqa and what it computes with, by package; `device` is `cpu` or `cuda`.
        weights_sha256: of the names and values of all that it has in its state, None where that is nothing.
        lower_is_better: as pyiqa has it.
        values: one number per prediction, in their order, None where there is none; empty for a metric of sets.
        set_score: the number of a metric of sets.
        problems: for each file without a number, why.
        note: what to know before the number is used, or "".
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
    """What was measured, with the versions and the weights that it depends on."""
    told = ", ".join(f"{name} {version}" for name, version in versions.items())
    return f"{variant}, {told}{f', weights {weights_sha256[:12]}' if weights_sha256 else ''}"


def score_external(
    names: Sequence[str],
    pred_files: Sequence[Path],
    target_files: Sequence[Path] | None,
    variants: Mapping[str, Mapping[str, Any]] | None = None,
    *,
    python: str | None = None,
    on_score: OnScore | None = None,
) -> dict[str, ExternalScores | str]:
    """Scores of pyiqa's metrics, or for each the sentence why there are none, in the order of `names`.

    Args:
        names: of `VARIANTS`.
        pred_files: images to be judged, in any format that Pillow reads.
        target_files: their originals in the same order, or None: then only metrics without a target have scores.
        variants: changes of `VARIANTS` by name, as {"lpips": {"net": "vgg"}, "maniqa": {"metric": "maniqa-pipal"}}.
        python: the interpreter that has pyiqa; by default JAXSR_PYIQA_PYTHON, else this one.
        on_score: called with metric, prediction, score and `identify` of it as they come, for progress and journals.
    Raises:
        ValueError: for an unknown name, no files, or unlike numbers of predictions and targets.
    """
    _check(names, pred_files, target_files)
    chosen = {name: VARIANTS[name].changed((variants or {}).get(name, {})) for name in names}
    wanted = {name: one for name, one in chosen.items() if target_files is not None or not one.needs_target}
    found = {name: _Found(one.id, [None] * len(pred_files)) for name, one in wanted.items()}
    python = python or os.environ.get(PYTHON_VARIABLE) or sys.executable
    trouble = _run(python, _request(wanted, pred_files, target_files), found, pred_files, on_score) if wanted else ""
    return {
        name: _result(name, one, found[name], pred_files, trouble)
        if name in wanted
        else f"{name} compares with an original: give the targets"
        for name, one in chosen.items()
    }


@dataclass
class _Found:
    """What has come in of one metric."""

    variant: str
    values: list[float | None]
    problems: dict[Path, str] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    about: dict[str, Any] = field(default_factory=dict)  # lower_is_better, weights_sha256, set_score, failed, finished


def _check(names: Sequence[str], preds: Sequence[Path], targets: Sequence[Path] | None) -> None:
    if unknown := [name for name in names if name not in VARIANTS]:
        raise ValueError(f"metric {unknown[0]!r} is not known: use some of {', '.join(VARIANTS)}")
    if not preds:
        raise ValueError("there are no images to score: give prediction files")
    if targets is not None and len(targets) != len(preds):
        raise ValueError(f"{len(preds)} predictions and {len(targets)} targets: give one target for each prediction")


def _request(
    variants: Mapping[str, Variant], preds: Sequence[Path], targets: Sequence[Path] | None
) -> dict[str, list[Any]]:
    pairs = zip(preds, targets or [None] * len(preds), strict=True)
    return {
        "metrics": [{"name": name, **vars(one), "options": dict(one.options)} for name, one in variants.items()],
        "pairs": [[str(path.absolute()) if path else None for path in pair] for pair in pairs],
    }


def _run(
    python: str, request: Mapping[str, Any], found: dict[str, _Found], preds: Sequence[Path], on_score: OnScore | None
) -> str:
    """Fill `found`; returns why metrics that are not finished have no scores, as a sentence."""
    with tempfile.TemporaryFile() as stderr, tempfile.TemporaryFile("w+") as stdin:
        json.dump(request, stdin)
        stdin.seek(0)
        try:
            process = subprocess.Popen([python, str(WORKER)], stdin=stdin, stdout=subprocess.PIPE, stderr=stderr)
        except OSError as error:
            return f"cannot run {python} ({error.strerror}): set {PYTHON_VARIABLE} to an interpreter that has pyiqa"
        with process:
            missing = _collect(process.stdout, found, preds, on_score)
        if missing:
            return (
                f"pyiqa cannot be imported in {python} ({missing}): run  {python} -m pip install pyiqa  (its licence "
                f"is non-commercial), or set {PYTHON_VARIABLE} to an interpreter that has it"
            )
        return f"pyiqa stopped with code {process.returncode}{_last_line(stderr)}"


def _collect(
    lines: IO[bytes] | None, found: dict[str, _Found], preds: Sequence[Path], on_score: OnScore | None
) -> str | None:
    """Put the events into `found`; returns why pyiqa cannot be imported, if so."""
    versions: dict[str, str] = {}
    for event in map(json.loads, lines or ()):
        if "missing" in event:
            return event["missing"]
        if "versions" in event:
            versions = event["versions"]
            continue
        name, index = event.pop("metric"), event.pop("index", None)
        found[name].versions = versions
        if index is None:
            found[name].about |= event
        elif "problem" in event:
            found[name].problems[preds[index]] = event["problem"]
        else:
            found[name].values[index] = event["score"]
            if on_score:
                by = identify(found[name].variant, versions, found[name].about.get("weights_sha256"))
                on_score(name, preds[index], event["score"], by)
    return None


def _last_line(stderr: IO[bytes]) -> str:
    stderr.seek(0)
    lines = stderr.read().decode(errors="replace").strip().splitlines()
    return f" ({lines[-1].strip()})" if lines else ""


def _result(name: str, variant: Variant, found: _Found, preds: Sequence[Path], trouble: str) -> ExternalScores | str:
    if failed := found.about.get("failed"):
        return (
            f"{name} has no scores: {variant.id} failed ({failed}); its weights may have to be downloaded once, where "
            "there is a network"
        )
    if "finished" not in found.about:
        return f"{name} has no scores: {trouble}"
    few = f"FID of {len(preds)} images, fewer than {FID_ENOUGH}, is biased: compare only sets of this number of images"
    return ExternalScores(
        variant=variant.id,
        versions=found.versions,
        weights_sha256=found.about["weights_sha256"],
        lower_is_better=found.about["lower_is_better"],
        values=() if variant.of_sets else tuple(found.values),
        set_score=found.about.get("set_score"),
        problems=found.problems,
        note=few if variant.of_sets and len(preds) < FID_ENOUGH else "",
    )

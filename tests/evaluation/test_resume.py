"""Test resuming: what a stopped or incomplete evaluation keeps, and what it does again."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from jaxsr.evaluation import external_scoring, methods, run
from jaxsr.evaluation.external import ExternalScores, identify
from jaxsr.evaluation.images import Pair
from jaxsr.evaluation.methods import Method, bicubic_method
from jaxsr.evaluation.pairs import Item
from jaxsr.evaluation.protocols import Protocol
from jaxsr.evaluation.result import Result
from jaxsr.evaluation.run import Evaluation, evaluate
from jaxsr.evaluation.scoring import Scorer
from tests.evaluation.pictures import folders, noisy, picture, save

RGB = Protocol(name="p", about="", colour="rgb", border=0)


@pytest.fixture
def job(tmp_path) -> Evaluation:
    """Return an evaluation of three noisy pictures by PSNR."""
    folders(tmp_path)
    items = [Item(n, tmp_path / "hr" / f"{n}.png", pred=tmp_path / "sr" / f"{n}.png") for n in "abc"]
    return Evaluation(name="mine", items=items, data="hr", protocol=RGB, metrics=("psnr",))


@pytest.fixture
def scored(monkeypatch) -> list[str]:
    """Return a list that grows by the name of each image that our own metrics score."""
    names, score = [], Scorer.score
    monkeypatch.setattr(Scorer, "score", lambda self, pairs: names.extend(p.image for p in pairs) or score(self, pairs))
    return names


class Library:
    """A stand-in for pyiqa that scores a file by its mean level. It can stop, be missing, or have other weights."""

    def __init__(self) -> None:
        self.weights, self.stop_after, self.missing = "a" * 64, 99, ""
        self.asked: list[tuple[list[str], list[str]]] = []

    def __call__(self, names, files: Sequence[Path], targets, variants, *, on_score):
        self.asked.append((names, [f"{file.parent.name}/{file.stem}" for file in files]))
        if self.missing:
            return dict.fromkeys(names, self.missing)
        return {name: self._score(name, files, targets, on_score) for name in names}

    def _score(self, name: str, files: Sequence[Path], targets: Sequence[Path] | None, on_score) -> ExternalScores:
        assert targets is not None
        values = [float(np.asarray(Image.open(file)).mean()) for file in files]
        scores = ExternalScores(f"pyiqa {name}()", {"pyiqa": "9"}, self.weights, None, tuple(values), None, {}, "")
        if name == "fid":
            return replace(scores, values=(), set_score=sum(values), note="biased")
        for count, (file, value) in enumerate(zip(files, values, strict=True)):
            if count == self.stop_after:
                raise KeyboardInterrupt
            on_score(name, file, value, identify(scores.variant, scores.versions, scores.weights_sha256))
        return scores


@pytest.fixture
def library(monkeypatch) -> Library:
    one = Library()
    monkeypatch.setattr(external_scoring.external, "score_external", one)
    return one


def levels(folder: Path) -> list[float]:
    return [float(np.asarray(Image.open(folder / f"{name}.png")).mean()) for name in "abc"]


def column(result: Result, name: str) -> list[float]:
    return [row[name] for row in result.images]


def test_after_a_repair_that_image_alone_is_scored(job, tmp_path, scored):
    whole = (tmp_path / "sr" / "b.png").read_bytes()
    (tmp_path / "sr" / "b.png").write_bytes(whole[:200])
    first = evaluate(job, tmp_path / "r.json")
    assert (scored, len(first.failed)) == (["a", "c"], 1)
    (tmp_path / "sr" / "b.png").write_bytes(whole)
    save(tmp_path / "hr" / "c.png", picture(7))  # changed since, so its number no longer holds
    result = evaluate(job, tmp_path / "r.json")
    assert scored == ["a", "c", "b", "c"]
    assert (result.failed, result.images) == ([], evaluate(job, tmp_path / "anew.json").images)
    assert not (tmp_path / "r.json.part").exists()


def test_another_librarys_metric_has_all_images_after_a_repair(job, tmp_path, library):
    job = replace(job, metrics=("psnr", "maniqa", "psnr_pyiqa"))
    whole = (tmp_path / "sr" / "b.png").read_bytes()
    (tmp_path / "sr" / "b.png").write_bytes(whole[:200])
    evaluate(job, tmp_path / "r.json")
    (tmp_path / "sr" / "b.png").write_bytes(whole)
    result = evaluate(job, tmp_path / "r.json")
    assert column(result, "maniqa") == column(result, "psnr_pyiqa") == levels(tmp_path / "sr")
    both = ["maniqa"], ["psnr"]
    assert library.asked == [([*both[0], *both[1]], ["seed0/a_0", "seed0/c_0"]), *((n, ["seed0/b_0"]) for n in both)]
    assert not (tmp_path / "r.json.files").exists()


@pytest.mark.parametrize("lost", ["other folder", "deleted"])
def test_compared_images_that_are_not_there_are_made_again(job, tmp_path, lost, scored):
    whole = (tmp_path / "sr" / "b.png").read_bytes()
    (tmp_path / "sr" / "b.png").write_bytes(b"no")
    evaluate(replace(job, keep=tmp_path / "kept" if lost == "deleted" else None), tmp_path / "r.json")
    (tmp_path / "sr" / "b.png").write_bytes(whole)
    (tmp_path / "kept/seed0/a_0.png").unlink(missing_ok=True)
    evaluate(replace(job, keep=tmp_path / "kept"), tmp_path / "r.json")
    assert {path.name for path in (tmp_path / "kept/seed0").iterdir()} == {"a_0.png", "b_0.png", "c_0.png"}
    assert sorted(scored[2:]) == (["a", "b"] if lost == "deleted" else ["a", "b", "c"])


def test_a_stopped_metric_of_another_library_goes_on_and_tells_how_far_it_is(job, tmp_path, library):
    reports: list[tuple[int, str]] = []
    job = replace(job, metrics=("maniqa",), report=lambda count, name: reports.append((count, name)))
    library.stop_after = 2
    with pytest.raises(KeyboardInterrupt):
        evaluate(job, tmp_path / "r.json")
    assert reports[-2:] == [(1, "maniqa: a"), (2, "maniqa: b")]
    library.stop_after = 99
    result = evaluate(job, tmp_path / "r.json")
    assert library.asked[1:] == [(["maniqa"], ["seed0/c_0"])]
    assert reports[-1] == (3, "maniqa: c")
    assert column(result, "maniqa") == levels(tmp_path / "sr")
    assert result.metrics["maniqa"]["variant"] == "pyiqa maniqa(), pyiqa 9, weights aaaaaaaaaaaa"


def test_numbers_of_other_weights_are_not_mixed(job, tmp_path, library):
    job, library.stop_after = replace(job, metrics=("maniqa",)), 2
    with pytest.raises(KeyboardInterrupt):
        evaluate(job, tmp_path / "r.json")
    library.stop_after, library.weights = 99, "b" * 64
    result = evaluate(job, tmp_path / "r.json")
    assert [len(files) for _, files in library.asked] == [3, 1, 3]
    assert result.metrics["maniqa"]["variant"].endswith("weights bbbbbbbbbbbb")


def test_all_scored_and_stopped_before_the_end_asks_for_nothing(job, tmp_path, library, monkeypatch):
    job = replace(job, metrics=("maniqa",))
    with monkeypatch.context() as patch:
        patch.setattr(run, "_result", lambda *args: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            evaluate(job, tmp_path / "r.json")
    result = evaluate(job, tmp_path / "r.json")
    assert len(library.asked) == 1
    assert column(result, "maniqa") == levels(tmp_path / "sr")
    assert result.metrics["maniqa"]["variant"].endswith("weights aaaaaaaaaaaa")


def test_a_library_that_was_missing_is_asked_again_without_scoring_ours_again(job, tmp_path, library, scored):
    job, library.missing = replace(job, metrics=("psnr", "maniqa")), "no pyiqa"
    assert evaluate(job, tmp_path / "r.json").without == ["maniqa"]
    library.missing = ""
    assert column(evaluate(job, tmp_path / "r.json"), "maniqa") == levels(tmp_path / "sr")
    assert scored == ["a", "b", "c"]
    assert not list(tmp_path.glob("r.json.*"))


def _shifting() -> Method:
    """Return a method that raises grey levels by the seed."""

    def make(pair: Pair, seed: int) -> np.ndarray:
        return np.clip(methods.enlarge_bicubic(methods._lr(pair), 4), 0.1, 0.9) + seed / 255

    return Method("shifting", make, {"kind": "test"})


def test_fid_is_of_each_seed(job, tmp_path, library):
    job = replace(job, metrics=("fid",), method=_shifting(), seeds=(0, 1, 2))
    entry = evaluate(job, tmp_path / "r.json").metrics["fid"]
    assert [files for _, files in library.asked] == [[f"seed{seed}/{name}_0" for name in "abc"] for seed in range(3)]
    first = entry["by_seed"][0]
    assert entry["by_seed"] == pytest.approx([first, first + 3, first + 6])
    assert entry["mean"] == pytest.approx(first + 3)
    assert (entry["images"], entry["n"]) == (None, 3)
    half = 4.302653 * 3 / 3**0.5  # Student's t of 2 degrees of freedom times the standard error of three seeds
    assert entry["seeds"] == pytest.approx([first + 3 - half, first + 3 + half])
    assert entry["variant"].endswith(", of 3 images")
    one = evaluate(replace(job, seeds=(1,)), tmp_path / "one.json").metrics["fid"]
    assert (one["mean"], one["seeds"]) == (pytest.approx(first + 3), None)


def test_files_of_8_bits_are_told_where_the_protocol_does_not_round(job, tmp_path, library):
    exact = replace(job, metrics=("psnr", "maniqa"), protocol=replace(RGB, bits=None))
    variants = {name: entry["variant"] for name, entry in evaluate(exact, tmp_path / "r.json").metrics.items()}
    assert variants["maniqa"].endswith(", of files rounded to 8 bits")
    assert "rounded to" not in variants["psnr"]
    rounded = evaluate(replace(job, metrics=("maniqa",)), tmp_path / "8.json")
    assert "8 bits" not in rounded.metrics["maniqa"]["variant"]


def test_the_lr_images_are_told_whether_made_or_given(job, tmp_path):
    from jaxsr.imaging.resize import downsample_bicubic_uint8

    def result(method: Method | None, lr: str = "") -> Result:
        items = [replace(item, lr=tmp_path / lr / f"{item.name}.png" if lr else None) for item in job.items]
        more = {"items": items, "method": method, "metrics": ("psnr", "lr_consistency") if method or lr else ("psnr",)}
        return evaluate(replace(job, **more), tmp_path / f"{lr}{method is None}.json")

    for i, name in enumerate("abc"):
        small = downsample_bicubic_uint8(picture(i), 4)
        save(tmp_path / "same" / f"{name}.png", small)
        save(tmp_path / "other" / f"{name}.png", noisy(small, 1))
    made, given, other = result(bicubic_method(4)), result(None, "same"), result(bicubic_method(4), "other")
    hashes = [one.data["lr_sha256"] for one in (made, given, other)]
    assert hashes[0] == hashes[1] != hashes[2]
    assert result(None).data["lr_sha256"] is None
    variants = [one.metrics["lr_consistency"]["variant"] for one in (made, given, other)]
    assert variants[0] == variants[1] != variants[2]
    assert made.metrics["psnr"]["variant"] == other.metrics["psnr"]["variant"]

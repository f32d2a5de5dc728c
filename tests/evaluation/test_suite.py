"""Test the suite: its rows, its sets, what it refuses, and what it takes from an earlier run."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from jaxsr.cli.evaluate_commands import SETS
from jaxsr.evaluation import external, metrics, suite
from jaxsr.evaluation.methods import Method
from jaxsr.evaluation.metrics import default_metrics
from jaxsr.evaluation.pairs import Item
from jaxsr.evaluation.protocol_files import load_protocol
from jaxsr.evaluation.quoted import quoted, sources
from jaxsr.evaluation.result import Result
from jaxsr.guidance.calibration_file import CalibrationError
from jaxsr.metrics.catalogue import METRICS
from jaxsr.upscaling.upscaler import Upscaler
from tests.evaluation.pictures import picture, rows_of, save


def test_the_suite_puts_all_methods_side_by_side(sets, tmp_path, fake):
    assert sets() == 0
    text = (tmp_path / "out" / "table.md").read_text()
    assert text.count("## ") == 2
    rows = [line.split(" | ")[0].strip("| ") for line in text.splitlines() if line.startswith("| ")]
    guided = [f"m, {name}" for name in suite.PRESETS]
    assert rows[1:8] == ["bicubic", "m, 1 step", "m, 2 steps", *guided, "m, HR guidance"]
    assert "mean difference to m, 1 step," in text
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "set5",
        "set14",
        "table.md",
        "table.csv",
        "table.tex",
    }
    images = {row["image"] for row in Result.read(tmp_path / "out/set5/bicubic.json").images}
    assert images == {"0", "2"}  # the images are spread over the set
    fake.clear()
    assert sets() == 0
    assert fake == []  # all there already


@pytest.mark.parametrize(("limit", "count"), [(20, 100), (60, 100), (10, 14), (13, 14), (14, 14), (20, 14), (1, 9)])
def test_a_limited_set_is_spread_over_all_of_it(limit, count):
    found = [int(item.name) for item in suite.spread([Item(str(i)) for i in range(count)], limit)]
    assert len(found) == min(limit, count)
    assert found[0] == 0
    gaps = np.diff([*found, count])
    assert gaps.max() - gaps.min() <= (count % limit > 0)
    if (limit, count) == (20, 100):
        assert found == list(range(0, 100, 5))


def test_a_set_without_a_limit_is_whole():
    items = [Item("a"), Item("b")]
    assert suite.spread(items, None) == items
    assert suite.spread([], 3) == []


def test_a_suite_can_have_one_protocol_for_all_sets(sets, tmp_path, capsys):
    assert sets("--protocol", "plain") == 0
    results = [Result.read(path) for path in (tmp_path / "out").glob("*/*.json")]
    assert {result.protocol["name"] for result in results} == {"plain"}
    assert sets() == 1  # now with the sets' own protocols
    assert "is of other images, options or metrics" in capsys.readouterr().err
    (tmp_path / "x2.json").write_text(json.dumps({"name": "x2", "about": "", "scale": 2}))
    assert sets("--protocol", tmp_path / "x2.json") == 1
    assert "--protocol: x2 is for scale 2, but the model's scale is 4" in capsys.readouterr().err


def test_a_suite_of_other_choices_is_not_mixed_in(sets, capsys):
    assert sets() == 0
    assert sets("--seeds", 1) == 1
    assert "is of other images, options or metrics" in capsys.readouterr().err


def test_a_suite_does_not_take_results_of_other_pixels(sets, tmp_path, capsys):
    assert sets() == 0
    save(tmp_path / "data" / "set5" / "0.png", picture(9))
    assert sets() == 1
    assert "bicubic.json: is of other images" in capsys.readouterr().err


def test_a_suite_does_not_take_results_of_other_weights(sets, monkeypatch, capsys):
    assert sets() == 0
    psnr = METRICS["psnr"]
    monkeypatch.setitem(METRICS, "psnr", replace(psnr, describe=lambda how: f"of other weights, {psnr.describe(how)}"))
    assert sets() == 1
    assert "is of other images, options or metrics" in capsys.readouterr().err


@pytest.mark.parametrize("more", [(), ("maniqa",)], ids=["ours", "another library's too"])
def test_a_suite_scores_what_was_missing_once_it_can_be_had(sets, monkeypatch, fake, tmp_path, more):
    here = []
    ours = replace(METRICS["psnr"], describe=lambda how: f"ours{', weights 1' if here else ''}")
    monkeypatch.setitem(METRICS, "lpips", replace(ours, missing=lambda how: None if here else "no weights"))
    monkeypatch.setattr(external, "score_external", lambda names, *_, **__: dict.fromkeys(names, "no pyiqa"))
    sets("-m", "psnr", "lpips", *more)
    assert Result.read(tmp_path / "out/set5/bicubic.json").without == ["lpips", *more]
    fake.clear()
    sets("-m", "psnr", "lpips", *more)
    assert fake == []  # still missing, so nothing is done again
    here.append(True)
    sets("-m", "psnr", "lpips", *more)
    assert fake
    found = Result.read(tmp_path / "out/set5/bicubic.json").metrics
    assert found["lpips"]["mean"] == found["psnr"]["mean"]
    fake.clear()
    sets("-m", "psnr", "lpips", *more)
    assert fake == []


def test_a_suite_asks_another_library_again_without_sampling_again(sets, monkeypatch, fake, tmp_path):
    def score_external(names, files, *args, **options):
        asked.append(len(files))
        return dict.fromkeys(names, "no pyiqa")

    asked = []
    monkeypatch.setattr(external, "score_external", score_external)
    sets("-m", "psnr", "maniqa")
    fake.clear()
    sets("-m", "psnr", "maniqa")
    assert (fake, len(set(asked[:14])), len(asked)) == ([], 1, 28)


def test_choices_that_cannot_work_are_refused_before_the_work(sets, tmp_path, capsys, fake):
    save(tmp_path / "x" / "other.png", picture(0))
    save(tmp_path / "y" / "0.png", picture(0))
    save(tmp_path / "y" / "0.webp", picture(0))
    x, y = tmp_path / "x", tmp_path / "y"
    refused = {
        f"--results: {x} has no result of set5, set14; check": ("--results", f"x={x}"),
        "are both called 0: rename or remove one": ("--results", f"y={y}"),
        "--results: two folders have one name": ("--results", f"a={x}", f"a={y}"),
        "--results, --model: two rows are called bicubic; rename": ("--results", f"bicubic={y}"),
        "--results, --model: m, 1 step and m 1 step would share a file": ("--results", f"m 1 step={y}"),
        "--model: a model is named twice": ("-n", "m", "m"),
        "--metrics: no 'psrn'; choose": ("-m", "psrn"),
    }
    for message, words in refused.items():
        assert sets(*words) == 1, message
        assert message in capsys.readouterr().err
    assert fake == []
    for words in ("=x", "x=", "x", f"x={tmp_path / 'none'}"):
        with pytest.raises(SystemExit):
            sets("--results", words)


def test_a_second_suite_in_a_folder_is_refused_while_the_first_one_works(sets, tmp_path, capsys, fake, monkeypatch):
    """It is refused between two sets too, when no result is being written."""
    second, together = [], suite.evaluate_together

    def between(jobs):
        second.append(sets())
        return together(jobs)

    monkeypatch.setattr(suite, "evaluate_together", between)
    assert sets() == 0
    assert second == [1, 1]
    refusal = f"error: {tmp_path}/out: another suite is writing it; wait for its end, or give another --output.\n"
    assert capsys.readouterr().err == 2 * refusal
    assert not [path.name for path in (tmp_path / "out").iterdir() if path.name.startswith(".")]


def test_models_of_different_scales_are_refused(small_upscalers, tmp_path):
    one = small_upscalers["channel"]
    other = replace(one, preset=replace(one.preset, scale=1))
    with pytest.raises(ValueError, match=r"^--model: a has scale 4, b has scale 1; give one scale"):
        suite.run_suite(suite.Suite(models={"a": one, "b": other}, data=tmp_path), tmp_path / "out")


def test_results_of_other_choices_are_replaced_where_asked(sets, tmp_path, capsys):
    assert sets() == 0
    assert sets("-m", "psnr", "ssim") == 1
    assert "(it has psnr, not psnr ssim); give --overwrite, or another" in capsys.readouterr().err
    assert sets("-m", "psnr", "ssim", "--overwrite") == 0
    assert "ssim" in Result.read(tmp_path / "out/set5/bicubic.json").scored
    assert sets("-m", "psnr", "psnr", "ssim", "--seeds", 0, 0) == 0  # the same choices


def test_a_model_without_a_calibration_has_a_note_in_place_of_its_presets(sets, monkeypatch, tmp_path):
    def none(*_):
        raise CalibrationError("none")

    monkeypatch.setattr(Upscaler, "find_calibration", none)
    assert sets() == 0
    text = (tmp_path / "out/table.md").read_text()
    assert rows_of(text.split("\n## ")[1]) == ["bicubic", "m, 1 step", "m, 2 steps", "m, HR guidance"]
    assert "- m has no calibration for 1 steps, and therefore no row of LR guidance." in text


def test_further_methods_come_after_bicubic(small_upscalers):
    rival = Method("rival", lambda pair, seed: np.zeros((1, 1, 3)))
    models = {"m": small_upscalers["channel"]}
    rows, _ = suite.methods(suite.Suite(models=models, data=Path(), steps=(1,), others=[rival]))
    assert [row.name for row in rows][:3] == ["bicubic", "rival", "m, 1 step"]


def test_several_models_stand_side_by_side(sets, tmp_path):
    assert sets("-n", "a", "b") == 0
    table = rows_of((tmp_path / "out/table.md").read_text().split("\n## ")[1])
    assert [row for row in table if row.startswith("b, ")] == [
        row.replace("a, ", "b, ") for row in table if "a, " in row
    ]
    assert {"a, 1 step", "b, HR guidance"} <= set(table)


def test_algorithm_1_is_a_row_where_a_calibration_has_it(small_upscalers, monkeypatch):
    made = lambda *_, name, preset=None, **given: Method(name, lambda pair, seed: None, {"preset": preset})  # noqa: E731
    monkeypatch.setattr(suite, "model_method", made)
    rows = suite._model_rows("m", small_upscalers["channel"], (2, 1), ["open-loop", "fitted"])
    assert [row.name for row in rows] == ["m, 1 step", "m, 2 steps", "m, Algorithm 1", "m, HR guidance"]
    assert [row.record["preset"] for row in rows] == [None, None, "open-loop", None]


def test_metrics_with_networks_join_where_their_weights_are(monkeypatch):
    protocol = load_protocol("plain")
    for there in ((), ("lpips-alex",), ("lpips-alex", "dists")):
        monkeypatch.setattr(metrics, "present_path", lambda name, there=there: name if name in there else None)
        names = default_metrics(protocol, target=True, lr=True, networks=suite.NETWORKS)
        assert names == (*protocol.metrics, *(name.split("-")[0] for name in there))


def test_published_rows_are_quoted_with_their_source():
    text = quoted(["set5", "realsr"])
    assert "## realsr, quoted from the paper, Table 2" in text
    assert "| Resshift(s4) (quoted) | 25.26 | 0.7299 | 0.2075 |" in text
    assert "| OSEDiff (s1) (quoted) | 25.15 |" in text
    assert quoted(["set5"]) == ""


def test_quoted_rows_of_the_paper_are_the_papers(shared):
    cells = [line.split("\t") for line in (shared / "paper/paper.md").read_text().splitlines() if line.count("\t") == 9]
    (paper,) = (source for source in sources() if source["source"].startswith("the paper"))
    for name, title in (("realsr", "RealSR"), ("div2k", "DIV2k")):
        first = next(i for i, row in enumerate(cells) if row[0] == title)
        for (row, numbers), line in zip(paper["sets"][name].items(), cells[first:], strict=False):
            assert list(numbers.values()) == [float(cell) for cell in line[2:]], row


def test_the_command_offers_every_set():
    assert tuple(suite.PROTOCOLS) == SETS

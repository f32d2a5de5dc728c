"""Test the suite: its rows, its sets, the results of other programs, and what it takes from an earlier run."""

import json
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from jaxsr.cli import evaluate
from jaxsr.evaluation import external, metrics, suite, timing
from jaxsr.evaluation.images import Pair
from jaxsr.evaluation.methods import Method
from jaxsr.evaluation.metrics import default_metrics
from jaxsr.evaluation.pairs import Item
from jaxsr.evaluation.protocol_files import load_protocol
from jaxsr.evaluation.quoted import quoted
from jaxsr.evaluation.result import Result
from jaxsr.metrics.catalogue import METRICS
from jaxsr.upscaling.upscaler import Upscaler
from tests.evaluation.pictures import mean_square, noisy, picture, save


@pytest.fixture
def sets(tmp_path, monkeypatch, fake):
    """Return a function that runs the suite on two small sets, with a calibration of three presets."""
    for i in range(5):
        save(tmp_path / "data" / "set5" / f"{i}.png", picture(i))
        save(tmp_path / "data" / "set14" / f"{i}.png", picture(5 + i))
    monkeypatch.setattr(suite, "PROTOCOLS", dict.fromkeys(("set5", "set14"), "rgb"))
    presets = {name: {} for name in suite.PRESETS}
    found = SimpleNamespace(calibration=SimpleNamespace(presets=presets), path=None)
    monkeypatch.setattr(Upscaler, "find_calibration", lambda *_: found)

    def run_it(*more: object) -> int:
        words = ("suite", "--data", tmp_path / "data", "-o", tmp_path / "out", "--sets", "set5", "set14", "-m", "psnr")
        words += () if "-n" in more else ("-n", "m")
        return evaluate.main([str(word) for word in (*words, "--steps", 1, 2, "--limit", 2, *more)])

    return run_it


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


def outside(tmp_path, name: str, amount: int = 3, subfolder: str = "") -> str:
    """Write results of another program for some images: the originals with noise. Return NAME=DIR."""
    folder = tmp_path / f"results-{len(name)}-{amount}"
    for image, seed in zip("0123456789", range(10), strict=True):
        if image in name:
            save(folder / subfolder / f"{image}_out.png", noisy(picture(seed), amount))
    return f"other {amount}={folder}"


def rows_of(table: str) -> list[str]:
    return [line.split(" | ")[0].strip("| ") for line in table.splitlines() if line.startswith("| ")][1:]


def test_results_of_other_programs_are_rows_beside_ours(sets, tmp_path):
    whole = outside(tmp_path, "0123456789", amount=3)
    assert sets("--results", whole, "--limit", 5) == 0
    set5, set14 = (tmp_path / "out/table.md").read_text().split("\n## ")[1:3]
    for part in (set5, set14):
        assert rows_of(part)[:2] == ["other 3", "bicubic"]
    result = Result.read(tmp_path / "out/set5/other-3.json")
    originals = [picture(i).astype(float) for i in range(5)]
    errors = [mean_square(noisy(picture(i), 3).astype(float), hr) for i, hr in enumerate(originals)]
    found = [row["psnr"] for row in result.images]
    np.testing.assert_allclose(found, 10 * np.log10(255**2 / np.array(errors)), rtol=1e-5)


def test_a_program_with_results_of_some_images_gets_a_table_of_these(sets, tmp_path):
    assert (
        sets("--results", outside(tmp_path, "04", subfolder="set5"), "--limit", 5, "-m", "psnr", "lr_consistency") == 0
    )
    tables = (tmp_path / "out/table.md").read_text().split("\n## ")[1:]
    few = next(table for table in tables if table.startswith("set5, 2 images"))
    others = rows_of(next(table for table in tables if table.startswith("set5, 5 images")))
    assert rows_of(few) == ["other 3", *others]
    assert "were not all made from the same LR images" not in few
    assert few.count("LR-PSNR") == 1
    bicubic = Result.read(tmp_path / "out/set5/bicubic.json")
    mean = np.mean([row["psnr"] for row in bicubic.images if row["image"] in "04"])
    assert f"| bicubic | {mean:.2f} " in few


def test_results_that_are_of_no_set_are_refused_before_the_work(sets, tmp_path, capsys, fake):
    save(tmp_path / "x" / "other.png", picture(0))
    assert sets("--results", f"x={tmp_path / 'x'}") == 1
    assert f"--results: {tmp_path / 'x'} has no result of set5, set14; check" in capsys.readouterr().err
    assert fake == []
    save(tmp_path / "y" / "0.png", picture(0))
    save(tmp_path / "y" / "0.webp", picture(0))
    assert sets("--results", f"y={tmp_path / 'y'}") == 1
    assert "are both called 0: rename or remove one" in capsys.readouterr().err
    for words in ("=x", "x=", "x", f"x={tmp_path / 'none'}"):
        with pytest.raises(SystemExit):
            sets("--results", words)


def test_several_models_stand_side_by_side(sets, tmp_path):
    assert sets("-n", "a", "b") == 0
    table = rows_of((tmp_path / "out/table.md").read_text().split("\n## ")[1])
    assert [row for row in table if row.startswith("b, ")] == [
        row.replace("a, ", "b, ") for row in table if "a, " in row
    ]
    assert {"a, 1 step", "b, HR guidance"} <= set(table)


def test_algorithm_1_is_a_row_where_a_calibration_has_it(small_upscalers, monkeypatch):
    found = SimpleNamespace(calibration=SimpleNamespace(presets={"open-loop": {}}), path=None)
    monkeypatch.setattr(Upscaler, "find_calibration", lambda *_: found)
    made = lambda *_, name, preset=None, **given: Method(name, lambda pair, seed: None, {"preset": preset})  # noqa: E731
    monkeypatch.setattr(suite, "model_method", made)
    rows = suite._model_rows("m", small_upscalers["channel"], (2, 1))
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
    assert "Quoted, not measured here" in text
    assert "| Resshift(s4) (quoted) | 25.26 | 0.7299 | 0.2075 |" in text
    assert "| OSEDiff (s1) (quoted) | 25.15 |" in text
    assert quoted(["set5"]) == ""


def test_methods_are_timed_in_turns_where_asked(sets, tmp_path, fake):
    assert sets() == 0
    assert "## Time of" not in (tmp_path / "out/table.md").read_text()
    fake.clear()
    assert sets("--time", 2) == 0
    text = (tmp_path / "out/table.md").read_text().split("## Time of ")[1]
    assert text.startswith("0, 48x32 pixels\n\nMedian of 2 runs in turns")
    methods = rows_of("| method |\n" + text.split("|---|---|---|\n")[1])
    assert methods == [
        "bicubic",
        "m, 1 step",
        "m, 2 steps",
        *(f"m, {name}" for name in suite.PRESETS),
        "m, HR guidance",
    ]
    assert len(fake) == 3 * (len(methods) - 1)  # one turn more, which compiles; nothing is scored again


def test_the_median_of_the_counted_runs_is_given(monkeypatch):
    clock = iter([0, 100, 101, 101, 109, 109, 112])  # the first turn is not timed
    monkeypatch.setattr(timing, "time", SimpleNamespace(perf_counter=lambda: float(next(clock))))
    method = Method("a", lambda pair, seed: np.zeros((1, 1, 3)))
    assert timing.seconds_per_image([method], Pair("a", 0, None, None, None, False), 3) == {"a": 3.0}

"""Test the times of a suite: which methods are timed, and the seconds that other programs noted for their results."""

import json
from functools import partial
from types import SimpleNamespace

import pytest

from jaxsr.evaluation import suite
from jaxsr.evaluation.timing import told_seconds
from jaxsr.runtime import timing
from tests.evaluation.pictures import picture, rows_of, save


def test_methods_are_timed_in_turns_where_asked(sets, tmp_path, fake):
    assert sets() == 0
    assert "## Time of" not in (tmp_path / "out/table.md").read_text()
    fake.clear()
    assert sets("--time", 2) == 0
    text = (tmp_path / "out/table.md").read_text().split("## Time of ")[1]
    assert text.startswith("0, 48x32\n")
    assert "Median of 2 runs in turns, after one that compiles" in text
    methods, guided = rows_of(text), [f"m, {name}" for name in suite.PRESETS]
    assert methods == ["bicubic", "m, 1 step", "m, 2 steps", *guided, "m, HR guidance"]
    assert len(fake) == 3 * (len(methods) - 1)  # one turn more, which compiles; nothing is scored again
    assert sets() == 0
    assert f"## Time of {text}" in (tmp_path / "out/table.md").read_text()  # kept


def test_an_unreadable_image_is_not_timed(sets, tmp_path):
    (tmp_path / "data/set5/0.png").write_bytes(b"no image")
    assert sets("--time", 1) == 3
    assert "## Time of 2, 48x32" in (tmp_path / "out/table.md").read_text()


def test_the_median_of_the_counted_runs_is_given(monkeypatch):
    clock = iter([0, 100, 101, 101, 109, 109, 112])  # the first turn is not timed
    monkeypatch.setattr(timing, "time", SimpleNamespace(perf_counter=lambda: float(next(clock))))
    assert timing.medians({"a": lambda: None}, 3) == {"a": 3.0}


def test_calls_of_a_turn_come_before_the_timed_one():
    order = []
    seconds = timing.turns({name: partial(order.append, name) for name in "ab"}, 2, first=2)
    assert "".join(order) == "ab" + 2 * "aaabbb"
    assert {name: len(values) for name, values in seconds.items()} == {"a": 2, "b": 2}


def test_other_programs_seconds_stand_beside(sets, tmp_path):
    theirs = tmp_path / "theirs"
    for i in range(5):
        save(theirs / "set5" / f"{i}.png", picture(i))
    (theirs / "times.json").write_text(json.dumps({"set5/0.png": 1.25, "set5/2.png": 9}))
    assert sets("--time", 1, "--results", f"other={theirs},none={theirs / 'set5'}") == 0
    text = (tmp_path / "out/table.md").read_text().split("## Time of ")[1]
    assert rows_of(text)[-1] == "other"
    assert "| other | 1.25 | 814 |" in text
    assert "not timed here; other: as the program that made them noted it in times.json." in text


WRONG = ("[1]", "{", '{"a.png": "1"}', '{"a.png": -1}', '{"a.png": NaN}', '{"a.png": true}', f'{{"a.png": {10**400}}}')


@pytest.mark.parametrize("content", WRONG)
def test_seconds_that_are_none_are_refused_before_any_work(sets, tmp_path, content, capsys, fake):
    save(tmp_path / "theirs/0.png", picture(0))
    (tmp_path / "theirs/times.json").write_text(content)
    words = "--results", f"other={tmp_path / 'theirs'}", "--sets", "set5"
    assert sets("--time", 1, *words) == 1
    assert f"error: {tmp_path}/theirs/times.json: " in capsys.readouterr().err
    assert not fake
    assert sets(*words) == 0  # nobody asked for times


def test_a_folder_without_seconds_has_none(tmp_path):
    assert told_seconds(tmp_path) == {}

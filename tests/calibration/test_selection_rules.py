"""Test how rules are read, which candidate a rule picks, and the Pareto front against its definition."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxsr.calibration.plan import Choices
from jaxsr.calibration.selection_rules import Rule, pareto_front, parse, pick, rule_metrics
from jaxsr.cli import calibrate
from jaxsr.metrics.catalogue import METRICS

TABLE = {
    "psnr": np.array([26.0, 25.8, 25.0, 24.7, 23.0]),
    "ssim": np.array([0.70, 0.72, 0.71, 0.60, 0.50]),
    "swd": np.array([4.0, 5.0, 3.0, 2.0, 2.5]),
}
PLAIN = 1


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("max perception, lose <= 0.5 dB", Rule("swd", "psnr", 0.5)),
        ("  MAX Perception ,lose<=.5db ", Rule("swd", "psnr", 0.5)),
        ("max perception, lose ≤ 2 %", Rule("swd", "psnr", 0.02, relative=True)),
        ("min swd, lose <= 0.01 ssim", Rule("swd", "ssim", 0.01)),
        ("max perception, lose <= 1 fidelity", Rule("swd", "psnr", 1.0)),
        ("max fidelity", Rule("psnr")),
        ("max fidelity, lose <= 10%", Rule("psnr", "swd", 0.1, relative=True)),
        ("max ssim, lose <= 0.3 swd", Rule("ssim", "swd", 0.3)),
        ("max lr_consistency", Rule("lr_consistency")),
    ],
)
def test_words_become_rules(text: str, rule: Rule) -> None:
    assert parse(text, "psnr", "swd") == rule


def test_the_named_metrics_stand_for_fidelity_and_perception() -> None:
    assert parse("max perception, lose <= 1 dB", "lr_consistency", "niqe") == Rule("niqe", "lr_consistency", 1.0)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("best perception", "is not understood; write for example"),
        ("max perception, lose <= -1 dB", "is not understood"),
        ("max perception, lose <= 0.5", "is not understood"),
        ("min perception", "seeks the worst; write 'max perception'"),
        ("max swd", "seeks the worst; write 'min swd'"),
        ("min psnr", "seeks the worst; write 'max psnr'"),
        ("max beauty", "metric: no 'beauty'; choose among psnr, ssim"),
        ("max perception, lose <= 1 euro", "metric: no 'euro'"),
        ("max fidelity, lose <= 1 dB", "swd is not measured in dB; write 'lose <= 1 swd'"),
    ],
)
def test_other_words_are_refused(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse(text, "psnr", "swd")


@pytest.mark.parametrize(
    ("text", "choice"),
    [
        ("max fidelity", 0),
        ("max perception", 3),
        ("max perception, lose <= 0.5 dB", 0),
        ("max perception, lose <= 0.9 dB", 2),
        ("max perception, lose <= 1.2 dB", 3),
        ("max perception, lose <= 4 %", 2),  # 4 % of 25.8 dB
        ("max perception, lose <= 0.015 ssim", 2),
        ("max ssim", 1),
        ("max fidelity, lose <= 0 swd", 0),
        ("max perception, lose <= 0 dB", 0),
    ],
)
def test_the_pick_under_a_rule(text: str, choice: int) -> None:
    assert pick(TABLE, parse(text, "psnr", "swd"), PLAIN) == choice


def test_of_equals_the_one_that_loses_least_is_picked() -> None:
    table = {"psnr": np.array([24.0, 25.0, 25.5]), "swd": np.array([1.0, 1.0, 3.0])}
    assert pick(table, Rule("swd", "psnr", 2.0), 2) == 1


def test_numbers_that_are_not_finite_are_passed_over() -> None:
    table = {"psnr": np.array([np.nan, 25.0, np.inf]), "swd": np.array([1.0, 3.0, 2.0])}
    assert pick(table, Rule("swd", "psnr", 9.0), 1) == 1
    assert pick(table, Rule("swd"), 1) == 0
    assert pareto_front(table, "psnr", "swd") == [1]
    with pytest.raises(ValueError, match="swd or psnr of the plain sampler is not finite"):
        pick(table, Rule("swd", "psnr", 9.0), 0)
    with pytest.raises(ValueError, match="rule: niqe was not measured; the table has psnr, swd"):
        pick(table, Rule("niqe"), 1)


def test_the_front_runs_from_faithful_to_perceptual() -> None:
    assert pareto_front(TABLE, "psnr", "swd") == [0, 2, 3]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=1, max_size=12))
def test_the_front_is_what_no_candidate_dominates(points) -> None:
    psnr, swd = np.array(points, np.float64).T
    front = pareto_front({"psnr": psnr, "swd": swd}, "psnr", "swd")
    beaten = [
        any((p >= psnr[i] and s <= swd[i]) and (p > psnr[i] or s < swd[i]) for p, s in zip(psnr, swd, strict=True))
        for i in range(len(points))
    ]
    assert {(psnr[i], swd[i]) for i in front} == {(psnr[i], swd[i]) for i in range(len(points)) if not beaten[i]}
    assert len({(psnr[i], swd[i]) for i in front}) == len(front)
    assert list(psnr[front]) == sorted(psnr[front], reverse=True)


def test_every_metric_can_be_sought() -> None:
    for name, metric in rule_metrics().items():
        assert parse(f"{'max' if metric.more_is_better else 'min'} {name}", "psnr", "swd") == Rule(name)


def test_they_count_the_right_way_and_the_command_names_them() -> None:
    assert {name: one.more_is_better for name, one in rule_metrics().items()} == {
        **dict.fromkeys(("psnr", "ssim", "ms_ssim", "lr_consistency"), True),
        **dict.fromkeys(("swd", "niqe", "lpips", "dists"), False),
    }
    text = calibrate.make_parser().format_help().replace("\n", " ")
    assert [name for name in rule_metrics() if name not in text] == []


def test_a_fidelity_metric_of_another_unit_has_losses_in_percent(monkeypatch):
    own = replace(METRICS["psnr"], unit="px")
    monkeypatch.setitem(METRICS, "edges", own)
    rules = Choices(candidates=(0.0,), metrics=("edges", "swd")).rules
    assert rules["balanced"] == "max perception, lose <= 1 %"

"""Test the table of the closed loop: diverged candidates, the calibrated range, and what a preset says of itself."""

import numpy as np
import pytest

from jaxsr.calibration import closed_loop, passes
from jaxsr.calibration.candidates import Candidate, Numbers, plain_numbers, with_projections
from jaxsr.calibration.plan import Choices

SCORES = {"psnr": np.array([[30.0], [29.0]]), "swd": np.array([[2.0], [1.0]])}


def test_only_the_plain_sampler_must_be_finite():
    values = {"psnr": np.array([[30.0], [np.nan]]), "swd": np.array([[2.0], [np.nan]])}
    passes.check_finite(passes.CLOSED, values, ["a.png"])
    choices = Choices(candidates=(1.0,), metrics=("psnr", "swd"))
    rows = [Candidate("plain", 0.0, (0.0,)), Candidate("constant", 1.0, (1.0,))]
    table = closed_loop.closed_table(choices, rows, values)
    diverged = closed_loop.describe_preset(choices, table, plain_numbers([1.0]), "norm objective", picked=False)
    assert diverged["warning"] == "diverged on the pairs of its calibration"
    assert (table["front"], set(table["picks"].values()), table["rows"][1]["psnr"]) == ([0], {0}, None)
    with pytest.raises(ArithmeticError, match=r"a\.png: swd is not finite for this image"):
        passes.check_finite(passes.CLOSED, values | {"swd": np.array([[np.nan], [1.0]])}, ["a.png"])


def test_scales_that_no_rule_picked_warn_of_their_loss():
    choices = Choices(candidates=(0.1,), metrics=("psnr", "swd"))
    rows = [Candidate("plain", 0.0, (0.0,)), Candidate("constant", 0.1, (0.1,)), Candidate("open-loop", 1.0, (2.0,))]
    scores = {"psnr": np.array([[30.0], [29.5], [18.0]]), "swd": np.array([[2.0], [1.0], [4.0]])}
    table = closed_loop.closed_table(choices, rows, scores)

    def describe(scale, picked):
        return closed_loop.describe_preset(choices, table, plain_numbers([scale]), "rule", picked=picked)

    assert describe(2.0, False)["warning"] == "lost 12 dB of psnr on the pairs of its calibration"
    assert describe(2.0, False)["change"] == {"psnr": -12.0, "swd": 2.0}
    assert describe(2.0, True)["warning"] == describe(0.1, False)["warning"] == ""
    assert describe(0.0, True)["warning"].startswith("is the plain sampler")
    assert describe(0.0, False)["warning"] == ""
    assert describe(0.7, False)["change"] == {}  # the closed loop did not measure it


def test_a_preset_has_the_projection_that_its_rule_picked():
    choices = Choices(projections=(0.0, 1.0), metrics=("psnr", "swd"))
    rows = with_projections([Candidate("plain", 0.0, (0.0,)), Candidate("constant", 0.1, (0.1,))], (0.0, 1.0))
    assert [(row.scale, row.projection) for row in rows] == [((0.0,), 0.0), ((0.0,), 1.0), ((0.1,), 0.0), ((0.1,), 1.0)]
    scores = {"psnr": np.array([[30.0], [31.0], [28.0], [29.5]]), "swd": np.array([[2.0], [1.9], [1.0], [1.2]])}
    table = closed_loop.closed_table(choices, rows, scores)
    assert table["picks"] == {"faithful": 1, "balanced": 1, "vivid": 3}
    assert (table["projections"], table["constant_range"]) == ([0.0, 1.0], [[0.0, 0.1]])
    vivid = closed_loop.describe_preset(choices, table, Numbers((0.1,), (1.0,), 1.0), "rule", picked=True)
    assert (vivid["projection"], vivid["change"]) == (1.0, {"psnr": -0.5, "swd": -0.8})
    with pytest.raises(ValueError, match="--projections: must be numbers from 0 to 1"):
        Choices(projections=(0.0, 1.5), metrics=("psnr", "swd"))


def test_where_no_scale_for_all_steps_was_tried_it_has_no_range():
    choices = Choices(metrics=("psnr", "swd"))
    rows = [Candidate("plain", 0.0, (0.0, 0.0)), Candidate("last", 0.1, (0.1, 0.0))]
    table = closed_loop.closed_table(choices, rows, SCORES)
    assert (table["constant_range"], table["range"]) == ([], [[0.0, 0.1], [0.0, 0.0]])
    single = [Candidate("plain", 0.0, (0.0,)), Candidate("last", 0.1, (0.1,))]
    table = closed_loop.closed_table(choices, single, SCORES)
    assert table["constant_range"] == [[0.0, 0.1]]

"""Test that `Options` refuses by name the values that no model takes."""

import re

import jaxtyping
import numpy as np
import pytest

from jaxsr.options import Options, spell_tile


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("sampler", "euler"),
        ("thinning", "even"),
        ("thinning", ()),
        ("thinning", (-1, 5)),
        ("thinning", (5, 0)),
        ("thinning", (0, 0)),
        ("thinning", (0.5, 1)),
        ("thinning", [2, 1]),
        ("blend", "linear"),
        ("precision", "fp16"),
        ("steps", 0),
        ("steps", 2.5),
        ("tile", 0),
        ("tile", "huge"),
        ("tile", (32,)),
        ("tile", (32, 0)),
        ("tile_noise", "none"),
        ("overlap", -1),
        ("alpha", "much"),
        ("alpha", float("nan")),
        ("alpha", 10**400),
        ("alpha", (0.1, float("inf"))),
        ("alpha", ()),
        ("through", "network"),
        ("reference_mean", "noisy"),
        ("reference_variance", "unit"),
        ("temperature", -1.0),
        ("temperature", float("inf")),
        ("projection", 1.5),
        ("projection", -0.1),
        ("projection", float("nan")),
        ("projection", "much"),
    ],
)
def test_values_that_no_model_takes_are_refused_by_name(name, value):
    # Switch off the type checks of the test run, which come first; users do not have them.
    jaxtyping.config.update("jaxtyping_disable", True)
    try:
        with pytest.raises(ValueError, match=rf"^{name}: .*{re.escape(str(value))}"):
            Options(**{name: value})
    finally:
        jaxtyping.config.update("jaxtyping_disable", False)


def test_rows_and_steps_must_agree():
    assert Options(thinning=(0, 5, 59), steps=3).thinning == (0, 5, 59)
    message = r"^steps: the thinning keeps 3 rows, one per step; leave steps out, or give 3, not 4"
    with pytest.raises(ValueError, match=message):
        Options(thinning=(0, 5, 59), steps=4)


def test_rows_of_any_sequence_are_the_same_choice():
    jaxtyping.config.update("jaxtyping_disable", True)  # users do not have the type checks of the test run
    try:
        given = [Options(thinning=rows) for rows in ([0, 5, 59], (np.int64(0), np.int64(5), np.int64(59)))]
    finally:
        jaxtyping.config.update("jaxtyping_disable", False)
    assert given == [Options(thinning=(0, 5, 59))] * 2
    assert all(type(row) is int for one in given for row in one.thinning)


def test_an_overlap_of_one_tile_is_refused():
    with pytest.raises(ValueError, match=r"^overlap:"):
        Options(tile="off", overlap=16)


def test_a_square_given_by_both_sides_is_the_same_choice():
    assert Options(tile=(64, 64)) == Options(tile=64)
    assert [spell_tile(tile) for tile in ("auto", 64, (64, 64), (64, 128))] == ["auto", "64", "64", "128x64"]

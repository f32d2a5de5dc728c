"""Test grids and profiles of scales."""

import numpy as np
import pytest

from jaxsr.calibration.candidates import even_chunks, expand, parse_grid, parse_profiles


def test_a_grid_has_both_ends_and_its_zero_is_zero():
    grid = parse_grid("-0.5:1.0:61")
    assert (len(grid), grid[0], grid[-1], grid[20]) == (61, -0.5, 1.0, 0.0)
    np.testing.assert_allclose(np.diff(grid), 0.025, rtol=1e-9)


def test_a_list_is_sorted_and_each_number_is_taken_once():
    assert parse_grid("0.3,-0.0, 0,.3,-1e-1") == (-0.1, 0.0, 0.3)


@pytest.mark.parametrize("text", ["", "a", "1:2", "0:1:1", "0:1:2.5", "0:1:-3", "nan", "0,inf", "0:1:2:3"])
def test_what_is_no_grid_is_refused(text):
    with pytest.raises(ValueError, match=r"--candidates: must be START:STOP:COUNT") as caught:
        parse_grid(text)
    assert repr(text) in str(caught.value)


def test_profiles_shape_the_number_and_the_plain_sampler_comes_first():
    open_loop = np.array([0.1, 0.2, 0.4])
    rows = expand((-0.5, 0.0, 2.0), parse_profiles("constant,last,open-loop"), open_loop)
    assert [(row.profile, row.value) for row in rows] == [
        ("plain", 0.0),
        ("constant", -0.5),
        ("constant", 2.0),
        ("last", -0.5),
        ("last", 2.0),
        ("open-loop", -0.5),
        ("open-loop", 2.0),
        ("open-loop", 1.0),
    ]
    scales = {(row.profile, row.value): row.scale for row in rows}
    assert scales["plain", 0.0] == (0, 0, 0)
    assert scales["constant", 2.0] == (2, 2, 2)
    assert scales["last", -0.5] == (-0.5, 0, 0)  # t = 1 is the last step
    assert scales["open-loop", 2.0] == (0.2, 0.4, 0.8)


def test_each_step_alone_and_equal_scales_once():
    rows = expand((0.5,), parse_profiles("last,each,constant"), np.array([0.0, 0.0, 0.0]))
    assert [(row.profile, row.scale) for row in rows] == [
        ("plain", (0, 0, 0)),
        ("last", (0.5, 0, 0)),  # t=1 alone is the same
        ("t=2", (0, 0.5, 0)),
        ("t=3", (0, 0, 0.5)),
        ("constant", (0.5, 0.5, 0.5)),
    ]
    assert len(expand((0.5,), parse_profiles("constant,last,each"), np.array([0.1]))) == 3  # plain, 0.5, Algorithm 1


def test_chunks_hold_every_candidate_once_and_copies_of_the_last():
    rows = expand((0.1, 0.2, 0.3, 0.4), ("constant",), np.array([0.7, 0.2]))
    made, size = even_chunks(rows, 4)
    assert (size, made.scale.shape, made.temperature.shape) == (3, (6, 2), (6, 2))
    np.testing.assert_allclose(made.scale, [row.scale for row in rows], rtol=1e-6)
    assert (made.temperature == 1).all()


def test_temperatures_are_candidates_of_their_own():
    rows = expand((0.1,), ("constant",), np.array([0.7, 0.2]), (0.8, 1.0, 1.2))
    assert [(row.profile, row.scale, row.temperature) for row in rows] == [
        ("plain", (0, 0), (1, 1)),
        ("constant", (0.1, 0.1), (1, 1)),
        ("open-loop", (0.7, 0.2), (1, 1)),
        ("temperature", (0, 0), (0.8, 0.8)),
        ("temperature", (0, 0), (1.2, 1.2)),
        ("constant", (0.1, 0.1), (0.8, 0.8)),
        ("constant", (0.1, 0.1), (1.2, 1.2)),
    ]
    assert len(expand((0.1,), ("last",), np.array([0.7, 0.2]), (0.8, 1.2))) == 5


def test_an_unknown_profile_is_refused():
    with pytest.raises(ValueError, match=r"--profile: no 'first'; choose from constant, last, each, open-loop"):
        parse_profiles("constant,first")

"""Test the size of a result: by a scale, by one side, by both, and what is refused."""

from dataclasses import replace

import pytest

from jaxsr.batch.size import final_size, is_resized
from tests.batch.test_request import PLAIN


@pytest.mark.parametrize(
    ("asked", "size", "expected"),
    [
        ({}, (30, 40), (120, 160)),
        ({"scale": 1.0}, (30, 40), (30, 40)),
        ({"scale": 2.5}, (30, 41), (75, 103)),
        ({"scale": 8.0}, (1, 1), (8, 8)),
        ({"width": 100}, (30, 40), (75, 100)),
        ({"height": 31}, (30, 40), (31, 41)),
        ({"width": 100, "height": 75}, (30, 40), (75, 100)),
        ({"width": 320}, (1, 40), (8, 320)),
    ],
)
def test_the_size_that_was_asked_for(asked, size, expected):
    request = replace(PLAIN, **asked)
    assert final_size(size, 4, request) == expected
    assert is_resized(size, 4, request) == bool(asked)


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"width": 39}, r"width: 39 pixels are 0.975 times those of the image of 40x30; choose 40 to 320"),
        ({"width": 321}, r"width: 321 pixels are 8.03 times"),
        ({"height": 241}, r"height: 241 pixels are 8.03 times those of the image of 40x30; choose 30 to 240"),
        ({"width": 99, "height": 75}, r"height: 99x75 has not the proportions .* or 99x74"),
        ({"width": 80, "height": 80}, r"height: 80x80 has not the proportions .* give one side alone, or 80x60"),
    ],
)
def test_a_size_that_does_not_fit_the_image_is_refused(asked, message):
    with pytest.raises(ValueError, match=message):
        final_size((30, 40), 4, replace(PLAIN, **asked))


@pytest.mark.parametrize("asked", [{"width": 160}, {"height": 120}, {"scale": 4.0}, {"width": 160, "height": 120}])
def test_the_networks_own_size_is_not_resized(asked):
    assert not is_resized((30, 40), 4, replace(PLAIN, **asked))


@pytest.mark.parametrize("asked", [{"scale": 0.5}, {"scale": 8.1}, {"scale": float("nan")}, {"width": 0}])
def test_numbers_out_of_range_are_refused_at_once(asked):
    with pytest.raises(ValueError, match=f"{next(iter(asked))}: must be"):
        replace(PLAIN, **asked)

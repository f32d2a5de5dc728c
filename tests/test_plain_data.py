"""Test that plain data becomes dataclasses only where it fits, and that errors name the field."""

import math
from dataclasses import dataclass
from typing import Literal

import pytest

from jaxsr import plain_data
from jaxsr.plain_data import MOST_LEVELS, convert, parse_json


@dataclass(frozen=True)
class Part:
    sizes: tuple[int, ...]
    name: str = "n"

    def __post_init__(self) -> None:
        if not self.sizes:
            raise ValueError("sizes: give at least one")


@dataclass(frozen=True)
class Whole:
    part: Part
    ratio: float


@dataclass(frozen=True)
class Choice:
    word: Literal["one", "two"]


def test_data_becomes_the_dataclass():
    assert convert({"part": {"sizes": [1, 2]}, "ratio": 2}, Whole) == Whole(Part((1, 2)), 2.0)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (3, "^a.json: must be an object with named fields, not int"),
        ({"ratio": 1.0}, "^a.json: Object missing required field `part`"),
        ({"part": {"sizes": [1]}, "ratio": 1.0, "more": 1}, "^a.json: has no field more"),
        ({"part": {"sizes": [1]}, "ratio": "1"}, "^a.json.ratio: Expected `float`, got `str`"),
        ({"part": {"sizes": [1, None]}, "ratio": 1}, r"^a.json.part.sizes\[1\]: Expected `int`, got `null`"),
        ({"part": {"sizes": []}, "ratio": 1}, "^sizes: give at least one"),
        ({"part": {"sizes": [1]}, "ratio": math.inf}, "^a.json.ratio: must be a finite number, not inf"),
        ({"part": {"sizes": [1, math.nan]}, "ratio": 1}, r"^a.json.part.sizes\[1\]: must be a finite number, not nan"),
    ],
)
def test_an_error_names_the_field(data, message):
    with pytest.raises(ValueError, match=message):
        convert(data, Whole, where="a.json")


def test_an_error_quotes_only_the_start_of_a_long_text():
    with pytest.raises(ValueError, match=r"^word: Invalid enum value 'aaaa[a]*") as caught:
        convert({"word": "a" * 5000}, Choice)
    assert len(str(caught.value)) < 250


def test_more_values_than_any_file_has_are_refused(monkeypatch):
    monkeypatch.setattr(plain_data, "MOST_ITEMS", 10)
    with pytest.raises(ValueError, match="has more than 10 values"):
        convert({"part": {"sizes": [1] * 20}, "ratio": 1}, Whole)


@pytest.mark.parametrize("number", [10**400, -(10**400), float("inf"), float("nan")])
def test_a_number_that_no_float_holds_is_refused_by_its_field(number):
    with pytest.raises(ValueError, match=r"^options\.alpha\[1\]: must be a (finite )?number"):
        plain_data.check_numbers({"options": {"alpha": [1, number]}}, "")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[" * 100_000, "it has more than 100 levels"),
        ("[" * (MOST_LEVELS + 1) + "1" + "]" * (MOST_LEVELS + 1), "it has more than 100 levels"),
        ('{"a":' * (MOST_LEVELS + 1) + "1" + "}" * (MOST_LEVELS + 1), "it has more than 100 levels"),
        (f'{{"a": {"9" * 5000}}}', "it has a number of too many digits"),
        ("{", "Expecting property name"),
        (b"\xff", "codec can't decode"),
    ],
)
def test_json_that_is_damaged_or_evil_is_refused_in_a_few_words(text, message):
    with pytest.raises(ValueError, match=message) as caught:
        parse_json(text)
    assert len(str(caught.value)) < 200


def test_json_of_all_levels_is_read():
    data = parse_json("[" * MOST_LEVELS + "1" + "]" * MOST_LEVELS)
    for _ in range(MOST_LEVELS):
        (data,) = data
    assert data == 1

"""Test that every list of every command takes commas, spaces and both, and leaves the files after it alone."""

import argparse
from pathlib import Path

import pytest

from jaxsr.cli.parser import ListOf, Parser, numbers, numbers_or_names, some_of
from jaxsr.cli.sample_options import make_parser
from tests.cli.parsers import all_parsers

ITEMS = {
    "alpha": ("-0.1", "0.2"),
    "thinning": ("0", "5"),
    "temperature": ("0.9", "1.1"),
    "strip": ("-.1", "0.2"),
    "reference_slope": ("-1", "-0.5"),
    "reference_offset": ("-0.1", "0"),
    "reference_box": ("0", "1", "20", "30"),
    "crop": ("0", "1", "20", "30"),
    "multiples": ("-1", "1"),
    "closed_loop": ("psnr", "swd"),
    "candidates": ("-0.1", "0.1"),
    "profile": ("constant", "last"),
    "temperatures": ("0.9", "1.1"),
    "projections": ("0.5", "1"),
    "losses": ("-0.5", "1"),
    "instruments": ("errors", "dispersion"),
    "counts": ("1", "4"),
    "scales": ("-0.1", "0.1"),
    "platforms": ("cpu", "tpu"),
    "metrics": ("psnr", "ssim"),
    "labels": ("one", "two"),
    "seeds": ("0", "7"),
    "model": ("tiny-x4", "my model"),
    "results": (f"a={Path(__file__).parent}", f"b={Path(__file__).parent}"),
    "sets": ("set5", "kodak"),
    "steps": ("4", "1"),
}
FILES = {"input", "paths"}  # their names may contain commas and spaces
LISTS = [(parser, action) for parser in all_parsers() for action in parser._actions if isinstance(action.type, ListOf)]


@pytest.mark.parametrize(("parser", "action"), LISTS, ids=lambda one: getattr(one, "dest", getattr(one, "prog", "")))
def test_commas_and_spaces_mean_the_same(parser, action):
    items, flag = ITEMS[action.dest], action.option_strings[-1]
    same = [[flag, ",".join(items)], [f"{flag}={','.join(items)}"], [flag, *items], [flag, ", ".join(items)]]
    same += [[flag, f"{items[0]},", *items[1:]], [*same[2], "--version-of-this"][:-1]]
    if not action.type.between.pattern.startswith(","):
        same += [[flag, " ".join(items)], [f"{flag}={' '.join(items)}"]]
    found = [getattr(parser.parse_args(words), action.dest) for words in same]
    assert all(one == found[0] for one in found)
    assert found[0] != action.default
    single = getattr(parser.parse_args([flag, items[0]]), action.dest) if action.type.count is None else None
    assert single != found[0]


def test_there_are_lists_in_many_parsers_and_no_other_lists():
    assert {action.dest for _, action in LISTS} == set(ITEMS)
    for parser in all_parsers():
        for action in parser._actions:
            if action.option_strings and action.nargs in ("+", "*"):
                assert action.dest in FILES, f"{parser.prog} {action.dest}: give it a ListOf"


@pytest.mark.parametrize(
    ("line", "alpha", "paths"),
    [
        ("a.png --alpha 0.1 b.png", 0.1, ["a.png", "b.png"]),
        ("--alpha 0.1 0.2 a.png", (0.1, 0.2), ["a.png"]),
        ("--alpha -0.1, -0.2 -- -a.png", (-0.1, -0.2), ["-a.png"]),
        ("-o out --alpha=-0.1 a.png 1.png", -0.1, ["a.png", "1.png"]),
    ],
)
def test_files_may_stand_anywhere(line, alpha, paths):
    found = make_parser().parse_args(line.split())
    assert (found.alpha, found.paths) == (alpha, [Path(path) for path in paths])


@pytest.mark.parametrize(
    ("kind", "text", "message"),
    [
        (numbers(), "0.1,x", "must be numbers"),
        (numbers(), "inf", "must be numbers"),
        (numbers(), " , ", "must be numbers"),
        (numbers_or_names(), "nan", "must be numbers"),
        (numbers_or_names(), "plain,photo.jpg", "must be numbers"),
        (some_of(("a", "b")), "a,c", "no 'c'; choose among a,b"),
        (ListOf(int, count=4, what="X,Y,W,H"), "1,2,3", "must be X,Y,W,H separated by"),
    ],
)
def test_what_is_no_such_list_is_refused(kind, text, message):
    with pytest.raises(argparse.ArgumentTypeError, match=message):
        kind(text)


def test_a_list_without_items_and_a_long_one_are_refused_by_name(capsys):
    parser = Parser(prog="x")
    parser.add_argument("--box", type=ListOf(int, count=2, what="numbers"))
    for words in (["--box"], ["--box", "--other"], ["--box", "1", "2", "3"]):
        with pytest.raises(SystemExit) as stopped:
            parser.parse_args(words)
        assert stopped.value.code == 2
        assert "--box" in capsys.readouterr().err


def test_names_come_in_the_order_of_the_table():
    assert some_of(("a", "b", "c"))("c a,a") == ("a", "c")


@pytest.mark.parametrize(("parser", "action"), LISTS)
def test_a_list_given_twice_is_one_list(parser, action):
    """No item is dropped without a word."""
    first, second, *_ = ITEMS[action.dest]
    flags = [action.option_strings[0], action.option_strings[-1]]
    once = parser.join_lists([flags[0], f"{first},{second}"])
    twice = parser.join_lists([flags[0], first, "--other", "x", f"{flags[1]}={second}"])
    assert twice[0] == once[0]
    assert twice[1:] == ["--other", "x"]


def test_inputs_given_twice_are_all_taken():
    args = make_parser().parse_args(["-i", "a.png", "-o", "out", "-i", "b.png", "c.png"])
    assert args.input == [Path("a.png"), Path("b.png"), Path("c.png")]

"""Test how commands end: error messages and exit codes."""

import pytest

from jaxsr.cli.exits import exit_code


def raising(error: BaseException):
    def run() -> int:
        raise error

    return run


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (ValueError("--x: bad\n"), 1, "error: --x: bad\\n\n"),
        (OverflowError("too large"), 1, "error: too large\n"),
        (RuntimeError("RESOURCE_EXHAUSTED: x"), 1, "error: the device has too little memory: give less\n"),
        (KeyboardInterrupt(), 130, "stopped; run the same command again to resume\n"),
    ],
)
def test_an_expected_error_is_one_line_and_a_code(capsys, error, code, line):
    assert exit_code(raising(error), smaller="less") == code
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", line)


def test_what_is_not_expected_is_raised_and_the_code_is_that_of_the_run():
    assert exit_code(lambda: 3) == 3
    with pytest.raises(RuntimeError, match="a bug"):
        exit_code(raising(RuntimeError("a bug")))

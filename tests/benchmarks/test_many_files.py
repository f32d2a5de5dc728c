"""Test that the benchmark of many files finds all results that it has copied."""

import pytest

from benchmarks import many_files


@pytest.mark.slow
def test_all_results_are_found(small_checkpoints, capsys):
    assert many_files.main(["--model", str(small_checkpoints["channel"]), "--count", "3"]) == 0
    assert "\n| 3 | " in capsys.readouterr().out


def test_a_model_that_fails_is_one_sentence(capsys):
    assert many_files.main(["--model", "no-such-model", "--count", "3"]) == 1
    error = capsys.readouterr().err
    assert (error.count("\n"), error[:15]) == (1, "error: --model:")


def test_no_pictures_are_refused():
    with pytest.raises(SystemExit):
        many_files.main(["--count", "0"])

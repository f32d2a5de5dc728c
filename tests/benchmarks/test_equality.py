"""Test that results are as equal as docs/reliability.md says, on the bundled model and photograph."""

import re
from pathlib import Path

import numpy as np
import pytest

from benchmarks.equality import CHANGES, compare, measure

PAGE = Path(__file__).parents[2] / "docs/reliability.md"


def stated() -> dict[str, dict[str, str]]:
    """Return the cells of the page's table: by change, by model."""
    table = PAGE.read_text(encoding="utf-8").partition("<!-- equality -->\n\n")[2].partition("\n\n")[0]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()]
    return {row[0]: dict(zip(rows[0][1:], row[1:], strict=True)) for row in rows[2:]}


def test_the_table_has_a_row_for_each_change():
    assert stated().keys() == {change.name for change in CHANGES}
    assert compare(*[np.zeros((2, 2))] * 2) == (0, float("inf"))


@pytest.mark.slow
@pytest.mark.parametrize("model", ["tiny-x4", "photo-x4"])
def test_results_are_as_equal_as_the_table_says(model):
    """3 dB below the table are allowed, for other processors round otherwise."""
    for name, (largest, psnr) in measure(model, CHANGES).items():
        cell = stated()[name][model]
        if cell == "equal":
            assert largest == 0, name
        else:
            number = re.match(r"([\d.]+) dB", cell)
            assert number is not None
            assert psnr >= float(number[1]) - 3, (name, psnr)

"""Test the coordinate search over the vector of scales on functions whose optimum is known."""

import numpy as np

from jaxsr.calibration.candidates import Candidate, Numbers, plain_numbers
from jaxsr.calibration.search import FIRST_STRIDE, Place, next_round, search

BEST = np.array([0.3, -0.1, 0.0])
ROWS = [Candidate("plain", 0.0, (0.0, 0.0, 0.0)), Candidate("constant", 0.1, (0.1, 0.1, 0.1))]


def searched(
    rounds: int, best: np.ndarray = BEST, *, warm: bool = False, warmth: tuple = (1, 1, 1)
) -> tuple[list[Candidate], list[tuple[str, int]]]:
    """Search for the scales nearest to `best`. Return all rows, and the name and size of every batch."""
    batches = []

    def pick(rows):
        return {"vivid": int(np.argmin([distance(row) for row in rows]))}

    def distance(row):
        return np.square(np.array(row.scale) - best).sum() + (np.square(np.array(row.temperature) - warmth).sum())

    rows = search(list(ROWS), rounds, pick, lambda name, found: batches.append((name, len(found))), warm=warm)
    return rows, batches


def test_every_round_is_one_batch_of_new_neighbours():
    rows, batches = searched(2)
    assert batches == [("search 1", 6), ("search 2", 5)]  # the first centre is known in round 2
    assert len({row.scale for row in rows}) == len(rows)
    assert {(row.profile, row.value) for row in rows[2:]} == {("search", 1.0), ("search", 2.0)}


def test_a_round_moves_one_stride_in_one_step():
    found = next_round(
        {"a": Place(plain_numbers((0.1, 0.0))), "b": Place(plain_numbers((0.1, 0.0)), stride=0.05)}, [], 1
    )
    assert [row.scale for row in found] == [
        (0.2, 0.0),
        (0.0, 0.0),
        (0.1, 0.1),
        (0.1, -0.1),
        (0.15, 0.0),
        (0.05, 0.0),
        (0.1, 0.05),
        (0.1, -0.05),
    ]
    assert not next_round({"a": Place(plain_numbers((0.1, 0.0)))}, found, 2)  # all are measured


def test_it_finds_a_vector_that_no_number_gives():
    rows, _ = searched(6)
    assert min(np.abs(np.array(row.scale) - BEST).max() for row in rows) < 1e-9
    off_grid = np.array([0.33, -0.12, 0.01])
    errors = [min(np.abs(np.array(r.scale) - off_grid).max() for r in searched(n, off_grid)[0]) for n in (4, 8, 16)]
    assert errors[0] > errors[1] > errors[2]  # the stride halves


def test_the_stride_halves_only_where_nothing_better_was_found():
    here, there = plain_numbers((0.0,)), plain_numbers((0.1,))
    assert Place(here).moved(here) == Place(here, FIRST_STRIDE / 2)
    assert Place(here).moved(there) == Place(there, FIRST_STRIDE)


def test_a_warm_search_finds_the_temperature_of_every_step_that_draws_noise():
    rows, batches = searched(12, warm=True, warmth=(1, 1.15, 0.9))
    errors = [np.abs(np.array([*row.scale, *row.temperature]) - [*BEST, 1, 1.15, 0.9]).max() for row in rows]
    assert min(errors) < 1e-9
    assert batches[0] == ("search 1", 10)  # three scales and two temperatures, up and down
    assert {row.temperature[0] for row in rows} == {1}  # the last step draws no noise
    cold, _ = searched(8, warmth=(1, 1.15, 0.9))
    assert {row.temperature for row in cold} == {(1, 1, 1)}
    floor = next_round({"a": Place(Numbers((0.0, 0.0), (1.0, 0.0)))}, [], 1, warm=True)
    assert min(min(row.temperature) for row in floor) == 0


def test_no_round_changes_nothing():
    assert searched(0) == (ROWS, [])

"""The coordinate search over scales and temperatures: each round tries every step up and down, in one batch.

Every rule of the closed loop has its own search. A round starts at the row that the rule picks among all rows measured
so far, and adds one stride to the scale of one step, or subtracts it. A warm search also changes the temperature of one
step, by half a stride. The stride starts at `FIRST_STRIDE` and halves after a round that found nothing better.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from jaxsr.calibration.candidates import Candidate, Numbers, distinct, with_projections

FIRST_STRIDE = 0.1


@dataclass(frozen=True)
class Place:
    """Where the search of one rule stands: the numbers that the rule picks, and the stride of the next round.

    The projection of the numbers plays no part, because every candidate is tried with every strength.
    """

    centre: Numbers
    stride: float = FIRST_STRIDE

    def moved(self, centre: Numbers) -> "Place":
        """Return the place after a round that picked `centre`."""
        return Place(centre, self.stride if centre != self.centre else self.stride / 2)

    def neighbours(self, *, warm: bool = False) -> list[Numbers]:
        """List the numbers that differ from the centre in one step, t = 1 first. The last step draws no noise."""
        scale, temperature, _ = self.centre
        found = [Numbers(changed, temperature) for t in range(len(scale)) for changed in _moves(scale, t, self.stride)]
        for t in range(1, len(scale)) if warm else ():
            found += [Numbers(scale, changed) for changed in _moves(temperature, t, self.stride / 2)]
        return [numbers for numbers in found if min(numbers.temperature) >= 0]


def _moves(values: tuple[float, ...], at: int, stride: float) -> list[tuple[float, ...]]:
    """Return the values with one of them a stride higher and lower."""
    shifted = lambda change: tuple(round(value + change * (i == at), 9) + 0.0 for i, value in enumerate(values))  # noqa: E731
    return [shifted(stride), shifted(-stride)]


def next_round(
    places: Mapping[str, Place], measured: Sequence[Candidate], number: int, *, warm: bool = False
) -> list[Candidate]:
    """List the candidates of round `number`: the neighbours of all places that are not measured yet, each once."""
    known = {candidate.numbers._replace(projection=0.0) for candidate in measured}
    found = (numbers for place in places.values() for numbers in place.neighbours(warm=warm))
    return distinct(Candidate("search", float(number), new.scale, new.temperature) for new in found if new not in known)


def search(
    rows: list[Candidate],
    rounds: int,
    pick: Callable[[Sequence[Candidate]], Mapping[str, int]],
    measure: Callable[[str, list[Candidate]], None],
    *,
    projections: Sequence[float] = (0.0,),
    warm: bool = False,
) -> list[Candidate]:
    """Carry out `rounds` rounds, and return all rows: those given and those of the search.

    Args:
        rows: the candidates that are measured already.
        rounds: number of rounds; a round without a new neighbour only halves the strides.
        pick: all rows -> the number of the row that each rule picks.
        measure: (name of the round, its candidates); afterwards `pick` knows their scores with every projection.
        projections: strengths of the projection; every candidate has a row for each.
        warm: whether the temperatures are searched too.
    """
    places = {name: Place(rows[at].numbers) for name, at in pick(rows).items()}
    for number in range(1, rounds + 1):
        found = next_round(places, rows, number, warm=warm)
        if found:
            measure(f"search {number}", found)
            rows = [*rows, *with_projections(found, projections)]
        picks = pick(rows)
        places = {name: place.moved(rows[picks[name]].numbers) for name, place in places.items()}
    return rows

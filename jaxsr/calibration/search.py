"""The coordinate search over the vector of scales: each round tries every step up and down, in one batch of candidates.

Every rule of the closed loop has its own search. A round starts at the row that the rule picks among all rows measured
so far, and adds one stride to one step, or subtracts it. The stride starts at `FIRST_STRIDE` and halves after a round
that found nothing better.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from jaxsr.calibration.candidates import Candidate, distinct, with_projections

FIRST_STRIDE = 0.1
Scale = tuple[float, ...]


@dataclass(frozen=True)
class Place:
    """Where the search of one rule stands: the scales that the rule picks, and the stride of the next round."""

    centre: Scale
    stride: float = FIRST_STRIDE

    def moved(self, centre: Scale) -> "Place":
        """Return the place after a round that picked `centre`."""
        return Place(centre, self.stride if centre != self.centre else self.stride / 2)

    def neighbours(self) -> list[Scale]:
        """List the scales that differ from the centre by one stride in one step, t = 1 first."""
        changes = [(t, sign * self.stride) for t in range(len(self.centre)) for sign in (1, -1)]
        return [
            tuple(round(value + change * (i == t), 9) + 0.0 for i, value in enumerate(self.centre))
            for t, change in changes
        ]


def next_round(places: Mapping[str, Place], measured: Sequence[Candidate], number: int) -> list[Candidate]:
    """List the candidates of round `number`: the neighbours of all places that are not measured yet, each once."""
    known = {candidate.scale for candidate in measured}
    scales = (scale for place in places.values() for scale in place.neighbours())
    return distinct(Candidate("search", float(number), scale) for scale in scales if scale not in known)


def search(
    rows: list[Candidate],
    rounds: int,
    pick: Callable[[Sequence[Candidate]], Mapping[str, int]],
    measure: Callable[[str, list[Candidate]], None],
    projections: Sequence[float] = (0.0,),
) -> list[Candidate]:
    """Carry out `rounds` rounds, and return all rows: those given and those of the search.

    Args:
        rows: the candidates that are measured already.
        rounds: number of rounds; a round without a new neighbour only halves the strides.
        pick: all rows -> the number of the row that each rule picks.
        measure: (name of the round, its candidates); afterwards `pick` knows their scores with every projection.
        projections: strengths of the projection; every candidate has a row for each.
    """
    places = {name: Place(rows[at].scale) for name, at in pick(rows).items()}
    for number in range(1, rounds + 1):
        found = next_round(places, rows, number)
        if found:
            measure(f"search {number}", found)
            rows = [*rows, *with_projections(found, projections)]
        picks = pick(rows)
        places = {name: place.moved(rows[picks[name]].scale) for name, place in places.items()}
    return rows

"""The candidates of a calibration: profiles turn each number of a grid into one scale per step."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from jaxsr.calibration.sweep import Rows

PROFILES = ("constant", "last", "each", "open-loop")


class Numbers(NamedTuple):
    """What a candidate changes: scale and temperature of every step, t = 1 first, and strength of the projection."""

    scale: tuple[float, ...]
    temperature: tuple[float, ...]
    projection: float = 0.0


@dataclass(frozen=True)
class Candidate:
    """One row of the closed loop: number `value` of the grid under a profile, as one scale per step, t = 1 first.

    Rows of a search have the profile `search` and the number of their round as `value`. The profile `temperature` gives
    every step the temperature `value`, with scale 0. `projection` is the strength of the projection of the results.
    """

    profile: str
    value: float
    scale: tuple[float, ...]
    temperature: tuple[float, ...] = ()
    projection: float = 0.0

    def __post_init__(self) -> None:
        if not self.temperature:
            object.__setattr__(self, "temperature", (1.0,) * len(self.scale))

    @property
    def numbers(self) -> Numbers:
        """What the candidate changes."""
        return Numbers(self.scale, self.temperature, self.projection)


def plain_numbers(scale: Sequence[float]) -> Numbers:
    """Return these scales with the temperature 1 and no projection."""
    return Numbers(tuple(scale), (1.0,) * len(scale))


def parse_grid(text: str, option: str = "--candidates") -> tuple[float, ...]:
    """Parse `start:stop:count` (both ends included) or a list with commas. Return the numbers in order, each once.

    `option` names the option in errors.

    Raises:
        ValueError: for other text, numbers that are not finite, or a count below 2.
    """
    try:
        if ":" in text:
            start, stop, count = text.split(":")
            numbers = np.linspace(float(start), float(stop), int(count)) if int(count) > 1 else np.array([np.nan])
        else:
            numbers = np.array([float(word) for word in text.split(",")])
    except ValueError:
        numbers = np.array([np.nan])
    if not np.isfinite(numbers).all():
        raise ValueError(f"{option}: must be START:STOP:COUNT or numbers with commas, not {text!r}.")
    return tuple(np.unique(np.round(numbers, 12) + 0.0).tolist())  # + 0.0: no -0.0


def parse_profiles(text: str) -> tuple[str, ...]:
    """Parse names separated by commas. Return each once. Raises ValueError for a name that is not in `PROFILES`."""
    names = tuple(dict.fromkeys(text.split(",")))
    if unknown := [name for name in names if name not in PROFILES]:
        raise ValueError(f"--profile: no {unknown[0]!r}; choose from {', '.join(PROFILES)}, separated by commas.")
    return names


def expand(
    values: Sequence[float],
    profiles: Sequence[str],
    open_loop: Float[np.ndarray, " t"],
    temperatures: Sequence[float] = (),
) -> list[Candidate]:
    """List the candidates: the plain sampler, which losses are relative to, then every number under every profile.

    The profiles are `constant`, the same scale at every step; `last`, the scale at t = 1 alone, the last step taken;
    `each`, the scale at one step alone, for every step in turn; and `open-loop`, the number times Algorithm 1's scale
    of each step. Algorithm 1's own scales are always a candidate, so that their loss is known. The temperatures follow,
    each for all steps, with scale 0 and, under the profile `constant`, with every number. Of candidates with equal
    numbers only the first is listed; the number 0 is the plain sampler.
    """
    steps = len(open_loop)
    alone = [(f"t={t + 1}", row) for t, row in enumerate(np.eye(steps))]
    shapes = {
        "constant": [("constant", np.ones(steps))],
        "last": [("last", np.eye(steps)[0])],
        "each": alone,
        "open-loop": [("open-loop", open_loop)],
    }
    rows = [(*shape, value) for profile in profiles for shape in shapes[profile] for value in values if value]
    rows.append(("open-loop", open_loop, 1.0))
    guided = (Candidate(name, value, tuple((value * shape + 0.0).tolist())) for name, shape, value in rows)
    warm = [Candidate("temperature", value, (0.0,) * steps, (value,) * steps) for value in temperatures]
    for value in values if "constant" in profiles else ():
        warm += [Candidate("constant", value, (value,) * steps, (number,) * steps) for number in temperatures]
    return distinct([Candidate("plain", 0.0, (0.0,) * steps), *guided, *warm])


def distinct(candidates: Iterable[Candidate]) -> list[Candidate]:
    """List the candidates, of those with equal numbers only the first."""
    first: dict[Numbers, Candidate] = {}
    for candidate in candidates:
        first.setdefault(candidate.numbers, candidate)
    return list(first.values())


def with_projections(candidates: Iterable[Candidate], strengths: Sequence[float]) -> list[Candidate]:
    """List every candidate once for each strength of the projection, candidate by candidate."""
    return [replace(one, projection=strength) for one in candidates for strength in strengths]


def even_chunks(candidates: Sequence[Candidate], most: int) -> tuple[Rows, int]:
    """Divide the candidates into chunks of one size, at most `most`. Return their numbers, and the size of a chunk.

    Copies of the last candidate fill up the last chunk. The chunks are as even as possible, so that they need few
    copies.
    """
    chunks = -(-len(candidates) // most)
    size = -(-len(candidates) // chunks)
    padding = ((0, chunks * size - len(candidates)), (0, 0))
    return Rows(*(np.pad(column, padding, mode="edge") for column in rows_of(candidates))), size


def rows_of(candidates: Sequence[Candidate | Numbers]) -> Rows:
    """Return the scales and temperatures of some candidates as arrays."""
    columns = ([getattr(candidate, name) for candidate in candidates] for name in Rows._fields)
    return Rows(*(np.array(column, np.float32) for column in columns))

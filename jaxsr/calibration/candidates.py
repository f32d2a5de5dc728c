"""The candidates of a calibration: profiles turn each number of a grid into one scale per step."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float, Float32

PROFILES = ("constant", "last", "each", "open-loop")


@dataclass(frozen=True)
class Candidate:
    """One row of the closed loop: number `value` of the grid under a profile, as one scale per step, t = 1 first.

    Rows of a search have the profile `search` and the number of their round as `value`. `projection` is the strength of
    the projection of the results.
    """

    profile: str
    value: float
    scale: tuple[float, ...]
    projection: float = 0.0


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


def expand(values: Sequence[float], profiles: Sequence[str], open_loop: Float[np.ndarray, " t"]) -> list[Candidate]:
    """List the candidates: the plain sampler, which losses are relative to, then every number under every profile.

    The profiles are `constant`, the same scale at every step; `last`, the scale at t = 1 alone, the last step taken;
    `each`, the scale at one step alone, for every step in turn; and `open-loop`, the number times Algorithm 1's scale
    of each step. Algorithm 1's own scales are always a candidate, so that their loss is known. Of candidates with equal
    scales only the first is listed; the number 0 is the plain sampler.
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
    return distinct([Candidate("plain", 0.0, (0.0,) * steps), *guided])


def distinct(candidates: Iterable[Candidate]) -> list[Candidate]:
    """List the candidates, of those with equal scales only the first."""
    first: dict[tuple[float, ...], Candidate] = {}
    for candidate in candidates:
        first.setdefault(candidate.scale, candidate)
    return list(first.values())


def with_projections(candidates: Iterable[Candidate], strengths: Sequence[float]) -> list[Candidate]:
    """List every candidate once for each strength of the projection, candidate by candidate."""
    return [replace(one, projection=strength) for one in candidates for strength in strengths]


def even_chunks(candidates: Sequence[Candidate], most: int) -> tuple[Float32[np.ndarray, "k t"], int]:
    """Divide the candidates into chunks of one size, at most `most`. Return their scales, and the size of a chunk.

    Copies of the last candidate fill up the last chunk. The chunks are as even as possible, so that they need few
    copies.
    """
    scales = np.array([candidate.scale for candidate in candidates], np.float32)
    chunks = -(-len(scales) // most)
    size = -(-len(scales) // chunks)
    return np.pad(scales, ((0, chunks * size - len(scales)), (0, 0)), mode="edge"), size

"""The samplers of few network calls that `benchmarks.corrections` compares, as `key=value` words, and their tables."""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

REFERENCES = ("lr", "first", "average", "nearest", "lanczos3")
"""References of the guidance: the LR image; the first prediction of x_0; the average of four plain samples (whose
network calls are not counted); the LR image enlarged by another kernel of `jax.image.resize`."""
VARIANCES = ("posterior", "marginal")
"""Variances of the reference's Gaussian, see docs/guidance.md."""
PRINTED = "printed"
"""The word for the scales of Algorithm 1 as printed, those of the model's calibration."""


@dataclass(frozen=True)
class Variant:
    """A way to sample, see `benchmarks.corrections`. Tuples have a number for all steps, or one per step, t = 1 first.

    Raises ValueError for per-step numbers that do not fit the rows, and for a temperature of the last step.
    """

    rows: tuple[int, ...] = (0, 20, 39, 59)
    alpha: tuple[float, ...] = (0.0,)
    reference: str = "lr"
    variance: str = "posterior"
    bands: tuple[float, ...] = (1.0,)
    temperature: tuple[float, ...] = (1.0,)
    order: int = 1
    project: float = 0.0
    sampler: str = "ancestral"

    def __post_init__(self) -> None:
        for name in ("alpha", "temperature"):
            if len(getattr(self, name)) not in (1, len(self.rows)):
                raise ValueError(f"--variants: {name}: give one number, or one for each of {len(self.rows)} steps.")
        if len(self.temperature) > 1 and self.temperature[0] != 1:
            raise ValueError("--variants: temperature: the last step (t = 1) draws no noise; its number is 1.")

    @classmethod
    def parse(cls, text: str, printed: tuple[float, ...] = (0.0,)) -> "Variant":
        """Read `key=value` words. `printed` are the scales that `alpha=printed` means.

        Raises ValueError for an unknown key or a value of another kind.
        """
        values: dict[str, Any] = {}
        kinds = {field.name: type(getattr(cls(), field.name)) for field in fields(cls)}
        for word in shlex.split(text):
            key, _, value = word.partition("=")
            if key not in kinds:
                raise ValueError(f"--variants: {word}: there is no {key!r}; use {', '.join(kinds)}.")
            for name, known in (("reference", REFERENCES), ("variance", VARIANCES)):
                if key == name and value not in known:
                    raise ValueError(f"--variants: {word}: use one of {', '.join(known)}.")
            if key == "alpha" and value == PRINTED:
                values[key] = printed
            elif kinds[key] is tuple:
                number = int if key == "rows" else float
                values[key] = tuple(number(part) for part in value.split(","))
            else:
                values[key] = kinds[key](value)
        return cls(**values)

    def at(self, name: str, step: int) -> float:
        """Return the number of a step (0-based, the last step taken first)."""
        numbers = getattr(self, name)
        return numbers[step] if len(numbers) > 1 else numbers[0]


FIFTEEN = "rows=0,4,8,13,17,21,25,30,34,38,42,46,51,55,59"
"""The plain sampler of 15 steps, whose lead over 4 steps the others are to close."""
_GUIDED = [f"alpha={a}" for a in ("0.05", "0.1", "0.3,0,0,0", "0,0.2,0,0", "0,0,0.2,0", "0,0,0.3,0", "-0.05")]
_PER_STEP = ("1,1.2,1,1", "1,1,1.2,1", "1,1,1,1.2", "1,1,0.8,1")
_EIGHT = "rows=0,8,17,25,34,42,51,59"
_UNSHARP = "alpha=0.3,0,0,0"
_LAST = "alpha=0.3" + 14 * ",0"
_MILD = ("1.02", "1.05")
_HOT = (" temperature=1.05", " temperature=1.1", " temperature=1.15")
_EARLY = "rows=0,5,20,59"
_QUADRATIC = ("0,7,26,59", "0,1,5,11,19,30,43,59", "0,1,2,3,5,8,11,15,19,24,30,36,43,51,59")
ABLATIONS = {
    "steps": ["rows=59", "rows=0,59", _EIGHT, FIFTEEN],
    "spacing": [_EIGHT, FIFTEEN, *(f"rows={rows}" for rows in _QUADRATIC)],
    "thinning": [f"rows={r}" for r in ("0,5,20,59", "0,10,30,59", "0,30,50,59", "5,20,39,59", "0,20,45,59")],
    "guidance": [*_GUIDED, "alpha=0,0.3,0,0", "alpha=0,0,0,0.3"],
    "reference": [f"alpha={a} reference={r}" for a in ("0.3,0,0,0", "0,0,0.3,0") for r in REFERENCES],
    "variance": [f"alpha={a} variance={v}" for a in ("0.1", "0.3") for v in VARIANCES],
    "temperature": [f"temperature={t}" for t in ("0", "0.7", "0.85", "1.05", "1.15", "1.2", "1.25", *_PER_STEP)],
    "projection": [f"project={s}" for s in ("0.1", "0.25", "0.5")]
    + [f"{words} project=1".strip() for words in ("", *_GUIDED)],
    "bands": [f"alpha=0.1 bands={b}" for b in ("1,0", "0,1,0", "0,0,1", "1,0.5,0")]
    + [f"alpha=0,0,0.3,0 bands={b}" for b in ("1,0", "0,1,0", "1,1,0")],
    "solver": ["sampler=flow", "sampler=flow order=2", "order=2"],
    "together": [
        "temperature=1.15 project=1",
        "temperature=1.1 alpha=0,0,0.2,0 project=1",
        f"{_EARLY} temperature=1.15 project=1",
        "temperature=0 alpha=0.05",
        "temperature=0 alpha=0.1",
        "temperature=0.5 alpha=0.1",
        "rows=59 alpha=0.1",
        "rows=0,59 alpha=0.1",
        "alpha=0.1 project=0.25",
    ],
    "unsharp": [
        *(f"{rows}{_UNSHARP}{t}" for rows in ("", f"{_EARLY} ") for t in ("", *_HOT)),
        f"{_UNSHARP} temperature=1.1 project=1",
        "temperature=1.15 project=1",
    ],
    "fifteen": [
        f"{FIFTEEN} {words}"
        for words in ("alpha=0.05", "alpha=0.1", _LAST, "temperature=0", *(f"temperature={t} project=1" for t in _MILD))
    ],
    "winners": [
        "rows=59",
        FIFTEEN,
        f"alpha={PRINTED}",
        "alpha=0.1",
        "alpha=-0.05",
        _UNSHARP,
        "alpha=0,0,0.3,0",
        "alpha=0,0,0.3,0 reference=first",
        "sampler=flow",
        _EARLY,
        "temperature=1.15",
        "temperature=1.15 project=1",
        f"{_EARLY} temperature=1.15 project=1",
        "temperature=0",
        "temperature=0 alpha=0.05",
        "temperature=0 alpha=0.1",
        "project=0.1",
        "project=1",
    ],
}
"""The tables of variants; the plain sampler comes first in each."""


def variants_of(ablations: Sequence[str]) -> list[str]:
    """List the plain sampler, that of 15 steps, and the variants of some tables, each once."""
    return list(dict.fromkeys(["", FIFTEEN, *(text for name in ablations for text in ABLATIONS[name])]))

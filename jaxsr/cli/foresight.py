"""What long commands say before they begin and after they have ended: the time, and the peak of memory."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from jaxsr.cli.exits import say

if TYPE_CHECKING:
    from jaxsr.diffusion import Schedule
    from jaxsr.models.model import Model, Params


def announcer(params: "Params", side: int, devices: int) -> "Callable[[int, Model, Schedule], None]":
    """Return a function that says how long some calls of a network will take, by a measured call.

    Args:
        params: the weights of the model.
        side: side of the LR crops.
        devices: devices that share the calls.
    """

    def announce(calls: int, model: "Model", schedule: "Schedule") -> None:
        from jaxsr.models.timing import seconds_per_call

        if not calls:
            return
        seconds = seconds_per_call(model, params, schedule, side)
        total = spell_time(calls * seconds / devices)
        shared = f", shared by {devices} devices" if devices > 1 else ""
        say(
            f"about {total} ahead: {calls} network calls of {1000 * seconds:.3g} ms{shared}; compilation and "
            "scores come on top",
            wrong=True,
        )

    return announce


@contextmanager
def say_costs() -> Iterator[None]:
    """Say at the end of the work how long it took, and how much memory at most."""
    began = time.monotonic()
    yield
    from jaxsr.runtime.memory import peak_memory

    say(f"took {spell_time(time.monotonic() - began)}; {peak_memory()}", wrong=True)


def spell_time(seconds: float) -> str:
    """Spell a time with two digits, such as 4.2 s, 35 s, 12 min or 3.5 h."""
    if seconds < 100:
        return f"{seconds:.2g} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.2g} h"

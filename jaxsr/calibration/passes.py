"""One pass of a calibration over all pairs, batch by batch over all devices. The journal resumes a stopped pass."""

from collections.abc import Callable, Iterator, Sequence
from time import perf_counter

import jax
import numpy as np
from jaxtyping import UInt8

from jaxsr.calibration.journal import Journal
from jaxsr.calibration.plan import CalibrationRun
from jaxsr.data.pairs import PairSet
from jaxsr.data.prefetch import prefetch
from jaxsr.errors import NotFiniteError
from jaxsr.runtime.devices import own_share
from jaxsr.runtime.progress import PassState

Values = dict[str, np.ndarray]
Call = Callable[[np.ndarray, np.ndarray], Values]
"""(LR crops, HR crops) of one batch -> {name: (rows, b)}."""
OPEN = ("open loop", "open loop against HR")
CLOSED = "closed loop"
"""The names of the passes, in the journal and in the lines of progress. Rounds of a search have other names."""


def go_through(run: CalibrationRun, journal: Journal, name: str, call: Call, work: tuple[int, str]) -> None:
    """Make the rows of a pass that the journal lacks, batch by batch over all devices. The next pairs load meanwhile.

    `work` is the amount that one pair adds to the work in the reported rate, and the unit of that work.
    """
    todo = sorted(set(range(len(run.pairs))) - journal.done(name))
    size = run.batch * jax.device_count()
    groups = [todo[start : start + size] for start in range(0, len(todo), size)]
    began, made = perf_counter(), 0
    for group, (lr, hr) in zip(groups, prefetch(_read(run.pairs, groups, size)), strict=True):
        values = call(lr, hr)
        check_finite(name, values, [run.pairs.name(i) for i in group])
        rows = {i: {key: value[:, at].tolist() for key, value in values.items()} for at, i in enumerate(group)}
        journal.append(name, rows)
        made += len(group)
        rate = made * work[0] / (perf_counter() - began)
        done, left = len(run.pairs) - len(todo) + made, (len(todo) - made) * work[0] / rate
        run.progress(PassState(name, done, len(run.pairs), rate, work[1], left))


def _read(
    pairs: PairSet, groups: Sequence[Sequence[int]], size: int
) -> Iterator[tuple[UInt8[np.ndarray, "b p p 3"], UInt8[np.ndarray, "b s s 3"]]]:
    """Yield this process's (LR crops, HR crops) of every group. Copies of a group's last pair fill it up to `size`."""
    for group in groups:
        full = [*group, *[group[-1]] * (size - len(group))]
        lr, hr = zip(*(pairs[i] for i in own_share(full)), strict=True)
        yield np.stack(lr), np.stack(hr)


def check_finite(pass_name: str, values: Values, names: Sequence[str]) -> None:
    """Raise NotFiniteError for numbers that are not finite.

    In the closed loop only the plain sampler is checked, because a candidate may diverge. A round of a search has no
    plain sampler.
    """
    if pass_name not in (*OPEN, CLOSED):
        return
    for at, name in enumerate(names):
        rows = {key: value[:, at] if pass_name in OPEN else value[:1, at] for key, value in values.items()}
        bad = [key for key, numbers in rows.items() if not np.isfinite(numbers).all()]
        if bad and (pass_name in OPEN or len(bad) == len(rows)):
            raise NotFiniteError(
                f"{name}: the network returned numbers that are not finite; check the model's weights, or give "
                "--precision fp32."
            )
        if bad:
            raise NotFiniteError(f"{name}: {bad[0]} is not finite for this image; leave out the image, or the metric.")

"""How often a calibration will call the network, for an estimate of its time before it begins."""

import numpy as np

from jaxsr.calibration.candidates import even_chunks, expand
from jaxsr.calibration.journal import Journal
from jaxsr.calibration.passes import CLOSED, OPEN
from jaxsr.calibration.plan import CalibrationRun, make_chain
from jaxsr.calibration.sweep import Chain
from jaxsr.models.timing import sampler_calls

BACKWARD = 2
"""Calls of the network that one backward pass through it costs."""


def calls_left(run: CalibrationRun, journal: Journal) -> int:
    """Count the calls of the network for single images that are left, without those of a search."""
    chain = make_chain(run.upscaler, run.pairs, run.choices)
    left = {name: len(run.pairs) - len(journal.done(name)) for name in (*OPEN, CLOSED)}
    total = sum(left[name] for name in OPEN) * open_calls(chain, run.choices.forward_ode)
    if run.choices.metrics:
        steps = chain.schedule.steps
        found = expand(run.choices.candidates, run.choices.profiles, np.ones(steps), run.choices.temperatures)
        rows, chunk = even_chunks(found, run.candidate_batch)
        total += left[CLOSED] * closed_calls(chain, len(rows.scale), chunk)
    return total


def open_calls(chain: Chain, forward_ode: str) -> int:
    """Count the calls of one pass of the open loop over a pair: a chain, and a step from every state of two paths."""
    steps, own = chain.schedule.steps, sampler_calls(chain.sampler, chain.schedule.steps)
    through = own * (1 + BACKWARD) if chain.form.through == "state" else 0
    return 2 * own + through + (steps - 1 if forward_ode == "inversion" else 0)


def closed_calls(chain: Chain, rows: int, chunk: int) -> int:
    """Count the calls of the closed loop over a pair: all rows share the first call, or those of a chunk do."""
    own = sampler_calls(chain.sampler, chain.schedule.steps)
    if chain.form.through == "state":
        return rows * (own - 1) * (1 + BACKWARD) + rows // chunk * (1 + BACKWARD)
    return rows * (own - 1) + 1

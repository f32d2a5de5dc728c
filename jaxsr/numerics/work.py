"""How often the instruments of a study call the network, for an estimate of its time before it begins."""

from jaxsr.diffusion import SAMPLERS
from jaxsr.models.timing import sampler_calls
from jaxsr.numerics.instruments import Setup
from jaxsr.numerics.regression import GRADIENTS
from jaxsr.numerics.trajectories import REFERENCE_KINDS

BACKWARD = 2
"""Calls of the network that one backward pass through it costs."""


def instrument_calls(setup: Setup, name: str, backward: int = BACKWARD) -> int:
    """Count the calls of the network that an instrument makes for one pair of images."""
    steps, own = len(setup.rows), sampler_calls(setup.sampler, len(setup.rows))
    if name == "errors":
        return own + 2 * steps
    if name == "trajectories":
        return len(REFERENCE_KINDS) * own + steps - 1  # of the inversion
    if name == "dispersion":
        points = [sampler_calls(setup.sampler, schedule.steps) for schedule in setup.compared]
        return setup.draws * (sum(points) + len(setup.scales) * own)
    return own + _truncation_calls(setup, backward)


def _truncation_calls(setup: Setup, backward: int) -> int:
    """Count the calls of the references, of every sampler's steps, of their gradients, and of the order study."""
    steps, fine = len(setup.rows), int(setup.rows[-1]) + 1
    references = sampler_calls("heun", fine) + fine + 2 * sum(setup.spans)
    pulled = sum(one.form.through == "state" for one in GRADIENTS)
    per_step = 2 + backward * pulled
    own = sum(sampler_calls(sampler, steps) for sampler in SAMPLERS)
    order = sum(len(setup.spans) * (2 if sampler == "heun" else 1) for sampler in SAMPLERS)
    return references + per_step * own + order

"""Test the estimate of a study's work against the calls that the network really gets, and the measured call."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxsr.models.timing import seconds_per_call
from jaxsr.numerics.instruments import INSTRUMENTS
from jaxsr.numerics.work import instrument_calls
from tests.numerics.test_instruments import WORLD, WorldModel, setup_for
from tests.small_model import small_preset

COUNT = [0]


def add_one(_: object) -> None:
    COUNT[0] += 1


class CountedWorld(WorldModel):
    """A world that counts the calls of its network when they run."""

    def denoiser(self, params, schedule, z_lr, lq, mask=None):
        exact = WORLD.denoiser(schedule)

        def counted(x, step):
            jax.debug.callback(add_one, x[0, 0, 0, 0])
            return exact(x, step)

        return counted


@pytest.mark.parametrize("sampler", ["ancestral", "heun"])
@pytest.mark.parametrize("name", INSTRUMENTS)
def test_an_instrument_makes_as_many_calls_as_foreseen(name, sampler):
    setup = replace(setup_for(4), model=CountedWorld(small_preset()), sampler=sampler)
    measure = INSTRUMENTS[name](setup)
    lr, hr = (np.full((1, side, side, 3), 0.5, np.float32) for side in (10, 40))
    COUNT[0] = 0
    measure({}, lr, hr, jax.random.key(0))
    jax.effects_barrier()
    assert COUNT[0] == instrument_calls(setup, name, backward=0)
    assert instrument_calls(setup, name) >= COUNT[0]


def test_a_call_is_measured(small_upscalers):
    upscaler = small_upscalers["channel"]
    from jaxsr.models.model import Model

    model, schedule = Model(upscaler.preset), upscaler.preset.schedule.build()
    small = seconds_per_call(model, upscaler.weights("fp32"), schedule, 16)
    assert 0 < small < 10
    assert jnp.isfinite(small)

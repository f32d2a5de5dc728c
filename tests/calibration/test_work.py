"""Test the estimate of a calibration's work against the calls that the network really gets."""

from unittest.mock import MagicMock

import jax
import pytest

from jaxsr.calibration import work
from jaxsr.calibration.journal import Journal
from jaxsr.calibration.passes import CLOSED, OPEN
from jaxsr.calibration.plan import CalibrationRun, Choices
from jaxsr.calibration.scores import keep_images
from jaxsr.calibration.sweep import Chain, image_keys, open_function, plain_rows, sweep_function
from jaxsr.calibration.work import calls_left, closed_calls, open_calls
from jaxsr.choices import GradientForm
from jaxsr.data.pairs import PairSet
from tests.calibration.fake import CALLS, Counted, fake_upscaler
from tests.calibration.test_sweep import PARAMS, SCALES, SCHEDULE, crops
from tests.models.tiny import compiled
from tests.small_model import small_preset


@pytest.mark.parametrize(("sampler", "through"), [("ancestral", "mean"), ("heun", "mean"), ("ancestral", "state")])
def test_the_closed_loop_makes_as_many_calls_as_foreseen(sampler, through, monkeypatch):
    monkeypatch.setattr(work, "BACKWARD", 0)  # the counter sees calls forward
    lr, hr = crops()
    chain = Chain(Counted(small_preset()), SCHEDULE, sampler, GradientForm(through=through))
    sweep = compiled(sweep_function(chain, keep_images, 2))
    CALLS.clear()
    sweep(PARAMS, image_keys(0, lr), lr, hr, plain_rows(SCALES))
    jax.effects_barrier()
    assert CALLS["network"] == len(lr) * closed_calls(chain, len(SCALES), 2)


@pytest.mark.parametrize(
    ("sampler", "forward_ode", "through"),
    [("ancestral", "diffusion", "mean"), ("heun", "inversion", "mean"), ("ancestral", "diffusion", "state")],
)
def test_the_open_loop_makes_as_many_calls_as_foreseen(sampler, forward_ode, through, monkeypatch):
    monkeypatch.setattr(work, "BACKWARD", 0)
    lr, hr = crops()
    chain = Chain(Counted(small_preset()), SCHEDULE, sampler, GradientForm(through=through))
    function = compiled(open_function(chain, forward_ode))
    CALLS.clear()
    function(PARAMS, image_keys(0, lr), lr, hr)
    jax.effects_barrier()
    assert CALLS["network"] == len(lr) * open_calls(chain, forward_ode)


def test_what_a_stopped_run_has_done_is_not_left(monkeypatch):
    chain = Chain(Counted(small_preset()), SCHEDULE)
    monkeypatch.setattr(work, "make_chain", lambda *_: chain)
    choices = Choices(candidates=(0.1, 0.2), metrics=("psnr", "swd"))
    pairs, journal = MagicMock(spec=PairSet), MagicMock(spec=Journal)
    pairs.__len__.return_value = 5
    run = CalibrationRun(upscaler=fake_upscaler(), name="fake", pairs=pairs, choices=choices)
    done: dict[str, set[int]] = {}
    journal.done.side_effect = lambda name: done.get(name, set())
    each_open, each_closed = open_calls(chain, "diffusion"), closed_calls(chain, 4, 4)  # plain, two, open loop
    assert calls_left(run, journal) == 5 * (2 * each_open + each_closed)
    done |= {OPEN[0]: {0, 1, 2, 3, 4}, CLOSED: {1}}
    assert calls_left(run, journal) == 5 * each_open + 4 * each_closed

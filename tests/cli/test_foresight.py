"""Test what long commands say about their time and memory."""

import re

import pytest

from jaxsr.cli.foresight import announcer, say_costs, spell_time
from jaxsr.models import timing
from jaxsr.models.model import Model
from jaxsr.runtime import memory
from jaxsr.runtime.memory import peak_memory
from tests.small_model import small_preset


@pytest.mark.parametrize(
    ("seconds", "spelt"), [(0.123, "0.12 s"), (35.4, "35 s"), (99.4, "99 s"), (600, "10 min"), (12600, "3.5 h")]
)
def test_times_have_two_digits(seconds, spelt):
    assert spell_time(float(seconds)) == spelt


def test_the_work_is_announced_by_a_measured_call(monkeypatch, capsys):
    monkeypatch.setattr(timing, "seconds_per_call", lambda *_: 0.25)
    preset = small_preset()
    model, schedule = Model(preset), preset.schedule.build()
    for devices, calls in ((1, 120), (4, 120), (4, 0)):
        announcer({}, 16, devices)(calls, model, schedule)
    first, second = capsys.readouterr().err.splitlines()
    assert first.startswith("about 30 s ahead: 120 network calls of 250 ms; compilation")
    assert second.startswith("about 7.5 s ahead: 120 network calls of 250 ms, shared by 4 devices; compilation")


def test_the_end_tells_time_and_memory(capsys):
    with say_costs():
        pass
    assert re.fullmatch(r"took [\d.e-]+ s; peak memory: [\d.]+ GB\n", capsys.readouterr().err)
    with pytest.raises(ValueError, match="x"), say_costs():
        raise ValueError("x")
    assert capsys.readouterr().err == ""


def test_the_peak_is_that_of_this_process_and_of_devices_that_say_it(monkeypatch):
    monkeypatch.setattr(memory, "_peak_bytes", lambda: 1_500_000_000)
    assert peak_memory() == "peak memory: 1.5 GB"

    class Device:
        platform = "gpu"

        def memory_stats(self):
            return {"peak_bytes_in_use": 2_000_000_000}

    monkeypatch.setattr(memory.jax, "local_devices", lambda: [Device()])
    assert peak_memory() == "peak memory: 1.5 GB, 2 GB on a device"
    monkeypatch.setattr(memory, "_peak_bytes", lambda: None)
    assert peak_memory() == "peak memory: 2 GB on a device"

"""Test the scaling model against a simulated schedule, and test its counts and its command."""

import json
from dataclasses import asdict, replace

import pytest

from benchmarks import scaling_model
from benchmarks.scaling_model import Costs, Sweep, counted, device_work, efficiency, exchanged_bytes, sweep_seconds
from jaxsr.calibration.candidates import Candidate, even_chunks

COSTS = Costs(encode=0.3, first=0.2, network=0.1, decode=0.4, read=0.05, key=0.01, number=0.003, start=7, exchange=0.02)
SWEEPS = [
    Sweep(images=images, devices=devices, devices_per_host=4, batch=batch, candidates=candidates, candidate_batch=4)
    for images in (1, 9, 16, 40)
    for devices in (1, 4, 8, 12)
    for batch in (1, 3)
    for candidates in (1, 5, 8)
]


def played(sweep: Sweep, costs: Costs) -> float:
    """Return the time at which the last round ends.

    One reader works ahead of the devices; images and candidates are counted one by one.
    """
    left, reader, now = sweep.images, costs.start, costs.start
    while left:
        on_host = min(sweep.devices, sweep.devices_per_host) * sweep.batch
        reader += sum(costs.read for _ in range(on_host))
        now = max(now, reader)
        for _ in range(sweep.batch):  # all devices at once
            now += costs.encode + costs.first
            scales, _ = even_chunks([Candidate("constant", 0.0, (0.0,))] * sweep.candidates, sweep.candidate_batch)
            for _ in scales.scale:
                now += sum(costs.network for _ in range(1, sweep.steps)) + costs.decode
        now += costs.exchange + on_host * costs.key
        made = min(left, sweep.devices * sweep.batch)
        now += made * sweep.candidates * sweep.metrics * costs.number
        left -= made
    return now


@pytest.mark.parametrize("read", [0.0, 0.05, 20.0])
def test_the_formula_is_the_schedule_played_through(read):
    costs = replace(COSTS, read=read)
    for sweep in SWEEPS:
        assert sweep_seconds(sweep, costs) == pytest.approx(played(sweep, costs), rel=1e-12), sweep


def test_free_hosts_and_no_start_leave_the_counted_efficiency():
    costs = Costs(encode=1, first=1, network=1, decode=1)
    for sweep in SWEEPS:
        one = replace(sweep, devices=1)
        assert efficiency(sweep, costs) == pytest.approx(sweep.filling / one.filling)
    assert Sweep(devices=512, batch=8).filling == pytest.approx(10_000 / 12_288)


@pytest.mark.parametrize("name", list(asdict(COSTS)))
def test_every_cost_takes_time(name):
    sweep = Sweep(images=9, devices=8, devices_per_host=4, candidates=5)
    assert sweep_seconds(sweep, replace(COSTS, **{name: 100.0})) > sweep_seconds(sweep, COSTS)


def test_counts_of_one_round():
    sweep = Sweep(images=6, devices=4, devices_per_host=2, batch=2, candidates=5, candidate_batch=3, metrics=2)
    assert (sweep.rounds, sweep.slots, sweep.local_devices) == (1, 6, 2)
    gflop = {"encode": 1.0, "network": 10.0, "decode": 100.0}
    work = 2 * (1 + 10 + 6 * (3 * 10 + 100))
    assert device_work(sweep, 1, 10, 10, 100) == work
    assert counted(sweep, gflop)["PFLOP per device"] == pytest.approx(work / 1e6)
    assert exchanged_bytes(sweep) == 8 * 6 * 2 * 4


@pytest.mark.slow
def test_the_released_models_operations_are_those_that_xla_counts():
    import jax
    import jax.numpy as jnp

    from jaxsr.models.model import Model
    from jaxsr.models.presets import PRESETS
    from jaxsr.options import Options
    from jaxsr.upscaling.plan import schedule_for

    preset = PRESETS["realsr_s4_v3"]
    model, schedule = Model(preset), schedule_for(preset, Options())
    params = {name: jax.ShapeDtypeStruct(shape, jnp.float32) for name, shape in model.shapes().items()}
    assert sum(leaf.size for leaf in params.values()) == scaling_model.RELEASED_PARAMETERS
    lr = jax.ShapeDtypeStruct((1, 64, 64, 3), jnp.float32)
    z = jax.eval_shape(model.encode_lr, params, lr)

    def network(params, x, z_lr, lr):
        return model.denoiser(params, schedule, z_lr, lr)(x, jnp.int32(1))

    calls = {"encode": (model.encode_lr, (params, lr)), "network": (network, (params, z, z, lr))}
    calls["decode"] = (model.decode, (params, z))
    # Our decoder takes fewer operations than the plain layers, see `enlarge_and_convolve`.
    expected = scaling_model.RELEASED_GFLOP | {"decode": scaling_model.RELEASED_GFLOP["decode"] - 86}
    for name, (function, shapes) in calls.items():
        found = jax.jit(function).lower(*shapes).cost_analysis()["flops"] / 1e9
        assert found == pytest.approx(expected[name], rel=0.03), name


def write_costs(path):
    content = {"costs": asdict(COSTS), "settings": {"batch": 2, "candidate_batch": 3, "model": "m"}}
    path.write_text(json.dumps(content))
    return str(path)


def test_the_command_writes_what_the_functions_say(tmp_path, capsys):
    costs, output = write_costs(tmp_path / "costs.json"), tmp_path / "out" / "rows.json"
    assert scaling_model.main(["--costs", costs, "--devices", "4", "16", "--images", "99", "-o", str(output)]) == 0
    found = json.loads(output.read_text())
    sweeps = [Sweep(images=99, devices=count, batch=2, candidate_batch=3) for count in (4, 16)]
    assert [row["hours"] for row in found["rows"]] == [sweep_seconds(sweep, COSTS) / 3600 for sweep in sweeps]
    assert [row["efficiency"] for row in found["rows"]] == [efficiency(sweep, COSTS) for sweep in sweeps]
    assert "| 16 |" in capsys.readouterr().out
    assert scaling_model.main(["--devices", "512", "--batch", "8"]) == 0
    assert "| 512 | 3 | 0.8138 |" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--costs", "{costs}", "--batch", "1"], "--batch: the costs were measured at 2"),
        (["--costs", "{broken}"], "is not a result of benchmarks.bench_costs"),
        (["--costs", "{missing}"], "missing"),
        (["--images", "0"], "--images: must be at least 1"),
        (["--devices", "8", "0"], "--devices: must be at least 1"),
    ],
)
def test_what_cannot_be_is_one_sentence(tmp_path, capsys, words, message):
    (tmp_path / "broken").write_text("[]")
    names = {"costs": write_costs(tmp_path / "costs"), "broken": tmp_path / "broken", "missing": tmp_path / "missing"}
    assert scaling_model.main([word.format(**names) for word in words]) == 1
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1

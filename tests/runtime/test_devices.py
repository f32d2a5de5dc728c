"""Test that many devices and many processes give the numbers of one, through the whole command.

The devices are forced host devices, and the processes connect over loopback.
"""

import socket

import jax
import numpy as np
import pytest

from jaxsr.calibration import plots
from jaxsr.calibration.scores import keep_images
from jaxsr.calibration.sweep import Chain, image_keys, open_function, plain_rows, sweep_function
from jaxsr.choices import GradientForm
from jaxsr.cli import calibrate
from jaxsr.diffusion import thin
from jaxsr.guidance.calibration_file import Calibration
from jaxsr.models.model import Model
from jaxsr.runtime import devices
from tests.calibration.fake import assert_same_numbers, compile_once, install, quick, start, write_photos
from tests.models.tiny import compiled, random_values
from tests.small_model import small_preset

CLOSED = ("--candidates", "0.1,0.3", "--profile", "constant,open-loop", "--closed-loop", "psnr,swd")
CROPS = ("--crop", 16, "--crops", 4)


@pytest.mark.slow
def test_eight_devices_and_two_processes_give_the_numbers_of_one(tmp_path, monkeypatch):
    photos = write_photos(tmp_path / "hr")  # 12 pairs: in the second round, only some of the 8 devices get one

    def arguments(name: str, *more: object) -> list[str]:
        return [str(word) for word in ("--pairs", photos, "-o", tmp_path / name, *CLOSED, *CROPS, *more)]

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    forced = "--xla_force_host_platform_device_count"
    hosts = ("--coordinator", address, "--num-processes", 2, "--process-id")
    processes = [start(0, arguments("eight.json"), XLA_FLAGS=f"{forced}=8")]
    processes += [start(0, arguments("two.json", *hosts, i, "--batch", 2), XLA_FLAGS=f"{forced}=1") for i in range(2)]
    install(monkeypatch)
    compile_once(monkeypatch)
    monkeypatch.setattr(plots, "write_plots", lambda *args: [])
    assert calibrate.main(arguments("one.json")) == 0
    for process in processes:
        assert process.wait(timeout=300) == 0, process.communicate()[1]
        process.communicate()
    one = Calibration.read(tmp_path / "one.json")
    for name in ("eight.json", "two.json"):
        found = Calibration.read(tmp_path / name)
        assert found.presets.keys() == one.presets.keys()
        assert_same_numbers(found, one)
    assert not list(tmp_path.glob("*.part"))


def test_a_share_is_a_part_of_every_batch(monkeypatch):
    monkeypatch.setattr(jax, "process_count", lambda: 3)
    shares = []
    for i in range(3):
        monkeypatch.setattr(jax, "process_index", lambda i=i: i)
        shares.append(devices.own_share([5, 6, 7, 8, 9, 9]))
    assert shares == [[5, 6], [7, 8], [9, 9]]


@pytest.mark.parametrize("common", [0, 1])
def test_arrays_after_the_images_are_common_to_all(common):
    def total(params, *arrays):
        return {"sum": sum(arrays)[None] + params["a"]}

    call = devices.over_images(devices.image_mesh(), total, common=common)
    found = call({"a": np.float32(1)}, np.ones(3, np.float32), np.ones(3, np.float32))
    assert found["sum"].tolist() == [[3, 3, 3]]


@pytest.mark.slow
@pytest.mark.parametrize("loop", ["open", "closed"])
def test_guidance_through_the_state_of_a_network_is_what_it_is_without_shard_map(loop, monkeypatch):
    """The program contains the gradient of a real network, for which `shard_map` is stricter than for the values."""
    quick(monkeypatch)
    preset, rng = small_preset(num_res_blocks=(0,)), np.random.default_rng(0)
    model, count = Model(preset), jax.device_count()
    lr, hr = (rng.integers(0, 256, (count, side, side, 3), dtype=np.uint8) for side in (16, 64))
    chain = Chain(model, thin(preset.schedule.build(), 2), form=GradientForm(through="state"))
    function, scales = open_function(chain, "diffusion"), ()
    if loop == "closed":
        function, scales = sweep_function(chain, keep_images, 2), (plain_rows(np.array([[0, 0], [0.3, 0.1]])),)
    arguments = random_values(model.shapes()), image_keys(0, lr), lr, hr, *scales
    found = devices.over_images(devices.image_mesh(), function, common=len(scales))(*arguments)
    for name, exact in compiled(function)(*arguments).items():
        np.testing.assert_allclose(found[name], exact, rtol=1e-4, atol=1e-4 * float(np.abs(exact).max()))

"""Many devices and many processes give the numbers of one, through the whole command; forced host devices, loopback."""

import socket

import jax
import numpy as np
import pytest

from jaxsr import calibrate
from jaxsr.calibration import devices, plots
from jaxsr.calibration.result import Calibration
from tests.calibration.fake import assert_same_numbers, compile_once, install, start, write_photos

CLOSED = ("--candidates", "0.1,0.3", "--profile", "constant,open-loop", "--closed-loop", "psnr,swd")
CROPS = ("--crop", 16, "--crops", 4)


def test_eight_devices_and_two_processes_give_the_numbers_of_one(tmp_path, monkeypatch):
    photos = write_photos(tmp_path / "hr")  # 12 pairs: 8 devices get one each and then not all of them

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

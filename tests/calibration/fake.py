"""Provide a fake model with the small preset and a one-line network, so that everything compiles quickly."""

import subprocess
import sys
from collections import Counter
from dataclasses import replace
from functools import cache
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from PIL import Image

from jaxsr.calibration import closed_loop, plan, run
from jaxsr.calibration.scores import make_score
from jaxsr.calibration.sweep import Chain, open_function, sweep_function
from jaxsr.diffusion import Schedule
from jaxsr.guidance.calibration_file import Calibration
from jaxsr.metrics import texture
from jaxsr.models.model import Model
from jaxsr.runtime import devices
from jaxsr.upscaling import loading
from jaxsr.upscaling import upscaler as upscaler_module
from jaxsr.upscaling.upscaler import Upscaler
from tests.small_model import small_preset

ROOT = Path(__file__).parents[2]
CALLS: Counter[str] = Counter()
"""Images that really went through `encode_lr` and `predict`, where counting is on."""


class Smooth(Model):
    """A model that predicts z_lr plus a smooth bend of the noisy latent.

    The prediction differs from step to step and from pixel to pixel.
    """

    def predict(self, params, x_t, input_scale, timesteps, z_lr, lq, mask=None):
        time = timesteps.astype(jnp.float32)[:, None, None, None]
        bent = jnp.tanh(params["gain"] * jnp.roll(x_t, 1, axis=2) * jnp.reshape(input_scale, (-1, 1, 1, 1)))
        return z_lr + 0.2 * bent / (1 + time)


class Counted(Smooth):
    """A model that counts the images of every call when the call runs, also inside jit, vmap and scan."""

    def predict(self, params, x_t, *args, **kwargs):
        jax.debug.callback(lambda _: CALLS.update(network=x_t.shape[0]), x_t[0, 0, 0, 0])
        return super().predict(params, x_t, *args, **kwargs)

    def encode_lr(self, params, lr):
        jax.debug.callback(lambda _: CALLS.update(encoder=lr.shape[0]), lr[0, 0, 0, 0])
        return super().encode_lr(params, lr)


def fake_upscaler(gain: float = 1.0, steps: int = 3) -> Upscaler:
    preset = replace(small_preset(), steps=steps)
    return Upscaler(preset, {"gain": jnp.float32(gain)}, Path("smooth"), f"{gain}".ljust(64, "0"))


def install(monkeypatch=None, gain: float = 1.0, model: type[Model] = Smooth) -> None:
    """Make the command load and run the fake model.

    Without `monkeypatch` the change is permanent; use that in a process of its own.
    """
    put = monkeypatch.setattr if monkeypatch else setattr
    put(plan, "Model", model)
    put(upscaler_module, "Model", model)
    put(loading, "load", lambda name, **options: fake_upscaler(gain))


@cache
def _score(metrics: tuple[str, ...], scale: int):
    return make_score(metrics, scale)


@cache
def _program(make, model, words, schedule, rest, common):
    """Return one compiled function for all runs that differ only in their data."""
    eta, kappa, times, scaling = schedule
    rebuilt = Schedule(np.frombuffer(eta), kappa, np.frombuffer(times, np.int64), scaling)
    return devices.over_images(devices.image_mesh(), make(Chain(model, rebuilt, **dict(words)), *rest), common=common)


def quick(monkeypatch=None) -> None:
    """Make compilation fast, and measure SWD on few patches."""
    put = monkeypatch.setattr if monkeypatch else setattr
    put(texture, "PATCHES", 64)
    put(texture, "PROJECTIONS", 8)
    put(devices, "compiler_options", lambda *_: {"xla_backend_optimization_level": 0})


def compile_once(monkeypatch) -> None:
    """Share compiled functions between tests."""

    def keyed(make):
        def later(chain: Chain, *rest):
            s = chain.schedule
            words = {name: getattr(chain, name) for name in ("sampler", "form")}
            schedule = (s.eta.tobytes(), s.kappa, s.timestep_map.astype(np.int64).tobytes(), s.input_scaling)
            return make, chain.model, tuple(words.items()), schedule, rest

        return later

    quick(monkeypatch)
    once = lambda mesh, key, common=0, dtype=None: _program(*key, common)  # noqa: E731
    monkeypatch.setattr(run, "open_function", keyed(open_function))
    monkeypatch.setattr(run, "over_images", once)
    monkeypatch.setattr(closed_loop, "make_score", _score)
    monkeypatch.setattr(closed_loop, "sweep_function", keyed(sweep_function))
    monkeypatch.setattr(closed_loop, "over_images", once)


def write_photos(folder: Path, count: int = 3, size: tuple[int, int] = (140, 132), seed: int = 0) -> Path:
    """Write smooth random photographs, so that an LR image resembles its HR image; return the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    for i in range(count):
        coarse = rng.integers(0, 256, (size[1] // 8, size[0] // 8, 3), dtype=np.uint8)
        smooth = np.asarray(Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC), np.int16)
        noisy = np.clip(smooth + rng.integers(-6, 7, smooth.shape), 0, 255).astype(np.uint8)
        Image.fromarray(noisy).save(folder / f"{i}.png")
    return folder


def start(seconds: float, arguments: list[str], **environment: str) -> subprocess.Popen:
    """Start the command in a process of its own, `seconds` slower per row: see `tests.calibration.command`."""
    command = [sys.executable, "-m", "tests.calibration.command", str(seconds), *arguments]
    variables = {"PATH": "", "PYTHONPATH": str(ROOT)} | environment
    return subprocess.Popen(command, cwd=ROOT, env=variables, stderr=subprocess.PIPE, text=True)


def assert_same_numbers(one: Calibration, other: Calibration) -> None:
    """Assert that two calibrations have equal numbers to 1e-5, in the open loop and in the closed loop."""
    np.testing.assert_allclose(one.open_loop["losses"], other.open_loop["losses"], rtol=1e-5, atol=1e-5)
    for reading in ("norm", "step-norm"):
        for name, numbers in one.open_loop[reading].items():
            np.testing.assert_allclose(numbers, other.open_loop[reading][name], rtol=1e-5)
    assert one.closed_loop
    assert other.closed_loop
    for row, same in zip(one.closed_loop["rows"], other.closed_loop["rows"], strict=True):
        np.testing.assert_allclose(row["scale"], same["scale"], rtol=1e-5)
        np.testing.assert_allclose([row["psnr"], row["swd"]], [same["psnr"], same["swd"]], rtol=1e-5)

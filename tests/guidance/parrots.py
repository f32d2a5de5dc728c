"""Provide a part of a photograph, its LR image, and its guided enlargement as float."""

from pathlib import Path

import numpy as np
from PIL import Image

from jaxsr.guidance.guide import Guide
from jaxsr.imaging.resize import downsample_bicubic_uint8
from jaxsr.options import Options
from jaxsr.upscaling.upscaler import Upscaler

with Image.open(Path(__file__).parents[2] / "examples/parrots.png") as photo:
    HR = np.asarray(photo.convert("RGB"))[:128, :160]
LR = downsample_bicubic_uint8(HR, 4)  # 32 x 40
RGB = LR / np.float32(255)
TILES = {"tile": 16, "seed": 1}
LEFT = (0, 0, 20, 32)


def floats(upscaler: Upscaler, guide: Guide, **options) -> np.ndarray:
    out = np.empty((128, 160, 3), np.float32)
    upscaler.enlarge(RGB, out, Options(**{"tile": 16} | options), guide=guide, seed=1)
    return out

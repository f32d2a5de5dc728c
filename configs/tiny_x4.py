"""A small Swin-UNet on pixels, x4, bicubic LR: the preset of the bundled model, from nothing, in one run.

    python -m jaxsr.train --config configs/tiny_x4.py --data PHOTOGRAPHS -o runs/tiny_x4

The bundled weights were trained in four parts, with other settings tried in between: configs/tiny_x4/part1.py to
part4.py, each from what the one before it had learnt; 12,350 updates lead to the weights. What they reached, and how it
is measured: jaxsr/assets/tiny-x4/README.md. No result of this run is recorded.
"""

from jaxsr.models.presets import PRESETS
from jaxsr.training.config import TrainConfig

config = TrainConfig(
    preset=PRESETS["tiny_x4"],
    data="../shared/data/train",
    hr_size=96,
    batch_size=16,
    steps=12_000,
    learning_rate=1e-3,
    warmup=200,
    checkpoint_every=250,
    sample_every=1000,
)

"""The preset of the bundled model, trained from scratch in one run: a small Swin-UNet on pixels, x4, bicubic LR.

    python -m jaxsr.train --config configs/tiny_x4.py --data PHOTOGRAPHS -o runs/tiny_x4

The bundled weights were trained in four parts instead, configs/tiny_x4/part1.py to part4.py, with other settings tried
in between. Each part starts from the weights of the part before; together, 12,350 updates lead to the bundled weights.
jaxsr/assets/tiny-x4/README.md has their scores, and says how these are measured. No result of this run is recorded.
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

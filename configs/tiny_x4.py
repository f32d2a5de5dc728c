"""The bundled model tiny-x4: a small Swin-UNet on pixels, x4, bicubic LR, trained on photographs by two CPU cores.

    python -m jaxsr.train --config configs/tiny_x4_part1.py --data PHOTOGRAPHS -o runs/tiny_x4_part1
    python -m jaxsr.train --config configs/tiny_x4_part2.py --data PHOTOGRAPHS -o runs/tiny_x4_part2
    python -m jaxsr.train --config configs/tiny_x4_part3.py --data PHOTOGRAPHS -o runs/tiny_x4_part3
    python -m jaxsr.train --config configs/tiny_x4.py --data PHOTOGRAPHS -o runs/tiny_x4

The first two runs tried other schedules, and were stopped; each starts from what the one before it had learnt.
What it must reach, and how it is measured: jaxsr/assets/tiny-x4/README.md.
"""

from jaxsr.models.presets import PRESETS
from jaxsr.training.config import TrainConfig

config = TrainConfig(
    preset=PRESETS["tiny_x4"],
    data="../shared/data/train",
    start_from="runs/tiny_x4_part3/model",
    hr_size=96,
    batch_size=16,
    steps=6000,
    learning_rate=5e-4,
    warmup=100,
    checkpoint_every=250,
    sample_every=1000,
    seed=3,
)

"""The bundled model tiny-x4: a small Swin-UNet on pixels, x4, bicubic LR, trained on photographs by two CPU cores.

    python -m jaxsr.train --config configs/tiny_x4_part1.py --data PHOTOGRAPHS -o runs/tiny_x4_part1
    python -m jaxsr.train --config configs/tiny_x4_part2.py --data PHOTOGRAPHS -o runs/tiny_x4_part2
    python -m jaxsr.train --config configs/tiny_x4.py --data PHOTOGRAPHS -o runs/tiny_x4

The first two runs tried other schedules, and were stopped; this one starts from what they had learnt.
What it must reach, and how it is measured: jaxsr/assets/tiny-x4/README.md.
"""

from jaxsr.models.presets import PRESETS
from jaxsr.training.config import TrainConfig

config = TrainConfig(
    preset=PRESETS["tiny_x4"],
    data="../shared/data/train",
    start_from="runs/tiny_x4_part2/model",
    hr_size=96,
    batch_size=16,
    steps=2000,
    learning_rate=6e-4,
    warmup=50,
    checkpoint_every=200,
    sample_every=500,
    seed=2,
)

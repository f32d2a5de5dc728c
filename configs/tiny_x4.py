"""The bundled model tiny-x4: a small Swin-UNet on pixels, x4, bicubic LR, trained on photographs for two CPU cores.

    python -m jaxsr.train --config configs/tiny_x4.py --data PHOTOGRAPHS -o runs/tiny_x4

Expected, and how it is measured: jaxsr/assets/tiny-x4/README.md.
"""

from jaxsr.models.presets import PRESETS
from jaxsr.training.config import TrainConfig

config = TrainConfig(
    preset=PRESETS["tiny_x4"],
    data="../shared/data/train",
    hr_size=96,
    batch_size=16,
    steps=6500,
    learning_rate=1e-3,
    warmup=200,
    checkpoint_every=250,
    sample_every=500,
)

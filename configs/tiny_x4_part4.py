"""The fourth and last part of tiny-x4's training: three times as long as the third; see configs/tiny_x4.py.

python -m jaxsr.train --config configs/tiny_x4_part4.py --data PHOTOGRAPHS -o runs/tiny_x4_part4
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

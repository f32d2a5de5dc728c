"""The fourth and last part of tiny-x4's training: three times as long as the third; see configs/tiny_x4.py.

    python -m jaxsr.train --config configs/tiny_x4/part4.py --data PHOTOGRAPHS -o runs/tiny_x4_part4

jaxsr/assets/tiny-x4/log_part4.jsonl logs all of its 6,000 updates. They end in the bundled model, which reached
31.29 dB on Set5 with 1 step and 30.77 dB with 4 steps.
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

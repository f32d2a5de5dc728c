"""The third part of tiny-x4's training, with the final schedule; see configs/tiny_x4.py.

    python -m jaxsr.train --config configs/tiny_x4/part3.py --data PHOTOGRAPHS -o runs/tiny_x4_part3

jaxsr/assets/tiny-x4/log_part3.jsonl logs all of its 2,000 updates. After them, Set5 reached 31.11 dB with 1 step and
30.58 dB with 4 steps.
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

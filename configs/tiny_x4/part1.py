"""The first part of tiny-x4's training, with kappa = 1 and min_noise_level = 0.04; see configs/tiny_x4.py.

    python -m jaxsr.train --config configs/tiny_x4/part1.py --data PHOTOGRAPHS -o runs/tiny_x4_part1

The run was ended by hand. Its log, jaxsr/assets/tiny-x4/log_part1.jsonl, goes to update 2,900, with a row every 100;
the newest checkpoint, one every 250, was then that of update 2,750. The second part starts from it, so `stop_at` is
2,750, and a run with this config logs no more than that. On Set5, 1 step reached 30.63 dB, 4 steps 30.10 (after 2,500).
"""

from dataclasses import replace

from jaxsr.models.presets import PRESETS
from jaxsr.training.config import TrainConfig

preset = PRESETS["tiny_x4"]
config = TrainConfig(
    preset=replace(preset, schedule=replace(preset.schedule, kappa=1.0, min_noise_level=0.04)),
    data="../shared/data/train",
    hr_size=96,
    batch_size=16,
    steps=6500,
    stop_at=2750,
    learning_rate=1e-3,
    warmup=200,
    checkpoint_every=250,
    sample_every=500,
)

"""The first part of tiny-x4's training, with kappa = 1 and min_noise_level = 0.04; see configs/tiny_x4.py.

    python -m jaxsr.train --config configs/tiny_x4/part1.py --data PHOTOGRAPHS -o runs/tiny_x4_part1

The run was stopped by hand. Its log, jaxsr/assets/tiny-x4/log_part1.jsonl, has a row every 100 updates and ends at
update 2,900. A checkpoint was written every 250 updates, so the newest is from update 2,750. The second part starts
from it. Therefore `stop_at` is 2,750, and a run with this config logs no further updates. After 2,500 updates, Set5
reached 30.63 dB with 1 step and 30.10 dB with 4 steps.
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

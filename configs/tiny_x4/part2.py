"""The second part of tiny-x4's training, with kappa = 2 and min_noise_level = 0.04; see configs/tiny_x4.py.

    python -m jaxsr.train --config configs/tiny_x4/part2.py --data PHOTOGRAPHS -o runs/tiny_x4_part2

The run was stopped after 1,600 of 3,400 updates, where jaxsr/assets/tiny-x4/log_part2.jsonl ends. After 1,400 updates,
Set5 reached 30.87 dB with 1 step and 30.37 dB with 4 steps.
"""

from dataclasses import replace

from jaxsr.models.presets import PRESETS
from jaxsr.training.config import TrainConfig

preset = PRESETS["tiny_x4"]
config = TrainConfig(
    preset=replace(preset, schedule=replace(preset.schedule, min_noise_level=0.04)),
    data="../shared/data/train",
    start_from="runs/tiny_x4_part1/model",
    hr_size=96,
    batch_size=16,
    steps=3400,
    stop_at=1600,
    learning_rate=8e-4,
    warmup=100,
    checkpoint_every=200,
    sample_every=500,
    seed=1,
)

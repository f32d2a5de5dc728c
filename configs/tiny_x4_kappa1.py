"""The first part of tiny-x4's training, with kappa = 1; see configs/tiny_x4.py.

    python -m jaxsr.train --config configs/tiny_x4_kappa1.py --data PHOTOGRAPHS -o runs/tiny_x4_kappa1

Stopped after 2,750 of its updates, when 4 steps were found to cost 0.53 dB against 1 step on Set5 (30.63 and 30.10).
"""

from dataclasses import replace

from jaxsr.models.presets import PRESETS
from jaxsr.training.config import TrainConfig

preset = PRESETS["tiny_x4"]
config = TrainConfig(
    preset=replace(preset, schedule=replace(preset.schedule, kappa=1.0)),
    data="../shared/data/train",
    hr_size=96,
    batch_size=16,
    steps=6500,
    learning_rate=1e-3,
    warmup=200,
    checkpoint_every=250,
    sample_every=500,
)

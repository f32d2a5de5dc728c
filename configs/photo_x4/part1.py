"""Part 1 of the training of `photo-x4`: from nothing, with squared error and LPIPS.

python -m jaxsr.train --config configs/photo_x4/part1.py -o runs/photo_x4_part1
"""

from jaxsr.models.presets import PRESETS
from jaxsr.training.config import TrainConfig

config = TrainConfig(
    preset=PRESETS["photo_x4"],
    data=(
        "../shared/data/train/cid22_training",
        "../shared/data/train/gb82",
        "../shared/data/train_more",
    ),
    degradation="photo",
    hr_size=128,
    batch_size=16,
    steps=4_200,
    optimizer="muon",
    learning_rate=2e-3,
    warmup=100,
    clip_norm=0.05,
    perceptual="lpips-alex",
    perceptual_weight=0.1,
    start_share=0.3,
    checkpoint_every=250,
    sample_every=500,
)

"""The full-size network for real photographs, with 4 steps and ResShift's released layout, trained by this project.

    python -m jaxsr.train --config configs/realsr_s4.py --data PHOTOGRAPHS -o runs/realsr_s4

The run needs accelerators, and a converted `autoencoder_vq_f4.pth` at `codec_checkpoint`. We never ran it to its end,
so no score is recorded. The degradation is of second order, with the parameters of the Real-ESRGAN paper.
"""

from jaxsr.models.presets import PRESETS
from jaxsr.training.config import TrainConfig

config = TrainConfig(
    preset=PRESETS["realsr_s4_v3"],
    data="tfds:imagenet2012/train",
    degradation="real_esrgan",
    codec_checkpoint="checkpoints/autoencoder_vq_f4",
    hr_size=256,
    batch_size=64,
    accumulate=4,
    steps=500_000,
    learning_rate=5e-5,
    warmup=5_000,
    precision="auto",
    checkpoint_every=10_000,
    sample_every=10_000,
)

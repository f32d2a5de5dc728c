"""The full-size network for real photographs, 4 steps: ResShift's released layout, trained by this project's code.

    python -m jaxsr.train --config configs/realsr_s4.py --data PHOTOGRAPHS -o runs/realsr_s4

Needs a converted `autoencoder_vq_f4.pth` at `codec_checkpoint` and accelerators; never run to its end here, so it
has no number to reach. Degradation: second order, parameters of the Real-ESRGAN paper.
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
    precision="bf16",
    checkpoint_every=10_000,
    sample_every=10_000,
)

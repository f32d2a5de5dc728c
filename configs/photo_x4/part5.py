"""Part 5 of the training of `photo-x4`: from the model of part 4, with LPIPS of VGG against fine hatch and soft edges.

python -m jaxsr.train --config configs/photo_x4/part5.py -o runs/photo_x4_part5
"""

import runpy
from dataclasses import replace
from pathlib import Path

PART4 = runpy.run_path(str(Path(__file__).with_name("part4.py")))["config"]

config = replace(
    PART4,
    start_from="runs/photo_x4_part4/model",
    steps=1_800,
    perceptual_weight=0.03,
    detail_weight=0.03,
    detail_size=64,
    chain_length=2,
    seed=4,
)

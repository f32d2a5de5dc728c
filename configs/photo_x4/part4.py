"""Part 4 of the training of `photo-x4`: from the model of part 3, with more and longer chains and less LPIPS.

python -m jaxsr.train --config configs/photo_x4/part4.py -o runs/photo_x4_part4
"""

import runpy
from dataclasses import replace
from pathlib import Path

PART3 = runpy.run_path(str(Path(__file__).with_name("part3.py")))["config"]

config = replace(
    PART3,
    start_from="runs/photo_x4_part3/model",
    steps=2_400,
    perceptual_weight=0.05,
    chain_share=0.75,
    chain_length=3,
    seed=3,
)

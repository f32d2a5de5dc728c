"""Part 3 of the training of `photo-x4`: from the model of part 2, with states of longer chains and less LPIPS.

python -m jaxsr.train --config configs/photo_x4/part3.py -o runs/photo_x4_part3
"""

import runpy
from dataclasses import replace
from pathlib import Path

PART2 = runpy.run_path(str(Path(__file__).with_name("part2.py")))["config"]

config = replace(
    PART2,
    start_from="runs/photo_x4_part2/model",
    steps=2_600,
    perceptual_weight=0.06,
    chain_length=2,
    seed=2,
)

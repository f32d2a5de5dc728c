"""Part 6 of the training of `photo-x4`: from the model of part 5, with convolutions that refine the predicted pixels.

python -m jaxsr.train --config configs/photo_x4/part6.py -o runs/photo_x4_part6
"""

import runpy
from dataclasses import replace
from pathlib import Path

PART5 = runpy.run_path(str(Path(__file__).with_name("part5.py")))["config"]

config = replace(
    PART5,
    preset=replace(PART5.preset, network=replace(PART5.preset.network, refine=48)),
    start_from="runs/photo_x4_part5/model",
    grow=True,
    steps=2_400,
    detail_weight=0.04,
    seed=5,
)

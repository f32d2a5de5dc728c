"""Part 6 of the training of `photo-x4`: from the model of part 5, with synthetic flat areas and clean edges.

python -m jaxsr.train --config configs/photo_x4/part6.py -o runs/photo_x4_part6
"""

import runpy
from dataclasses import replace
from pathlib import Path

PART5 = runpy.run_path(str(Path(__file__).with_name("part5.py")))["config"]

config = replace(
    PART5,
    start_from="runs/photo_x4_part5/model",
    leaves_share=0.25,
    steps=600,
    warmup=40,
    checkpoint_every=100,
    ema_decay=0.995,
    seed=5,
)

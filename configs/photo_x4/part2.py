"""Part 2 of the training of `photo-x4`: from the model of part 1, with states of its own chain.

python -m jaxsr.train --config configs/photo_x4/part2.py -o runs/photo_x4_part2
"""

import runpy
from dataclasses import replace
from pathlib import Path

PART1 = runpy.run_path(str(Path(__file__).with_name("part1.py")))["config"]

config = replace(
    PART1,
    start_from="runs/photo_x4_part1/model",
    degradation="photo_mild",
    steps=1_800,
    learning_rate=1e-3,
    warmup=50,
    perceptual_weight=0.08,
    chain_share=0.5,
    seed=1,
)

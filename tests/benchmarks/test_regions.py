"""Test the benchmark of regions: the halves are those of the images, and the known half is the one that is shown."""

import re

import numpy as np
import pytest
from PIL import Image

from benchmarks import regions
from jaxsr.evaluation.images import Pair
from tests.small_model import enlarged

NAMES = [f"with the reference, {objective}" for objective in regions.OBJECTIVES]


def pictures(width: int) -> tuple[np.ndarray, np.ndarray]:
    lr = np.random.default_rng(0).integers(0, 256, (16, width, 3), np.uint8)
    return lr, enlarged(lr)


def test_the_halves_are_the_whole():
    lr, hr = pictures(17)
    pair = regions.even(Pair("a", 0, hr, lr, None, False), 4)
    pair = regions.replace(pair, sr=pair.hr)
    halves = [regions.half(pair, name) for name in regions.HALVES]
    for name in ("lr", "hr", "sr"):
        whole = np.concatenate([getattr(one, name) for one in halves], axis=1)
        np.testing.assert_array_equal(whole, getattr(pair, name))
    np.testing.assert_array_equal(np.concatenate([one.lr for one in halves], axis=1), lr[:, :16])


@pytest.mark.slow
def test_the_reference_raises_the_psnr_of_the_known_half(small_checkpoints, tmp_path, capsys):
    (tmp_path / "data/kodak24").mkdir(parents=True)
    for i in range(2):
        Image.fromarray(pictures(48 + i)[1]).save(tmp_path / f"data/kodak24/kodim0{i + 1}.png")
    words = ["--model", str(small_checkpoints["channel"]), "--data", str(tmp_path / "data"), "--set", "kodak"]
    words += ["--metrics", "psnr", "--steps", "1", "2", "-o", str(tmp_path / "out")]
    assert regions.main(words) == 0
    rows = dict(re.findall(r"^\| (.+?) \| ([\d.]+)", capsys.readouterr().out, re.M))
    assert len(rows) == 12
    plain, *others = (float(rows[f"known half, 2 steps: {name}"]) for name in ("plain", *NAMES))
    assert min(others) > plain + 0.2  # a random network gains no more
    plains = {rows[f"{half}, {steps} steps: plain"] for half in regions.HALVES for steps in (1, 2)}
    assert len(plains) == 4

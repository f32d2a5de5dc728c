"""Test the synthetic crops of training: flat areas, clean edges, colours of the photograph, and their share."""

import numpy as np
import pytest

from jaxsr.training.camera import DEGRADATIONS
from jaxsr.training.dataset import pair_dataset
from jaxsr.training.dead_leaves import FLAT_SHARE, dead_leaves
from tests.training.tiny_run import make_config

PHOTOGRAPH = np.random.default_rng(0).choice(np.uint8([[200, 40, 40], [20, 90, 160], [240, 230, 210]]), (64, 64))


def crops(count: int = 200) -> list[np.ndarray]:
    return [dead_leaves(PHOTOGRAPH, 32, np.random.default_rng(i)) for i in range(count)]


def test_crops_are_flat_or_have_flat_parts_and_edges():
    found = crops()
    assert {(crop.shape, crop.dtype) for crop in found} == {((32, 32, 3), np.dtype(np.uint8))}
    one_colour = np.mean([np.ptp(crop, (0, 1)).max() == 0 for crop in found])
    assert one_colour > FLAT_SHARE / 2 - 0.1
    steps = np.concatenate([np.abs(np.diff(crop.astype(int), axis=1)).max(-1).ravel() for crop in found])
    assert (steps == 0).mean() > 0.5  # most neighbours are equal
    assert (steps > 60).mean() > 0.005  # but there are hard edges
    even = [crop for crop in found if 0 < np.abs(np.diff(crop.astype(int), axis=0)).max() < 12]
    assert even  # from one colour to another


def test_colours_are_those_of_the_photograph():
    for crop in crops(40):
        if np.ptp(crop, (0, 1)).max() == 0:
            assert (crop[0, 0] == PHOTOGRAPH).all(-1).any()
    assert len({tuple(crop[0, 0]) for crop in crops(40)}) > 3


def test_equal_keys_give_equal_crops():
    np.testing.assert_array_equal(crops(5), crops(5))
    assert any((a != b).any() for a, b in zip(crops(5), crops(6)[1:], strict=True))


@pytest.mark.parametrize("degradation", ["bicubic", "photo_mild"])
def test_the_share_decides_how_many_examples_are_synthetic(degradation):
    noise = np.random.default_rng(1).integers(0, 256, (48, 48, 3), dtype=np.uint8)
    sizes = {"hr_size": 32, "scale": 4, "batch_size": 40, "seed": 0, "degrade": DEGRADATIONS[degradation]}

    def synthetic(share: float) -> np.ndarray:
        batch = pair_dataset([noise], **sizes, leaves_share=share).batch(3)
        assert batch["lr"].shape == (40, 8, 8, 3)
        return np.array([(np.diff(hr.astype(int), axis=0) == 0).mean() > 0.3 for hr in batch["hr"]])

    assert synthetic(0.0).sum() == 0
    assert 4 < synthetic(0.3).sum() < 22
    assert synthetic(1.0).sum() > 30
    whole = pair_dataset([noise], **sizes, leaves_share=0.3).batch(3)
    parts = [pair_dataset([noise], **sizes, leaves_share=0.3).for_host(i, 2).batch(3)["hr"] for i in range(2)]
    np.testing.assert_array_equal(np.concatenate(parts), whole["hr"])


def test_the_share_is_checked():
    with pytest.raises(ValueError, match=r"^leaves_share: must be 0 to 1, got 1\.5\.$"):
        make_config(leaves_share=1.5)

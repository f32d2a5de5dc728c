"""Test that pairs lie side by side in one folder whatever their spelling, for pairs, training and evaluation."""

import numpy as np
import pytest
from PIL import Image

from jaxsr.data.pairs import PairError, open_pairs
from jaxsr.data.side_by_side import partners
from jaxsr.data.sources import load_folder
from jaxsr.evaluation.datasets import folder_items
from jaxsr.imaging.resize import downsample_bicubic_uint8
from tests.data.photos import photos, save_folder


@pytest.mark.parametrize(
    ("high", "low"),
    [
        ("a_HR", "a_LR4"),
        ("a_hr", "a_lr"),
        ("a_HR", "a_LRx4"),
        ("a-HR", "a-LR_4"),
        ("HR", "LR4"),
        ("sub/HR", "sub/lr_x4"),
        ("a b.HR", "A b.LR"),
        ("a_GT", "a_LQ"),
        ("a_HR", "a_LR_bicubic_x4"),
        ("a_x1", "a_x4"),
        ("0801", "0801x4"),
        ("HR_12", "LR_12"),
        ("HR_4", "LR_4"),
    ],
)
def test_spellings_of_a_pair(high, low):
    assert partners([high, low, "alone_HR", "b_LR4", "CHR", "CLR4", "HRx", "a_LR9"], 4) == {high: [low]}


def test_a_number_at_the_end_of_both_is_no_scale():
    names = [f"{kind}_{number}" for kind in ("HR", "LR") for number in range(10)]
    assert partners(names, 4) == {f"HR_{number}": [f"LR_{number}"] for number in range(10)}


@pytest.mark.parametrize(
    ("high", "low"),
    [
        ("HR/1", "LR4/1"),
        ("HR/1", "LR/1"),
        ("GT/a", "LQ/a"),
        ("HR/a_HR", "LR/a_LR4"),
        ("HR/0801", "LR_bicubic/X4/0801x4"),
        ("hr/sub/Foto", "lr_x4/sub/foto"),
        ("HR/fox1", "LR/fox1"),
        ("HR/2/a", "LR/2/a"),
    ],
)
def test_names_in_folders_of_hr_and_lr_images(high, low):
    assert partners([high, low], 4) == {high: [low]}
    assert partners([high, low, high.replace("/", "/other")], 4) == {}
    assert partners([high, low, "de/1"], 4) == {}


def test_folders_of_several_scales():
    names = [f"{kind}/{number}" for kind in ("HR", "LR4", "LR2") for number in range(10)]
    assert partners(names, 4) == {f"HR/{number}": [f"LR4/{number}", f"LR2/{number}"] for number in range(10)}


@pytest.mark.parametrize(
    "names",
    [
        ["HR/fox1", "LR/fox2"],
        ["HR/3/x", "LR/x"],
        ["HR/1", "HR/2", "LR/3"],
        ["CHR/3", "CLR/3"],
        ["hr/IMG_1", "lr/IMG_1", "de/IMG_1"],
        ["hr/1", "gt/1", "lr/1"],
        ["HR/4/a", "LR/4/a", "HR/a", "LR/b"],
    ],
)
def test_folders_that_are_no_pairs(names):
    assert partners(names, 4) == {}


def test_names_in_one_folder_called_hr_are_pairs_by_themselves():
    assert partners(["HR/0801", "HR/0801x4"], 4) == {"HR/0801": ["HR/0801x4"]}
    assert partners(["HR/a_HR", "HR/a_LR4"], 4) == {"HR/a_HR": ["HR/a_LR4"]}
    both = ["HR/fox1", "HR/fox2", "LR/fox1", "LR/fox2"]
    assert partners(both, 4) == {"HR/fox1": ["LR/fox1"], "HR/fox2": ["LR/fox2"]}


def test_two_originals_do_not_share_an_lr_image():
    with pytest.raises(ValueError, match="A_hr and a_HR would both have the LR image a_LR4; rename"):
        partners(["a_HR", "A_hr", "a_LR4"], 4)


def test_the_scale_decides_between_several():
    names = ["a_HR", "a_LR2", "a_LR3", "a_LR4", "a_LR"]
    assert {scale: partners(names, scale)["a_HR"][0] for scale in (2, 3, 4, 8)} == {
        2: "a_LR2",
        3: "a_LR3",
        4: "a_LR4",
        8: "a_LR",
    }


def _save(folder, name, pixels):
    Image.fromarray(pixels).save(folder / f"{name}.png")


@pytest.fixture
def folder(tmp_path):
    """Two pairs side by side, whose LR images are darker than bicubic ones."""
    for name, hr in zip("ab", photos((64, 64), (64, 72)), strict=True):
        _save(tmp_path, f"{name}_hr", hr)
        _save(tmp_path, f"{name}_lrx4", downsample_bicubic_uint8(hr, 4) // 8 * 8)
    return tmp_path


def test_pairs_of_a_calibration_lie_side_by_side(folder):
    pairs = open_pairs(str(folder), scale=4, crop=16)
    assert pairs.names == ("a_hr.png", "b_hr.png")
    low, _ = pairs[0]
    np.testing.assert_array_equal(low, np.asarray(Image.open(folder / "a_lrx4.png")))
    _save(folder, "c", photos((64, 64))[0])
    with pytest.raises(
        PairError, match=r"--pairs: .* LR images beside 2 photographs and none beside 1, such as c; sep"
    ):
        open_pairs(str(folder), scale=4, crop=16)


def test_training_takes_the_originals_alone(folder, caplog):
    assert [image.shape for image in load_folder(folder)] == [(64, 64, 3), (64, 72, 3)]
    assert "left out 2 LR images, which lie beside their originals" in caplog.text


def test_evaluation_takes_the_lr_image_of_the_scale(folder):
    _save(folder, "a_lrx2", photos((32, 32))[0])
    assert {item.name: item.lr.stem for item in folder_items(folder, 2) if item.lr} == {
        "a_hr": "a_lrx2",
        "b_hr": "b_lrx4",
    }
    assert [item.lr.stem for item in folder_items(folder) if item.lr] == ["a_lrx4", "b_lrx4"]


def test_one_photograph_by_a_limit_names_the_limit(tmp_path):
    save_folder(tmp_path, photos((64, 64), (64, 64)))
    with pytest.raises(PairError, match=r"gives 1 photograph of .* needs at least 2; give a --limit of 2 or more\.$"):
        open_pairs(str(tmp_path), scale=4, crop=8, limit=1)

"""Test where pairs are cropped, how their LR image is made, and the errors for unsuitable data."""

import numpy as np
import pytest
from PIL import Image

from jaxsr.data import pairs as module
from jaxsr.data.pairs import PairError, open_pairs
from jaxsr.data.photographs import LazyImages
from jaxsr.imaging.resize import downsample_bicubic_uint8
from tests.calibration.fake import write_photos

SMALL = {"scale": 4, "crop": 8}


def photographs(folder, count: int = 3):
    return write_photos(folder, count, size=(84, 76))


def pixels(path) -> np.ndarray:
    return np.asarray(Image.open(path))


def write_lr(hr_folder, folder, ending: str = "", change=lambda lr: lr):
    folder.mkdir()
    for file in hr_folder.glob("*.png"):
        lr = change(downsample_bicubic_uint8(pixels(file), 4))
        Image.fromarray(lr).save(folder / f"{file.stem}{ending}.png")
    return folder


def test_crops_are_cut_about_the_centre_and_lr_is_that_of_the_whole_photograph(tmp_path):
    folder = photographs(tmp_path / "hr", 2)
    found = open_pairs(str(folder), **SMALL, crops=4)
    assert (len(found), found.name(5), found.groups.tolist()) == (8, "1.png#1", [0] * 4 + [1] * 4)
    hr = pixels(folder / "1.png")
    lr = downsample_bicubic_uint8(hr, 4)  # 19 x 21 pixels; the crops share the middle 16 x 16
    for place, (y, x) in enumerate([(1, 2), (1, 10), (9, 2), (9, 10)]):
        low, high = found[4 + place]
        np.testing.assert_array_equal(low, lr[y : y + 8, x : x + 8])
        np.testing.assert_array_equal(high, hr[4 * y : 4 * y + 32, 4 * x : 4 * x + 32])


@pytest.mark.parametrize("ending", ["", "x4", "_LR4", "_lr"])
def test_given_lr_images_are_taken_by_name(tmp_path, ending):
    folder = photographs(tmp_path / "hr", 3)
    lr = write_lr(folder, tmp_path / "lr", ending, lambda image: np.clip(image, 9, 250))
    given, made = open_pairs(str(folder), str(lr), **SMALL), open_pairs(str(folder), **SMALL)
    for (low, high), (bicubic, same) in zip(given, made, strict=True):
        np.testing.assert_array_equal(low, np.clip(bicubic, 9, 250))
        np.testing.assert_array_equal(high, same)
    assert given.describe() != made.describe()


def test_names_without_a_partner_are_listed(tmp_path):
    folder = photographs(tmp_path / "hr", 3)
    lr = write_lr(folder, tmp_path / "lr")
    (lr / "1.png").rename(lr / "other.png")
    with pytest.raises(
        PairError, match=r"one LR file of the same name; these do not match: .*hr/1\.png, .*lr/other\.png\.$"
    ):
        open_pairs(str(folder), str(lr), **SMALL)


def test_pictures_of_other_sizes_or_contents_are_named(tmp_path):
    folder = photographs(tmp_path / "hr", 3)
    narrow = write_lr(folder, tmp_path / "narrow", change=lambda image: image[:, :-1])
    with pytest.raises(PairError, match=r"^0\.png: HR of 84x76 and LR of 20x19 pixels are no pair of scale 4"):
        open_pairs(str(folder), str(narrow), **SMALL)[0]
    turned = write_lr(folder, tmp_path / "turned", change=lambda image: image[::-1, ::-1])
    with pytest.raises(PairError, match=r"^2\.png: LR and HR do not show the same .* at \d+\.\d dB"):
        open_pairs(str(folder), str(turned), **SMALL)[2]


def test_small_photographs_are_left_out_and_the_limit_counts_the_others(tmp_path):
    folder = photographs(tmp_path / "hr", 3)
    Image.fromarray(pixels(folder / "0.png")[:31]).save(folder / "0.png")
    assert open_pairs(str(folder), **SMALL).names == ("1.png", "2.png")
    photographs(folder / "more", 1)
    assert open_pairs(str(folder), **SMALL, limit=2).names == ("1.png", "2.png")
    assert len(open_pairs(str(folder), **SMALL)) == 3


@pytest.mark.parametrize("count", [0, 1])
def test_too_few_pairs_are_refused(tmp_path, count):
    folder = photographs(tmp_path / "hr", count)
    with pytest.raises(PairError, match=rf"--pairs: .*hr gives {count} photograph.* needs at least 2"):
        open_pairs(str(folder), **SMALL, crops=4)


def test_wrong_choices_are_refused(tmp_path):
    folder = str(photographs(tmp_path / "hr"))
    with pytest.raises(PairError, match="--crops: must be a square number"):
        open_pairs(folder, **SMALL, crops=2)
    with pytest.raises(PairError, match="--lr-pairs: TFDS data has no folder"):
        open_pairs("tfds:div2k/train", folder, **SMALL)
    with pytest.raises(ValueError, match="no such folder"):
        open_pairs(f"{folder}/none", **SMALL)


def test_tfds_is_looked_through_for_sizes_and_decoded_when_read(monkeypatch):
    rng, decoded = np.random.default_rng(0), []
    sides = [40, 20, 36, 32, 50]

    def decode(i: int) -> np.ndarray:
        decoded.append(i)
        return rng.integers(0, 256, (sides[i], 48, 3), dtype=np.uint8)

    monkeypatch.setattr(module, "load_tfds", lambda name, split: LazyImages(range(5), decode))
    found = open_pairs("tfds:div2k/bicubic_x4/validation", **SMALL, limit=3)
    assert found.names == tuple(f"div2k/bicubic_x4/validation#{i}" for i in (0, 2, 3))
    decoded.clear()
    low, high = found[1]
    assert (low.shape, high.shape, decoded) == ((8, 8, 3), (32, 32, 3), [2])


def test_a_photograph_is_decoded_once_for_all_its_crops(tmp_path, monkeypatch):
    reads = []
    read = module.read_rgb
    monkeypatch.setattr(module, "read_rgb", lambda path: reads.append(path.name) or read(path))
    found = open_pairs(str(photographs(tmp_path / "hr", 2)), **SMALL, crops=4)
    reads.clear()  # the tests' type checker reads one
    assert len(list(found)) == 8
    assert reads == ["0.png", "1.png"]


def test_the_description_tells_data_sets_apart(tmp_path):
    folder = str(photographs(tmp_path / "hr", 3))
    described = [
        open_pairs(folder, **SMALL).describe(),
        open_pairs(folder, **SMALL, limit=2).describe(),
        open_pairs(folder, **SMALL, crops=4).describe(),
        open_pairs(folder, scale=4, crop=4).describe(),
    ]
    assert all(described[i] != described[j] for i in range(4) for j in range(i))
    assert (described[0]["pairs"], described[2]["pairs"], described[2]["photographs"]) == (3, 12, 3)


@pytest.mark.parametrize("changed", ["hr", "lr"])
def test_the_description_tells_other_contents_under_the_same_names_apart(tmp_path, changed):
    folders = {"hr": photographs(tmp_path / "hr", 2)}
    folders["lr"] = write_lr(folders["hr"], tmp_path / "lr")
    before = open_pairs(str(folders["hr"]), str(folders["lr"]), **SMALL).describe()
    assert open_pairs(str(folders["hr"]), str(folders["lr"]), **SMALL).describe() == before
    file = folders[changed] / "1.png"
    Image.fromarray(pixels(file)[:, ::-1]).save(file)
    after = open_pairs(str(folders["hr"]), str(folders["lr"]), **SMALL).describe()
    assert {key for key in after if after[key] != before[key]} == {"files_sha256"}

"""Test how images are prepared: crops, patches, rounding, and sizes that do not fit."""

import numpy as np
import pytest
from PIL import Image, ImageCms

from jaxsr.evaluation.images import ImageError, load
from jaxsr.evaluation.pairs import Item
from jaxsr.evaluation.protocols import Protocol, ProtocolError
from jaxsr.imaging.colour import ADOBE, make_profile
from jaxsr.imaging.resize import downsample_bicubic_uint8
from jaxsr.imaging.sixteen_bit import encode_png16
from tests.evaluation.pictures import picture, save


def protocol(**changes) -> Protocol:
    return Protocol(**{"name": "p", "about": ""} | changes)


def item(tmp_path, hr=None, lr=None, sr=None) -> Item:
    given = {"target": ("hr", hr), "lr": ("lr", lr), "pred": ("sr", sr)}
    return Item("a", **{key: save(tmp_path / f"{n}.png", x) for key, (n, x) in given.items() if x is not None})


def test_images_are_cropped_to_whole_lr_pixels(tmp_path):
    hr = picture(0, 35, 50)
    (pair,) = load(item(tmp_path, hr, sr=hr[:32, :48]), protocol()).pairs
    np.testing.assert_array_equal(pair.hr, hr[:32, :48])
    (uncropped,) = load(item(tmp_path, hr, sr=hr), protocol()).pairs
    np.testing.assert_array_equal(uncropped.sr, hr[:32, :48])
    (halved,) = load(item(tmp_path, hr, sr=hr), protocol(scale=2)).pairs
    assert halved.sr.shape == (34, 50, 3)


def test_the_lr_image_is_given_or_made_by_bicubic(tmp_path):
    hr = picture(0)
    (made,) = load(item(tmp_path, hr), protocol(), make_lr=True).pairs
    np.testing.assert_array_equal(made.lr, downsample_bicubic_uint8(hr, 4))
    (given,) = load(item(tmp_path, hr, lr=picture(1, 8, 12)), protocol(), make_lr=True).pairs
    np.testing.assert_array_equal(given.lr, picture(1, 8, 12))
    assert load(item(tmp_path, hr), protocol()).pairs[0].lr is None
    (exact,) = load(item(tmp_path, hr), protocol(bits=None), make_lr=True).pairs
    np.testing.assert_array_equal(np.rint(255 * exact.lr), made.lr)
    assert exact.lr.dtype == np.float32


def test_patches_tile_the_centre_of_all_three_alike(tmp_path):
    lr = np.arange(11 * 14 * 3, dtype=np.uint8).reshape(11, 14, 3)
    big = lr.repeat(4, 0).repeat(4, 1)
    found = load(item(tmp_path, big, lr, big), protocol(crop=6, patches=2)).pairs
    assert [pair.patch for pair in found] == [0, 1, 2, 3]
    rows = [np.concatenate([found[i].lr, found[i + 1].lr], 1) for i in (0, 2)]
    np.testing.assert_array_equal(np.concatenate(rows), lr[2:8, 4:10])
    for pair in found:
        np.testing.assert_array_equal(pair.hr, pair.lr.repeat(4, 0).repeat(4, 1))
        np.testing.assert_array_equal(pair.sr, pair.hr)
    (centre,) = load(item(tmp_path, big, lr), protocol(crop=6)).pairs
    np.testing.assert_array_equal(centre.lr, lr[2:8, 4:10])
    with pytest.raises(ImageError, match=r"a: its 14x11 LR pixels do not hold the crop of 12x12 of protocol p"):
        load(item(tmp_path, big, lr), protocol(crop=12))


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ({"sr": (32, 44)}, "a: the result has 44x32 pixels in place of 48x32; check that it was made at scale 4"),
        ({"sr": (8, 12)}, "the result has 12x8 pixels"),
        ({"lr": (8, 11)}, "the original of 48x32 and the LR image of 11x8 pixels are not a pair of scale 4"),
    ],
    ids=str,
)
def test_sizes_that_do_not_fit_are_told(tmp_path, sizes, message):
    images = {key: picture(1, *size) for key, size in sizes.items()}
    with pytest.raises(ImageError, match=message):
        load(item(tmp_path, picture(0), **images), protocol())


def test_deep_files_are_rounded_to_8_bits_or_left(tmp_path):
    deep = np.random.default_rng(0).integers(0, 65536, (32, 48, 3)).astype(np.uint16)
    (tmp_path / "a.png").write_bytes(encode_png16(deep, None, None))
    one = Item("a", tmp_path / "a.png", pred=tmp_path / "a.png")
    np.testing.assert_array_equal(load(one, protocol()).pairs[0].sr, np.rint(deep / 257).astype(np.uint8))
    np.testing.assert_allclose(load(one, protocol(bits=None)).pairs[0].sr, deep / 65535, atol=1e-7)


COLOURED = ("ab", "ac", "ad", "dc")


def test_other_profiles_than_the_original_s_are_noted(tmp_path):
    profile = make_profile(ADOBE, 2.2)
    standard = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    for name, icc in (("a", profile), ("b", profile), ("c", None), ("d", standard)):
        Image.fromarray(picture(0)).save(tmp_path / f"{name}.png", icc_profile=icc)
    loaded = [load(Item("a", tmp_path / f"{n}.png", pred=tmp_path / f"{m}.png"), protocol()) for n, m in COLOURED]
    assert [one.recoloured for one in loaded] == [False, True, True, False]


def test_transparent_images_are_compared_as_they_show_on_white(tmp_path):
    hr, hidden = picture(0), np.zeros((32, 48), bool)
    hidden[:, 20:] = True
    alpha = np.where(hidden, 0, 255).astype(np.uint8)
    loaded = load(item(tmp_path, np.dstack([hr, alpha])), protocol())
    one = loaded.pairs[0].hr
    opaque = load(item(tmp_path, np.dstack([hr, np.full_like(alpha, 255)])), protocol())
    assert (loaded.transparent, opaque.transparent) == (True, False)
    np.testing.assert_array_equal(opaque.pairs[0].hr, hr)
    np.testing.assert_array_equal(one[~hidden], hr[~hidden])
    assert (one[hidden] == 255).all()
    other = np.dstack([np.where(hidden[..., None], 7, hr).astype(np.uint8), alpha])  # other colours, all hidden
    np.testing.assert_array_equal(load(item(tmp_path, other), protocol()).pairs[0].hr, one)
    half = load(item(tmp_path, np.dstack([hr, np.full_like(alpha, 128)])), protocol()).pairs[0].hr
    np.testing.assert_allclose(half, 255 - (255.0 - hr) * 128 / 255, atol=0.51)


def test_grey_files_are_known_and_hashes_are_checked(tmp_path):
    Image.fromarray(picture(0)[..., 0]).save(tmp_path / "grey.png")
    loaded = load(Item("a", tmp_path / "grey.png"), protocol())
    assert loaded.pairs[0].grey
    assert not load(item(tmp_path, picture(0)), protocol()).pairs[0].grey
    assert load(
        item(tmp_path, picture(0)), protocol(images={"a": load(item(tmp_path, picture(0)), protocol()).hr_hash})
    )
    with pytest.raises(ProtocolError, match="original a has other pixels"):
        load(item(tmp_path, picture(1)), protocol(images={"a": loaded.hr_hash}))


def test_results_alone_are_loaded_too(tmp_path):
    (pair,) = load(item(tmp_path, sr=picture(0)), protocol()).pairs
    np.testing.assert_array_equal(pair.sr, picture(0))
    assert (pair.hr, pair.lr) == (None, None)
    with pytest.raises(ImageError, match="has no original, no LR image and no result; give"):
        load(Item("a"), protocol())

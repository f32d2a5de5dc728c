"""Test how maps are read: in grey, or as the transparency of a picture that shows nothing else."""

import numpy as np
import pytest
from PIL import Image

from jaxsr.batch.recipe import read_recipe
from jaxsr.imaging.files import ImageFileError

MASK = np.random.default_rng(0).integers(0, 256, (5, 7), np.uint8)


@pytest.mark.parametrize("option", ["alpha_map", "reference_mask"])
@pytest.mark.parametrize("kind", ["grey", "rgb", "opaque", "black", "white", "la"])
def test_a_map_is_where_its_picture_is(tmp_path, option, kind):
    rgb, full = np.repeat(MASK[..., None], 3, 2), np.full_like(MASK, 255)
    flat = np.full((5, 7, 3), 255 if kind == "white" else 0, np.uint8)
    pixels = {"grey": MASK, "rgb": rgb, "opaque": np.dstack([rgb, full]), "la": np.dstack([full, MASK])}
    Image.fromarray(pixels.get(kind, np.dstack([flat, MASK]))).save(tmp_path / "map.png")
    recipe = read_recipe(**{option: tmp_path / "map.png"})
    found = recipe.alpha_map if option == "alpha_map" else recipe.mask
    np.testing.assert_allclose(found, MASK / 255, atol=1e-6)


def test_a_map_with_two_pictures_is_refused(tmp_path):
    Image.fromarray(np.dstack([MASK, MASK, MASK, MASK[::-1]])).save(tmp_path / "map.png")
    with pytest.raises(ImageFileError, match=r"map\.png: has grey values and transparency; save the map in grey"):
        read_recipe(alpha_map=tmp_path / "map.png")


def test_a_transparent_reference_is_refused(tmp_path):
    rgb = np.repeat(MASK[..., None], 3, 2)
    Image.fromarray(np.dstack([rgb, np.full_like(MASK, 255)])).save(tmp_path / "hr.png")
    found = read_recipe(reference=tmp_path / "hr.png").reference
    np.testing.assert_array_equal(found, rgb)
    Image.fromarray(np.dstack([rgb, MASK])).save(tmp_path / "hr.png")
    with pytest.raises(ImageFileError, match=r"hr\.png: is transparent in parts, .*; save it without transparency"):
        read_recipe(reference=tmp_path / "hr.png")

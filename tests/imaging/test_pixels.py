"""Test what users' images become: Pillow images in the modes whose numbers are colours, and advice for the others."""

import numpy as np
import pytest
from PIL import Image

from jaxsr.imaging.pixels import as_array, on_white, to_float_rgb

DEEP = (np.arange(48).reshape(6, 8) * 1300).astype(np.uint16)


@pytest.mark.parametrize("mode", ["I;16", "I;16L", "I;16B"])
def test_sixteen_bits_of_any_byte_order_keep_their_values(mode):
    order = ">" if mode == "I;16B" else "<"
    image = Image.frombytes(mode, (8, 6), DEEP.astype(f"{order}u2").tobytes())
    array = as_array(image)
    assert array.dtype == np.uint16
    np.testing.assert_array_equal(array, DEEP)
    rgb, grey = to_float_rgb(array)
    np.testing.assert_allclose(rgb[..., 0] * 65535, DEEP, atol=0.01)
    assert grey


def test_the_advice_for_other_modes_keeps_the_picture():
    wide = Image.fromarray(DEEP.astype(np.int32))
    with pytest.raises(ValueError, match=r"not I; if 65535 is white, give np.asarray\(image\).astype\(np.uint16\)"):
        as_array(wide)
    np.testing.assert_array_equal(as_array(np.asarray(wide).astype(np.uint16)), DEEP)  # as advised
    with pytest.raises(ValueError, match=r"not F; give np\.asarray\(image\) divided by its white"):
        as_array(Image.fromarray(DEEP.astype(np.float32)))
    for mode in ("P", "CMYK", "1", "YCbCr"):
        image = Image.new("RGB", (3, 2), (200, 100, 50)).convert(mode)
        with pytest.raises(ValueError, match=rf"not {mode}; use image\.convert\('RGB'\)"):
            as_array(image)
        assert as_array(image.convert("RGB")).shape == (2, 3, 3)


def test_opacity_shows_on_white():
    rgb, alpha = np.full((1, 3, 3), 0.2, np.float32), np.array([[0.0, 0.5, 1.0]], np.float32)
    np.testing.assert_allclose(on_white(rgb, alpha)[0, :, 0], [1, 0.6, 0.2], atol=1e-6)

"""Test that the alpha channel, enlarged band by band, is the same as when enlarged at once."""

import numpy as np
import pytest

from jaxsr.batch.enlarge import enlarge_alpha
from jaxsr.imaging.pixels import from_float


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("rows", [1, 64, 65, 131])
def test_alpha_by_bands_is_alpha_at_once(rows, dtype):
    from jaxsr.imaging.transparency import upscale_alpha

    alpha = np.random.default_rng(0).random((rows, 9), np.float32)
    out = np.empty((4 * rows, 36), dtype)
    enlarge_alpha(alpha, 4, out)
    whole = from_float(upscale_alpha(alpha, 4), dtype)
    assert np.abs(out.astype(int) - whole).max() <= 1  # rounding
    assert (out != whole).mean() < 0.01

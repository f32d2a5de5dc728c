"""Test the measurement of what a model paints into areas of one colour."""

import numpy as np
import pytest

from benchmarks.flat_areas import painted


def test_a_mesh_is_found_and_a_flat_result_is_not():
    y, x = np.mgrid[:256, :256]
    mesh = np.where((y + x) % 2 == 0, 3, -3)[..., None] * np.array([0, 1, 0])

    def upscale(image: np.ndarray, pattern: np.ndarray) -> np.ndarray:
        return (image.repeat(4, 0).repeat(4, 1) + pattern).astype(np.uint8)

    assert painted(lambda image: upscale(image, mesh), (90, 110, 170)) == (pytest.approx(3.0), 6.0)
    assert painted(lambda image: upscale(image, 0 * mesh), (90, 110, 170)) == (0.0, 0.0)
    border = np.zeros((256, 256, 3), int)
    border[:60] = 50
    assert painted(lambda image: upscale(image, border), (90, 110, 170)) == (0.0, 0.0)

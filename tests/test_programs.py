"""The compiled functions: what memory the gradient through the network takes."""

from dataclasses import replace

import numpy as np

from jaxsr.guided import TileGuides
from jaxsr.imaging import noise
from jaxsr.options import Options


def test_remat_gives_the_same_pixels_in_less_memory(small_upscalers):
    upscaler, tiles = small_upscalers["channel"], np.random.default_rng(0).random((1, 32, 32, 3), np.float32)
    options = replace(Options(alpha=0.2, through="state"), steps=1)
    key, guides = noise.image_key(0, noise.content_hash(tiles), 0), TileGuides(np.full(1, 0.2, np.float32), None, None)
    arguments = (upscaler.params, key, tiles, np.zeros((1, 2), np.int32), guides)
    results, memory = [], []
    for remat in (False, True):
        program = upscaler.compiled(options, remat).lower(*arguments).compile()
        results.append(np.asarray(program(*arguments)))
        memory.append(program.memory_analysis().temp_size_in_bytes)
    np.testing.assert_allclose(results[0], results[1], atol=1e-5)
    assert memory[1] < 0.8 * memory[0]

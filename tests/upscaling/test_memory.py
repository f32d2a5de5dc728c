"""Test how much memory a call takes."""

import tracemalloc

import numpy as np

from jaxsr.options import Options


def test_memory_is_the_result_and_a_few_tiles(exact):
    image = np.zeros((2048, 32, 3), np.float32)
    out = np.empty((8192, 128, 3), np.uint8)
    tracemalloc.start()
    exact.enlarge(image, out, Options(tile=32), seed=0)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 16 * 128 * 128 * 3 * 4  # bytes of sixteen enlarged tiles; the image as float would take 64


def test_what_a_call_takes_is_measured(channel):
    weights = sum(value.nbytes for value in channel.params.values())
    run, seconds, memory = channel.measure((40, 30), Options(tile=32), 3)
    assert (run.batch, run.plan.tile) == (2, (32, 32))
    assert seconds > 0
    assert memory > weights + 2 * 128 * 128 * 3 * 4
    assert memory < 1e9

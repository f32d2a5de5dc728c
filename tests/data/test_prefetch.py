"""Test that prefetching keeps the order of batches, works ahead, ends, and passes errors on."""

import itertools
import threading

import pytest

from jaxsr.data.prefetch import prefetch


def test_prefetch_keeps_order_works_ahead_and_stops():
    made, ready = [], threading.Event()

    def source():
        for i in itertools.count():
            made.append(i)
            if i == 2:
                ready.set()
            yield i

    batches = prefetch(source(), size=2)
    assert next(batches) == 0
    assert ready.wait(5)
    assert [next(batches) for _ in range(3)] == [1, 2, 3]
    batches.close()
    assert len(made) <= 6
    assert not any(t.name.startswith("prefetch") for t in threading.enumerate())
    assert list(prefetch(iter("abc"), size=5)) == ["a", "b", "c"]


def test_prefetch_carries_the_exception_after_the_batches_before_it():
    def source():
        yield 1
        raise OSError("disk is gone")

    batches = prefetch(source())
    assert next(batches) == 1
    with pytest.raises(OSError, match="disk is gone"):
        next(batches)
    with pytest.raises(ValueError, match="prefetch size is 0"):
        next(prefetch([1], size=0))

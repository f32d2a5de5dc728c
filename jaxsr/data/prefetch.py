"""Prefetching: a thread prepares items ahead of their use."""

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")


def prefetch(batches: Iterable[T], size: int = 2) -> Iterator[T]:
    """Yield the same items in order. A thread prepares up to `size` items ahead; its exceptions are raised here."""
    if size < 1:
        raise ValueError(f"prefetch size is {size}; use at least 1.")
    iterator = iter(batches)
    pool = ThreadPoolExecutor(1, thread_name_prefix="prefetch")
    try:
        ahead = deque(pool.submit(next, iterator) for _ in range(size))
        while True:
            try:
                item = ahead.popleft().result()
            except StopIteration:
                return
            ahead.append(pool.submit(next, iterator))
            yield item
    finally:
        pool.shutdown(wait=True, cancel_futures=True)

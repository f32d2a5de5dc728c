"""Reads the images of an evaluation batch by batch, in the order in which they are scored."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from jaxsr.data.photographs import image_sizes
from jaxsr.errors import IMAGE_FAILED
from jaxsr.evaluation.images import Loaded, load
from jaxsr.evaluation.pairs import Item
from jaxsr.evaluation.protocols import Protocol, ProtocolError

Read = tuple[Item, Loaded | str]
"""An item with its images, or with the reason why they could not be loaded."""


def by_size(items: Sequence[Item]) -> list[Item]:
    """Sort the items by the size in their files' headers, then by name. Unreadable files come first."""

    def size(item: Item) -> tuple[int, ...]:
        try:
            return image_sizes([item.target])[0] if isinstance(item.target, Path) else (0, 0)
        except IMAGE_FAILED:
            return (0, 0)

    return sorted(items, key=lambda item: (size(item), item.name))


def read(items: Sequence[Item], protocol: Protocol, size: int, *, make_lr: bool) -> Iterator[list[Read]]:
    """Yield `size` items at a time, each with its images or with the reason why they could not be loaded."""
    for start in range(0, len(items), size):
        chunk: list[Read] = []
        for item in items[start : start + size]:
            try:
                chunk.append((item, load(item, protocol, make_lr=make_lr)))
            except ProtocolError:
                raise
            except IMAGE_FAILED as error:
                chunk.append((item, reason(item.name, error)))
        yield chunk


def reason(name: str, error: BaseException) -> str:
    """Write a sentence that says why an image failed and names it."""
    text = str(error) or type(error).__name__
    return text if name in text.split(": ")[0] and ": " in text else f"{name}: {text}"

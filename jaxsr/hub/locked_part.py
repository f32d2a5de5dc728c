"""The file that a download writes to: locked against other processes, with a note about the source of its bytes."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from jaxsr.storage import remove_leftovers, temporary_folder


def note(part: Path) -> Path:
    """Return the path of the note that records the address and the version of the bytes in `part`."""
    return part.with_name(f"{part.name}.from")


@contextmanager
def locked_part(destination: Path) -> Iterator[Path]:
    """Open a context with the file to download into: `<name>.part`, kept for the next call.

    If another process writes to `<name>.part`, or if it or its note is a link, which somebody else may have planted in
    a shared folder, the file is in a hidden folder of this process instead. What killed processes have left of such
    folders is removed.
    """
    remove_leftovers(destination.parent)
    shared = destination.with_name(f"{destination.name}.part")
    lock = None if shared.is_symlink() or note(shared).is_symlink() else _lock(shared)
    if lock is None:
        with temporary_folder(destination.parent) as folder:
            part = folder / shared.name
            part.touch()
            yield part
        return
    try:
        yield shared
    finally:
        if _is_open_file(lock, shared) and shared.stat().st_size == 0:
            shared.unlink(missing_ok=True)
            note(shared).unlink(missing_ok=True)
        os.close(lock)


def _lock(path: Path) -> int | None:
    """Create and lock a file. Returns its descriptor, or None if another process holds the lock.

    A killed process leaves no lock.
    """
    try:
        import fcntl
    except ImportError:  # Windows
        return None
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        locked = _is_open_file(descriptor, path)
    except OSError:
        locked = False
    if not locked:
        os.close(descriptor)
    return descriptor if locked else None


def _is_open_file(descriptor: int, path: Path) -> bool:
    """Return whether `path` still names the open file. Another process may have renamed the file to its destination."""
    return path.exists() and os.path.samestat(os.fstat(descriptor), path.stat())

"""Locks on files to be written, so that two processes share one folder and never write one file twice.

A lock is one byte of the hidden file `.jaxsr.lock` in the folder, chosen by the file's name. The system frees the bytes
of a process that ends in any way, so no lock is ever stale; on file systems with POSIX locks it holds between machines
too. The last process removes the hidden file. (The package filelock leaves one file behind for each lock.)

On Windows, and on a file system without locks, every lock is granted.
"""

import errno
import hashlib
import os
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jax

from jaxsr.runtime.devices import broadcast

fcntl: Any
try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

NAME = ".jaxsr.lock"
_POLL = 0.2  # seconds between two looks at a lock of another process
_BYTES = 1 << 62
_TAKEN = (errno.EACCES, errno.EAGAIN)
_WITHOUT_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL)


class _Folder:
    """The open lock file of a folder. POSIX frees all locks of a process when it closes any descriptor of the file, so
    a process opens it once."""

    def __init__(self, path: Path) -> None:
        self.path, self.names, self.descriptor = path, set[str](), -1

    def open(self) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o666)

    def is_current(self) -> bool:
        """Return whether the path still names the open file. The last process of another run may have removed it."""
        try:
            return os.path.samestat(os.fstat(self.descriptor), os.stat(self.path, follow_symlinks=False))
        except FileNotFoundError:
            return False

    def close(self) -> None:
        os.close(self.descriptor)
        self.descriptor = -1


_folders: dict[Path, _Folder] = {}
_mutex = threading.Lock()


def try_lock(path: Path) -> bool:
    """Lock a file that is to be written, and return whether that succeeded; False if anybody holds its lock.

    Creates missing folders. Raises OSError if the folder cannot be written to.
    """
    if fcntl is None:
        return True
    with _mutex:
        folder = _folders.setdefault(path.parent.resolve(), _Folder(path.parent.resolve() / NAME))
        try:
            return path.name not in folder.names and _take(folder, path.name)
        finally:
            if not folder.names:
                _leave(folder)


def _take(folder: _Folder, name: str) -> bool:
    while True:
        if folder.descriptor < 0:
            folder.open()
        try:
            fcntl.lockf(folder.descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, _place(name))
        except OSError as error:
            if error.errno in _TAKEN:
                return False
            if error.errno not in _WITHOUT_LOCKS:
                raise
        if folder.names or folder.is_current():
            folder.names.add(name)
            return True
        folder.close()


def unlock(path: Path) -> None:
    """Free a file that this process has locked."""
    if fcntl is None:
        return
    with _mutex:
        folder = _folders[path.parent.resolve()]
        folder.names.remove(path.name)
        if folder.names:
            fcntl.lockf(folder.descriptor, fcntl.LOCK_UN, 1, _place(path.name))
        else:
            _leave(folder)


def _leave(folder: _Folder) -> None:
    """Close the lock file of a folder where this process holds no lock, and remove it unless another process does."""
    del _folders[folder.path.parent]
    if folder.descriptor < 0:
        return
    try:
        fcntl.lockf(folder.descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if folder.is_current():
            folder.path.unlink()
    except OSError:  # another process holds a lock, or the folder is gone
        pass
    folder.close()


def _place(name: str) -> int:
    return int.from_bytes(hashlib.sha256(os.fsencode(name)).digest()[:8]) % _BYTES


@contextmanager
def locked(path: Path, refusal: str) -> Iterator[None]:
    """Hold the lock of a file in process 0, for all processes of a run.

    Raises ValueError with the text `refusal`, in all processes, if another run holds it.
    """
    mine = jax.process_index() == 0 and try_lock(path)
    if not broadcast(b"mine" if mine else b""):
        raise ValueError(refusal)
    try:
        yield
    finally:
        if mine:
            unlock(path)


class Turns:
    """Turns at files that other processes may be writing. Those that another process holds come last.

    A process that waited for others while it holds files of its own could wait for ever, so it works in rounds:

        while turns.wait():
            for number in turns:
                ...  # begin to write the file
            ...  # end, and `free` each

    What the other process has written meanwhile is for the caller to find. Use it as a context, whose end frees all.
    """

    def __init__(self, paths: Sequence[Path]) -> None:
        self._paths, self._held, self._left = paths, set[int](), [*range(len(paths))]

    def wait(self) -> bool:
        """Wait until no other process holds some path that is left. Return False if none is left.

        Raises RuntimeError if this process still holds a path.
        """
        if self._held:
            raise RuntimeError(f"{self._paths[min(self._held)]} must be freed before the wait for other processes")
        while self._left:
            for number in self._left:
                try:
                    if not try_lock(self._paths[number]):
                        continue
                    unlock(self._paths[number])
                except OSError:  # see __iter__
                    pass
                return True
            time.sleep(_POLL)
        return False

    def __iter__(self) -> Iterator[int]:
        """Yield the number of every path that is left and that no other process holds. It is held until `free`."""
        for number in [*self._left]:
            try:
                if not try_lock(self._paths[number]):
                    continue
                self._held.add(number)
            except OSError:  # the folder cannot be written to, which the caller finds out with a better message
                pass
            self._left.remove(number)
            yield number

    def free(self, number: int) -> None:
        """Let other processes write a path."""
        if number in self._held:
            self._held.remove(number)
            unlock(self._paths[number])

    def __enter__(self) -> "Turns":
        return self

    def __exit__(self, *error: object) -> None:
        for number in [*self._held]:
            self.free(number)

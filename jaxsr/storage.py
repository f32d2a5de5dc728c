"""Files that appear whole or not at all, what killed processes leave of them, hashes, and the cache folder."""

import errno
import hashlib
import os
import platform
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_tidied: set[Path] = set()
"""The folders from which this process has removed what killed processes left."""


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Yield a hidden path in the same folder for writing, and rename it to `path` unless an error occurs.

    Missing folders are created. The bytes are flushed to the disk before the rename, so that a power cut leaves either
    the old file or the new one. Raises OSError, which names `path`, if the file cannot be written.
    """
    with temporary_folder(path.parent) as folder:
        part = folder / "part"
        try:
            yield part
            with part.open("r+b") as file:
                os.fsync(file.fileno())
            os.replace(part, path)
        except OSError as error:
            if error.filename in (None, str(part), part):  # a write to an open file names none, such as on a full disk
                error.filename = str(path)
            raise


@contextmanager
def temporary_folder(parent: Path) -> Iterator[Path]:
    """Yield a hidden folder of this process in `parent`, so on the same disk, and remove it with all it holds.

    Missing folders are created. The folder's name tells `remove_leftovers` who owns it, which this function calls when
    it first sees a parent.
    """
    parent.mkdir(parents=True, exist_ok=True)
    if (place := parent.resolve()) not in _tidied:
        _tidied.add(place)
        remove_leftovers(parent)
    folder = Path(tempfile.mkdtemp(prefix=f"{_prefix()}{os.getpid()}.", suffix=".tmp", dir=parent))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def remove_leftovers(folder: Path) -> None:
    """Remove the temporary folders of killed processes. Those of running processes and of other machines stay."""
    for path in folder.iterdir() if folder.is_dir() else ():
        owner = re.fullmatch(rf"{re.escape(_prefix())}(\d{{1,9}})\..*\.tmp", path.name)
        if owner and _is_gone(int(owner[1])):
            shutil.rmtree(path, ignore_errors=True)


def _prefix() -> str:
    """Return the start of the names of this machine's temporary folders. Containers count their processes apart."""
    try:
        space = f"-{os.stat('/proc/self/ns/pid').st_ino}"
    except OSError:
        space = ""
    return f".jaxsr-{platform.node()}{space}."


def _is_gone(process: int) -> bool:
    if os.name != "posix":  # on other systems, signal 0 does more than test for the process
        return False
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return True
    except OSError:  # the process belongs to another user
        pass
    return False


def write_whole(path: Path, content: str | bytes) -> None:
    """Write text (as UTF-8) or bytes to a file, which appears whole or not at all; see `whole_file`.

    Bytes of a file's name that are no text are written as `\\udc` and two hexadecimal digits.
    """
    with whole_file(path) as part:
        part.write_bytes(content.encode(errors="backslashreplace") if isinstance(content, str) else content)


def part_file(path: Path) -> Path:
    """Return the file of the journal of a stopped run, beside the file `path` that the run makes."""
    return path.with_name(f"{path.name}.part")


def sha256_file(path: Path) -> str:
    """Compute the SHA-256 of a file's bytes, as 64 lower-case hexadecimal digits."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def cache_dir() -> Path:
    """Return the folder for downloads and compiled programs.

    It is JAXSR_CACHE_DIR, else XDG_CACHE_HOME/jaxsr, else ~/.cache/jaxsr. Raises OSError for a user without a home.
    """
    try:
        if folder := os.environ.get("JAXSR_CACHE_DIR"):
            return Path(folder).expanduser()
        return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "jaxsr"
    except RuntimeError as error:
        raise OSError(errno.ENOENT, "this user has no home folder; set JAXSR_CACHE_DIR to a folder") from error

"""Files that appear whole or not at all, hashes of files, and the cache folder."""

import errno
import hashlib
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Yield a hidden path in the same folder for writing, and rename it to `path` unless an error occurs.

    Missing folders are created. The bytes are flushed to the disk before the rename, so that a power cut leaves either
    the old file or the new one. Raises OSError if the file cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{uuid.uuid4().hex}.tmp")
    try:
        yield part
        with part.open("r+b") as file:
            os.fsync(file.fileno())
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def write_whole(path: Path, content: str | bytes) -> None:
    """Write text (as UTF-8) or bytes to a file, which appears whole or not at all; see `whole_file`."""
    with whole_file(path) as part:
        part.write_bytes(content.encode() if isinstance(content, str) else content)


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

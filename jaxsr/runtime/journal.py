"""The journal of a run: JSON lines in a file beside the unfinished result, so that a killed run can be resumed.

Every line begins with the CRC-32 of its JSON in 8 hexadecimal digits, so that a damaged line is known and measured
again.
"""

import glob
import json
import os
import sys
import zlib
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import jax

from jaxsr.plain_data import parse_json
from jaxsr.runtime.devices import broadcast
from jaxsr.runtime.locks import locked, try_lock, unlock
from jaxsr.storage import write_whole


class JournalFile:
    """A journal: the JSON lines of the file `path`, after a header with all choices of the run.

    Process 0 reads the file, and locks it against other runs until `close`, or the end of a `with`. All processes hold
    the same lines. Process 0 alone writes the file, unless each process writes lines of its own: then process I writes
    the file `path`.I, and the next run moves its lines into `path`. It does so with journals of that name too, which
    hold a shard of the same run.

    Attributes:
        found: the lines of the stopped run, without the header; empty for a new run.
    """

    def __init__(
        self, path: Path, choices: Mapping[str, Any], *, what: str, overwrite: bool = False, each: bool = False
    ) -> None:
        """Read the lines of a stopped run, or start a new file. One line on stderr counts damaged lines, left out.

        Args:
            path: the file.
            choices: all choices of the run, as JSON values by name.
            what: kind of the run, for the error message.
            overwrite: start a new file if the existing one has other choices.
            each: each process writes its own lines, in a folder that all of them see.
        Raises:
            ValueError: for a file with other choices, unless `overwrite` is set; for a file that another run writes to.
        """
        self._path, self._choices = path, json.loads(json.dumps(choices))
        self._first, self._each = jax.process_index() == 0, each
        refusal = f"{path}: another {what} is writing it; wait for its end, or give another --output."
        with ExitStack() as stack:
            stack.enter_context(locked(path, refusal))
            moved = self._move_lines(what, overwrite=overwrite) if self._first and each else ""
            if wrong := broadcast(moved.encode()).decode():
                raise ValueError(wrong)
            self.found = self._read(what, overwrite=overwrite)
            self._lock = stack.pop_all()
        self._own = path if self._first else path.with_name(f"{path.name}.{jax.process_index()}")

    def _move_lines(self, what: str, *, overwrite: bool) -> str:
        """Append the whole lines of `path`.1, `path`.2 and so on to `path`, and remove those files.

        They are of other processes of a stopped run, or of its shards, which have a header each. Returns what forbids
        to take a shard over, or "".
        """
        for file in sorted(self._path.parent.glob(f"{glob.escape(self._path.name)}.[0-9]*")):
            if not try_lock(file):
                return f"{file}: another {what} is writing it; wait for its end."
            try:
                content = file.read_bytes()
                content = content[: content.rfind(b"\n") + 1]
                header, _, rest = content.partition(b"\n")
                if isinstance(found := _parse(header), dict) and found.keys() == {"choices"}:
                    if difference := self._difference(header):
                        if not overwrite:
                            return self._refusal(file, what, difference)
                        rest = b""
                    elif not self._path.exists():
                        write_whole(self._path, _line(found))
                    content = rest
                if self._path.exists():
                    self._append(self._path, content)
                file.unlink()
            finally:
                unlock(file)
        return ""

    def _refusal(self, file: Path, what: str, difference: str) -> str:
        return (
            f"{file}: holds a stopped {what} with {difference}; give its choices to resume it, or --overwrite to start "
            "again."
        )

    def _read(self, what: str, *, overwrite: bool) -> list[dict[str, Any]]:
        content = broadcast(self._path.read_bytes() if self._first and self._path.exists() else b"")
        content = content[: content.rfind(b"\n") + 1]  # drops a line that the run was writing when it was killed
        lines = content.splitlines(keepends=True)
        if lines and (difference := self._difference(lines[0])):
            if not overwrite:
                raise ValueError(self._refusal(self._path, what, difference))
            lines = []
        whole = {line: found for line in lines[1:] if isinstance(found := _parse(line), dict)}
        if self._first:
            if not lines:
                write_whole(self._path, _line({"choices": self._choices}))
            elif damaged := len(lines) - 1 - sum(line in whole for line in lines[1:]):
                note = f"note: {self._path}: {damaged} damaged lines are left out, and what they held is measured again"
                print(note, file=sys.stderr)
                write_whole(self._path, b"".join([lines[0], *(line for line in lines[1:] if line in whole)]))
            else:
                os.truncate(self._path, len(content))
        return [whole[line] for line in lines[1:] if line in whole]

    def _difference(self, header: bytes) -> str:
        """Describe how the choices in a file's header differ from this run's. Returns "" if they are equal."""
        stored = _parse(header)
        if not isinstance(stored, dict) or not isinstance(stored := stored.get("choices"), dict):
            return "another format, or a damaged first line"
        ours = self._choices
        return ", ".join(f"another {key}" for key in ours | stored if ours.get(key) != stored.get(key))

    def write(self, lines: Sequence[Mapping[str, Any]]) -> None:
        """Append lines to the file, and flush them to the disk. Raises OSError, which names the file."""
        if self._first or self._each:
            self._append(self._own, b"".join(map(_line, lines)))

    def _append(self, path: Path, content: bytes) -> None:
        try:
            with path.open("ab") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise OSError(error.errno, f"{error.strerror}; make room and run the same again", str(path)) from error

    def remove(self) -> None:
        """Delete the file. Call this when the result has been written."""
        if self._first or self._each:
            self._own.unlink(missing_ok=True)

    def close(self) -> None:
        """Let other runs write to the file. It stays unless `remove` has deleted it."""
        self._lock.close()

    def __enter__(self) -> "JournalFile":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


def _line(content: Mapping[str, Any]) -> bytes:
    data = json.dumps(content).encode()
    return b"%08x %s\n" % (zlib.crc32(data), data)


def _parse(line: bytes) -> Any:
    """Return the content of a line; None for a damaged one."""
    checksum, _, data = line.rstrip(b"\n").partition(b" ")
    try:
        return parse_json(data) if int(checksum, 16) == zlib.crc32(data) else None
    except ValueError:
        return None

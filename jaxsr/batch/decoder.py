"""Photographs decoded by a process of their own, so that a picture that ends its decoder does not end the batch.

The system ends a process that takes more memory than there is, and damaged data can crash a decoder's library. The
process starts with the first picture, in a third of a second, and anew after each end. It ends with this process,
because its input ends then.
"""

import os
import pickle
import signal
import struct
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

from jaxsr.imaging.files import Photo, is_pipe, read_decoded, to_photo
from jaxsr.imaging.pixels import ImageFileError

_SIZE = struct.Struct("<Q")
_CODE = "from jaxsr.batch.decoder import serve; serve()"


class DecoderProcess:
    """Reads photographs in another process, as `jaxsr.imaging.files.read_photo` does. Use it as a context.

    Pictures of more than `most_pixels` (None: the limit of `jaxsr.imaging.decode`) are refused by their header.
    """

    def __init__(self, most_pixels: int | None = None) -> None:
        self._most_pixels = most_pixels
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> "DecoderProcess":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def read(self, path: Path) -> Photo:
        """Read a photograph. Raises what `read_photo` raises, and ImageFileError if the process ended meanwhile."""
        source = os.fspath(path)
        if not path.is_file() or is_pipe(source):
            # A pipe gives its bytes only once, and perhaps only to this process.
            return to_photo(read_decoded(source, self._most_pixels), source)
        try:
            found = self._ask(source)
        except (EOFError, OSError) as error:
            self.close()
            raise ImageFileError(
                f"{source}: the process that decoded it has ended, as happens when memory is short; cut it into parts, "
                "or copy it again if it is small"
            ) from error
        except BaseException:  # an answer that nobody has read must not become that of the next picture
            self.close()
            raise
        if isinstance(found, Exception):
            raise found
        return to_photo(found, source)

    def _ask(self, source: str) -> Any:
        if self._process is None:
            command = [sys.executable, "-c", _CODE]
            self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        sent, received = self._process.stdin, self._process.stdout
        assert sent is not None
        assert received is not None
        _send(sent, (source, self._most_pixels))
        return _receive(received)

    def close(self) -> None:
        """End the process. The next read starts another."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            for pipe in (process.stdin, process.stdout):
                with suppress(OSError):  # bytes that the process did not take
                    if pipe is not None:
                        pipe.close()
            process.wait()


def serve() -> None:
    """Decode the files whose names come on stdin, and answer on stdout, until stdin ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that waits
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000")  # of two processes, the system shall end this one
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a library prints is no answer
    while True:
        try:
            source, most_pixels = _receive(sys.stdin.buffer)
        except EOFError:
            return
        try:
            found: Any = read_decoded(source, most_pixels)
        except Exception as error:
            found = error
        _send(answers, found)


def _send(pipe: IO[bytes], content: Any) -> None:
    """Write an object with its arrays, which are not copied."""
    arrays: list[pickle.PickleBuffer] = []
    whole = pickle.dumps(content, protocol=5, buffer_callback=arrays.append)
    parts: list[Any] = [whole, *(array.raw() for array in arrays)]
    pipe.write(_SIZE.pack(len(parts)) + b"".join(_SIZE.pack(len(part)) for part in parts))
    for part in parts:
        pipe.write(part)
    pipe.flush()


def _receive(pipe: IO[bytes]) -> Any:
    """Read what `_send` wrote. Raises EOFError if the other process has ended."""
    (count,) = _SIZE.unpack(_read(pipe, _SIZE.size))
    sizes = [_SIZE.unpack(_read(pipe, _SIZE.size))[0] for _ in range(count)]
    content, *arrays = (_read(pipe, size) for size in sizes)
    return pickle.loads(content, buffers=arrays)


def _read(pipe: IO[bytes], size: int) -> bytearray:
    data = bytearray(size)
    view, done = memoryview(data), 0
    while done < size:
        count = pipe.readinto(view[done:])  # pyright: ignore[reportAttributeAccessIssue]
        if not count:
            raise EOFError
        done += count
    return data

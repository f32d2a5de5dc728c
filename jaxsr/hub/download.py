"""Downloads that are complete or absent: resumed after an interruption, checked, and renamed into place at the end.

The code uses only the standard library, because no well-maintained library does all of this. Pooch verifies and renames
but restarts from zero, and huggingface_hub resumes only from its own hub.
"""

import http.client
import os
import re
import shutil
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TimeRemainingColumn, TransferSpeedColumn

from jaxsr.hub.locked_part import locked_part, note
from jaxsr.storage import sha256_file

_ATTEMPTS = 4
_BACKOFF = 0.5  # seconds before the first retry; doubles with each retry
_TIMEOUT = 30.0  # seconds without a byte
_BLOCK = 1 << 18
MOST_BYTES = 20 * 10**9
"""The most bytes from a server that says no length, for a file of unknown size."""
_RETRY_STATUS = frozenset({408, 416, 425, 429, 500, 502, 503, 504})  # worth another try (416: from zero)

Report = Callable[[int, int | None], None]  # (bytes so far, bytes in all if known)


class DownloadError(OSError):
    """A failed download. The message names the addresses and the destination, and says what to do."""


class ChecksumError(DownloadError):
    """A file with the wrong size or the wrong SHA-256."""


class _AttemptError(Exception):
    """One failed request. `retry` says whether the same address is worth another try."""

    def __init__(self, reason: str, *, retry: bool, checksum: bool = False) -> None:
        super().__init__(reason)
        self.retry, self.checksum = retry, checksum


def fetch(
    urls: str | Sequence[str],
    destination: Path,
    *,
    sha256: str | None = None,
    size: int | None = None,
    console: Console | None = None,
) -> Path:
    """Download a file to `destination`, unless the right file is already there, and return `destination`.

    The addresses hold the same file. They are tried in turn, each a few times. The bytes go to `<name>.part` beside the
    destination. The next call resumes from this file, even after a killed process, if the server still has the same
    version (ETag or Last-Modified). `os.replace` renames the file to the destination once its length and, if given,
    its `size` (bytes) and `sha256` (all 64 digits, or `first...last`) are right.

    The `.part` file is locked while it is written. A process that finds it locked (or that runs on a system without
    flock) downloads into a file of its own instead, so that two processes never write to one file.

    A progress bar with the rate is drawn on `console` (default: stderr) if the console is a terminal. JAXSR_OFFLINE=1
    in the environment forbids downloads. Raises DownloadError (an OSError), or its subclass ChecksumError.
    """
    addresses = (urls,) if isinstance(urls, str) else tuple(urls)
    if destination.exists():
        if problem := _mismatch(destination, sha256, size):
            raise ChecksumError(f"{destination} is not the right file ({problem}): delete it to download it again")
        return destination
    by_hand = f"download it by hand, put it at {destination} and run this again"
    if os.environ.get("JAXSR_OFFLINE", "0") not in ("", "0"):
        raise DownloadError(f"JAXSR_OFFLINE forbids the download of {' or '.join(addresses)}: unset it, or {by_hand}")
    failures: list[tuple[str, _AttemptError]] = []
    try:
        destination.parent.mkdir(parents=True, exist_ok=True)
        with locked_part(destination) as part, _progress_bar(destination.name, console) as report:
            for url in addresses:
                try:
                    _fetch_from(url, part, sha256, size, report)
                except _AttemptError as failure:
                    failures.append((url, failure))
                    continue
                note(part).unlink()
                os.replace(part, destination)
                return destination
    except OSError as error:
        raise DownloadError(f"cannot write {destination} ({error}): free the disk or use another folder") from error
    kind = ChecksumError if failures[-1][1].checksum else DownloadError
    raise kind(f"could not download {'; '.join(f'{url} ({failure})' for url, failure in failures)}: {by_hand}")


def _mismatch(path: Path, sha256: str | None, size: int | None) -> str | None:
    actual_size = path.stat().st_size
    if size is not None and actual_size != size:
        return f"it has {actual_size} bytes instead of {size}"
    if sha256 is not None and not is_sha256(actual := sha256_file(path), sha256):
        return f"its sha256 is {actual} instead of {sha256.lower()}"
    return None


def is_sha256(actual: str, expected: str) -> bool:
    """Return whether a SHA-256 is the expected one, of which only the digits `first...last` may be known."""
    first, dots, last = expected.lower().partition("...")
    return actual.startswith(first) and actual.endswith(last) if dots else actual == first


def _fetch_from(url: str, part: Path, sha256: str | None, size: int | None, report: Report) -> None:
    """Fill `part` from one address, with retries, and check it. Raises the last _AttemptError."""
    for attempt in range(_ATTEMPTS):
        try:
            resumed = _transfer(url, part, report, size, checked=size is not None or sha256 is not None)
            if problem := _mismatch(part, sha256, size):
                os.truncate(part, 0)
                # Only bytes joined from two transfers deserve a fresh start: a whole transfer would give them again.
                raise _AttemptError(problem, retry=resumed, checksum=True)
            return
        except _AttemptError as failure:
            if not failure.retry or attempt == _ATTEMPTS - 1:
                raise
        time.sleep(_BACKOFF * 2**attempt)


def _resume_point(part: Path, url: str) -> tuple[int, str | None]:
    """Return the number of bytes in `part` from this address, and their version; (0, None) if they are unusable."""
    try:
        noted_url, _, validator = note(part).read_text(encoding="utf-8").partition("\n")
    except (OSError, UnicodeDecodeError):
        return 0, None
    return (part.stat().st_size, validator) if noted_url == url and validator else (0, None)


def _transfer(url: str, part: Path, report: Report, size: int | None, *, checked: bool) -> bool:
    """Make one request and append its bytes to `part` where that is safe; returns whether it resumed."""
    offset, validator = _resume_point(part, url)
    with _request(url, part, offset, validator) as response:
        resumed = response.status == 206
        start, total = _content_span(response)
        if resumed and (start != offset or _validator(response) not in (None, validator)):
            os.truncate(part, 0)
            raise _AttemptError("the file changed on the server during the download", retry=True)
        if total is not None and total - start > shutil.disk_usage(part.parent).free:
            raise _AttemptError(f"the file has {total} bytes, and the disk has less room", retry=False)
        if size is not None and total not in (None, size):
            raise _AttemptError(f"the server has {total} bytes instead of {size}", retry=False, checksum=True)
        if total is None and not response.chunked and not checked:
            raise _AttemptError("the server does not say how long the file is, so it cannot be checked", retry=False)
        os.truncate(part, start)  # before the new validator is written: old bytes must never be paired with it
        note(part).write_text(f"{url}\n{_validator(response) or ''}", encoding="utf-8")
        room = start + shutil.disk_usage(part.parent).free
        received = _write_body(response, part, start, total, report, size or total or min(MOST_BYTES, room))
    if total is not None and received != total:
        raise _AttemptError(f"the connection closed after {received} of {total} bytes", retry=True)
    return resumed


def _write_body(
    response: http.client.HTTPResponse, part: Path, start: int, total: int | None, report: Report, most: int
) -> int:
    """Append the body to `part`. Returns the length reached, less than `total` if the connection closed early.

    A server that says no length could fill the disk. It may send `most` bytes.
    """
    received = start
    with open(part, "ab") as file:
        report(received, total)
        while received != total:
            block = _read(response)
            if not block:
                break
            received += len(block)
            if received > most:
                os.truncate(part, 0)
                raise _AttemptError(f"the server sends more than {most} bytes", retry=False, checksum=True)
            file.write(block)
            report(received, total)
        file.flush()
        os.fsync(file.fileno())
    return received


class _SafeRedirects(urllib.request.HTTPRedirectHandler):
    """Follows redirects, but not from https to an address that anybody on the way can answer for."""

    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Any:
        if req.full_url.lower().startswith("https:") and not newurl.lower().startswith("https:"):
            raise ValueError(f"it redirects from https to {newurl}, which is not safe")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


_OPENER = urllib.request.build_opener(_SafeRedirects)


def _request(url: str, part: Path, offset: int, validator: str | None) -> http.client.HTTPResponse:
    """Request the file, or only the bytes from `offset` on if its version is still `validator`."""
    headers = {"User-Agent": "jaxsr", "Accept-Encoding": "identity"}
    if offset and validator:
        headers |= {"Range": f"bytes={offset}-", "If-Range": validator}
    try:
        return _OPENER.open(urllib.request.Request(url, headers=headers), timeout=_TIMEOUT)
    except urllib.error.HTTPError as error:
        with error:  # closes the connection
            if error.code == 416:  # `part` is longer than the file on the server
                os.truncate(part, 0)
            raise _AttemptError(f"HTTP {error.code} {error.reason}", retry=error.code in _RETRY_STATUS) from error
    except (OSError, http.client.HTTPException) as error:
        raise _AttemptError(_reason(error), retry=True) from error
    except ValueError as error:
        raise _AttemptError(str(error), retry=False) from error


def _read(response: http.client.HTTPResponse) -> bytes:
    try:
        return response.read1(_BLOCK)
    except (OSError, http.client.HTTPException) as error:
        raise _AttemptError(_reason(error), retry=True) from error


def _reason(error: Exception) -> str:
    cause = error.reason if isinstance(error, urllib.error.URLError) else error
    return f"no answer within {_TIMEOUT:g} s" if isinstance(cause, TimeoutError) else str(cause) or type(cause).__name__


def _content_span(response: http.client.HTTPResponse) -> tuple[int, int | None]:
    """Return where the body starts in the file, and the length of the whole file if the server gives it."""
    if response.status != 206:
        length = response.headers["Content-Length"]
        return 0, int(length) if length and length.isdecimal() else None
    match = re.fullmatch(r"bytes (\d+)-\d+/(\d+)", response.headers["Content-Range"] or "")
    return (int(match[1]), int(match[2])) if match else (-1, None)


def _validator(response: http.client.HTTPResponse) -> str | None:
    """Return the version of the file on the server, for If-Range: a strong ETag, else the date of its last change."""
    etag = response.headers["ETag"]
    return etag if etag and not etag.startswith("W/") else response.headers["Last-Modified"]


@contextmanager
def _progress_bar(name: str, console: Console | None) -> Iterator[Report]:
    console = console or Console(stderr=True)
    columns = (BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    with Progress("{task.description}", *columns, console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task(name, total=None)
        yield lambda received, total: progress.update(task, completed=received, total=total)

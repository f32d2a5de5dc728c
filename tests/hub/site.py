"""Serve a local site that can truncate, ignore ranges, stall, fail, and change its file between requests."""

import hashlib
import re
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler

import numpy as np

BODY = np.random.default_rng(0).bytes(700_001)
OTHER = np.random.default_rng(1).bytes(700_001)


def sha256_of(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()


@dataclass
class Site:
    """The behaviour of the server. `cut` holds, per request, how many body bytes it sends before it hangs up."""

    address: str = ""
    body: bytes = BODY
    etag: str | None = '"1"'
    ranges: bool = True
    checks_if_range: bool = True
    states_length: bool = True
    statuses: list[int] = field(default_factory=list)
    cut: list[int] = field(default_factory=list)
    stall: float = 0.0  # seconds of silence before it hangs up
    seen: list[tuple[str, str | None, int]] = field(default_factory=list)  # path, Range, status

    @property
    def url(self) -> str:
        return f"{self.address}/file.bin"


def handler_of(site: Site) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def log_message(self, format, *args):
            pass

        def do_GET(self):
            status = site.statuses.pop(0) if site.statuses else 200
            if self.path == "/moved":
                status = 302
            start = self._start() if status == 200 else 0
            if start:
                status = 206 if start < len(site.body) else 416
            site.seen.append((self.path, self.headers["Range"], status))
            self.send_response(status)
            if status == 302:
                self.send_header("Location", "/file.bin")
            if status in (200, 206):
                self._send_file(start)
            else:
                self.send_header("Content-Length", "0")
                self.end_headers()

        def _start(self) -> int:
            condition = self.headers["If-Range"]
            if not site.ranges or (site.checks_if_range and condition and condition != site.etag):
                return 0
            return int(re.fullmatch(r"bytes=(\d+)-", self.headers["Range"] or "bytes=0-")[1])

        def _send_file(self, start: int) -> None:
            rest = site.body[start:]
            if site.etag:
                self.send_header("ETag", site.etag)
            if start:
                self.send_header("Content-Range", f"bytes {start}-{len(site.body) - 1}/{len(site.body)}")
            if site.states_length:
                self.send_header("Content-Length", str(len(rest)))
            cut = site.cut.pop(0) if site.cut else len(rest)  # popped before the client sees the header and asks again
            self.end_headers()
            try:
                self.wfile.write(rest[:cut])
                self.wfile.flush()
                if cut < len(rest):
                    time.sleep(site.stall)
            except ConnectionError:
                pass  # the client went away

    return Handler


def assert_only(target, body: bytes) -> None:
    assert target.read_bytes() == body
    assert list(target.parent.iterdir()) == [target]

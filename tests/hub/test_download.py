"""Downloads from a local server that truncates, ignores ranges, stalls, fails and changes the file in between."""

import fcntl
import hashlib
import io
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
from rich.console import Console

from jaxsr.hub import download
from jaxsr.hub.download import ChecksumError, DownloadError, fetch

BODY = np.random.default_rng(0).bytes(700_001)
OTHER = np.random.default_rng(1).bytes(700_001)


def _sha256(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()


@dataclass
class Site:
    """What the server does. `cut` holds, per request, how many body bytes it sends before it hangs up."""

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


def _handler(site: Site) -> type[BaseHTTPRequestHandler]:
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
            cut = site.cut.pop(0) if site.cut else len(rest)  # before the client can answer the header and ask again
            self.end_headers()
            try:
                self.wfile.write(rest[:cut])
                self.wfile.flush()
                if cut < len(rest):
                    time.sleep(site.stall)
            except ConnectionError:
                pass  # the client went away

    return Handler


@pytest.fixture
def start_site(monkeypatch) -> Iterator[Callable[..., Site]]:
    monkeypatch.setattr(download, "_BACKOFF", 0.01)
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.delenv("JAXSR_OFFLINE", raising=False)
    servers = []

    def start(**behaviour) -> Site:
        site = Site(**behaviour)
        server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(site))
        site.address = f"http://127.0.0.1:{server.server_port}"
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        servers.append(server)
        return site

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def _assert_only(target, body: bytes) -> None:
    assert target.read_bytes() == body
    assert list(target.parent.iterdir()) == [target]


def test_whole_file_in_a_new_folder(start_site, tmp_path):
    site = start_site()
    target = tmp_path / "new" / "file.bin"
    assert fetch(site.url, target, sha256=_sha256(BODY).upper(), size=len(BODY)) == target
    _assert_only(target, BODY)
    assert site.seen == [("/file.bin", None, 200)]


def test_truncated_response_goes_on_by_range_also_through_a_redirect(start_site, tmp_path):
    site = start_site(cut=[300_000, 1000])
    fetch(f"{site.address}/moved", tmp_path / "f")
    _assert_only(tmp_path / "f", BODY)
    assert [(byte_range, status) for path, byte_range, status in site.seen if path == "/file.bin"] == [
        (None, 200),
        ("bytes=300000-", 206),
        ("bytes=301000-", 206),
    ]


def test_truncated_response_never_becomes_the_target(start_site, tmp_path):
    site = start_site(ranges=False, cut=[300_000] * 100)
    with pytest.raises(DownloadError, match=rf"closed after 300000 of {len(BODY)} bytes"):
        fetch(site.url, tmp_path / "f")
    assert not (tmp_path / "f").exists()
    assert len(site.seen) == download._ATTEMPTS
    assert (tmp_path / "f.part").read_bytes() == BODY[:300_000]


@pytest.mark.parametrize("behaviour", [{"ranges": False}, {"etag": None}, {"etag": 'W/"1"'}])
def test_starts_again_where_resuming_is_not_possible(start_site, tmp_path, behaviour):
    site = start_site(cut=[300_000], **behaviour)
    fetch(site.url, tmp_path / "f")
    _assert_only(tmp_path / "f", BODY)
    assert [status for _, _, status in site.seen] == [200, 200]


@pytest.mark.parametrize("checks_if_range", [True, False])
def test_file_that_changed_in_between_is_not_mixed(start_site, tmp_path, checks_if_range):
    site = start_site(cut=[300_000] * 4, ranges=False, checks_if_range=checks_if_range)
    with pytest.raises(DownloadError):
        fetch(site.url, tmp_path / "f")
    site.body, site.etag, site.ranges = OTHER, '"2"', True
    fetch(site.url, tmp_path / "f")
    _assert_only(tmp_path / "f", OTHER)
    assert site.seen[4][1] == "bytes=300000-"
    assert [status for _, _, status in site.seen[4:]] == ([200] if checks_if_range else [206, 200])


def test_wrong_bytes_under_the_same_etag_are_fetched_afresh_when_the_hash_says_so(start_site, tmp_path):
    site = start_site(cut=[300_000] * 4, ranges=False)
    with pytest.raises(DownloadError):
        fetch(site.url, tmp_path / "f")
    site.body, site.ranges = OTHER, True
    fetch(site.url, tmp_path / "f", sha256=_sha256(OTHER))
    _assert_only(tmp_path / "f", OTHER)
    assert [status for _, _, status in site.seen[4:]] == [206, 200]


def test_part_file_longer_than_the_file(start_site, tmp_path):
    site = start_site(body=BODY[:1000])
    (tmp_path / "f.part").write_bytes(BODY[:2000])
    (tmp_path / "f.part.from").write_text(f'{site.url}\n"1"')
    fetch(site.url, tmp_path / "f")
    _assert_only(tmp_path / "f", BODY[:1000])
    assert [status for _, _, status in site.seen] == [416, 200]


def test_part_file_of_unknown_origin_is_not_used(start_site, tmp_path):
    site = start_site()
    (tmp_path / "f.part").write_bytes(OTHER[:1000])
    fetch(site.url, tmp_path / "f")
    _assert_only(tmp_path / "f", BODY)


def test_killed_process_is_resumed_by_the_next(start_site, tmp_path):
    site = start_site(cut=[500_000], stall=20)
    code = "import sys; from pathlib import Path; from jaxsr.hub.download import fetch; "
    code += "fetch(sys.argv[1], Path(sys.argv[2]))"
    process = subprocess.Popen([sys.executable, "-c", code, site.url, str(tmp_path / "f")])
    part = tmp_path / "f.part"
    deadline = time.monotonic() + 30
    while not (part.exists() and part.stat().st_size) and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    size = part.stat().st_size
    assert 0 < size <= 500_000
    fetch(site.url, tmp_path / "f")
    _assert_only(tmp_path / "f", BODY)
    assert site.seen[-1] == ("/file.bin", f"bytes={size}-", 206)


def test_second_process_does_not_touch_the_part_file_of_the_first(start_site, tmp_path):
    part = tmp_path / "f.part"
    part.write_bytes(b"the other process")
    with open(part, "rb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)  # a lock belongs to the open file, so it holds against this process too
        fetch(start_site(cut=[1000]).url, tmp_path / "f")
        assert (tmp_path / "f").read_bytes() == BODY
        assert part.read_bytes() == b"the other process"
        assert len(list(tmp_path.iterdir())) == 2


def test_simultaneous_downloads_of_one_file(start_site, tmp_path):
    site = start_site(cut=[200_000] * 4, stall=0.05)
    threads = [threading.Thread(target=fetch, args=(site.url, tmp_path / "f")) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    _assert_only(tmp_path / "f", BODY)


def test_mirrors_in_turn(start_site, tmp_path):
    broken, wrong, good = start_site(statuses=[404] * 9), start_site(body=OTHER), start_site()
    fetch([broken.url, wrong.url, good.url], tmp_path / "f", sha256=_sha256(BODY))
    _assert_only(tmp_path / "f", BODY)
    assert [len(site.seen) for site in (broken, wrong, good)] == [1, 1, 1]


def test_a_mirror_does_not_go_on_from_the_bytes_of_another(start_site, tmp_path):
    first, second = start_site(cut=[300_000] * 4, ranges=False), start_site(body=OTHER)
    fetch([first.url, second.url], tmp_path / "f")
    _assert_only(tmp_path / "f", OTHER)


@pytest.mark.parametrize(("statuses", "requests"), [([503, 429], 3), ([403], 1), ([404], 1), ([500] * 9, 4)])
def test_retries_only_what_may_pass(start_site, tmp_path, statuses, requests):
    site = start_site(statuses=list(statuses))
    if len(statuses) == requests - 1:
        fetch(site.url, tmp_path / "f")
    else:
        with pytest.raises(DownloadError, match=f"HTTP {statuses[0]} "):
            fetch(site.url, tmp_path / "f")
        assert list(tmp_path.iterdir()) == []
    assert len(site.seen) == requests


def test_the_error_names_address_reason_target_and_remedy(start_site, tmp_path):
    sites = [start_site(statuses=[404]), start_site(statuses=[403])]
    with pytest.raises(DownloadError) as caught:
        fetch([site.url for site in sites], tmp_path / "f")
    assert str(caught.value) == (
        f"could not download {sites[0].url} (HTTP 404 Not Found); {sites[1].url} (HTTP 403 Forbidden): "
        f"download it by hand, put it at {tmp_path / 'f'} and run this again"
    )


def test_timeout_keeps_what_came(start_site, tmp_path, monkeypatch):
    monkeypatch.setattr(download, "_TIMEOUT", 0.2)
    monkeypatch.setattr(download, "_ATTEMPTS", 1)
    with pytest.raises(DownloadError, match=r"no answer within 0\.2 s"):
        fetch(start_site(cut=[1000], stall=1).url, tmp_path / "f")
    assert (tmp_path / "f.part").read_bytes() == BODY[:1000]


def test_no_server_and_no_such_host(start_site, tmp_path, monkeypatch):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{free.getsockname()[1]}/f"
    with pytest.raises(DownloadError, match=rf"{address} \(.*refused"):
        fetch(address, tmp_path / "f")
    monkeypatch.setattr(download, "_ATTEMPTS", 1)
    with pytest.raises(DownloadError, match=r"could not download http://jaxsr\.invalid/f"):
        fetch("http://jaxsr.invalid/f", tmp_path / "f")


def test_address_that_is_none(tmp_path):
    with pytest.raises(DownloadError, match="unknown url type"):
        fetch("file.bin", tmp_path / "f")


def test_response_of_unknown_length_needs_a_check(start_site, tmp_path):
    site = start_site(states_length=False)
    with pytest.raises(DownloadError, match="how long the file is"):
        fetch(site.url, tmp_path / "f")
    site.cut = [1000]
    with pytest.raises(ChecksumError, match="1000 bytes instead of"):
        fetch(site.url, tmp_path / "f", size=len(BODY))
    fetch(site.url, tmp_path / "f", sha256=_sha256(BODY))
    _assert_only(tmp_path / "f", BODY)


@pytest.mark.parametrize("wrong", [{"sha256": _sha256(OTHER)}, {"size": 5}])
def test_wrong_hash_or_size_leaves_nothing(start_site, tmp_path, wrong):
    site = start_site()
    with pytest.raises(ChecksumError, match=rf"instead of {next(iter(wrong.values()))}.*by hand"):
        fetch(site.url, tmp_path / "f", **wrong)
    assert list(tmp_path.iterdir()) == []
    assert len(site.seen) == 1


def test_existing_file_is_checked_and_neither_fetched_nor_overwritten(start_site, tmp_path, monkeypatch):
    site = start_site()
    target = tmp_path / "f"
    target.write_bytes(OTHER)
    monkeypatch.setenv("JAXSR_OFFLINE", "1")
    assert fetch(site.url, target, sha256=_sha256(OTHER), size=len(OTHER)) == target
    with pytest.raises(ChecksumError, match=r"f is not the right file \(its sha256 .* delete it"):
        fetch(site.url, target, sha256=_sha256(BODY))
    _assert_only(target, OTHER)
    assert site.seen == []


@pytest.mark.parametrize(("value", "refused"), [("1", True), ("0", False), ("", False)])
def test_offline(start_site, tmp_path, monkeypatch, value, refused):
    site = start_site()
    monkeypatch.setenv("JAXSR_OFFLINE", value)
    if refused:
        with pytest.raises(DownloadError, match=rf"JAXSR_OFFLINE.*{site.url}.*put it at {tmp_path / 'f'}"):
            fetch(site.url, tmp_path / "f")
        assert not list(tmp_path.iterdir())
    else:
        assert fetch(site.url, tmp_path / "f").read_bytes() == BODY
    assert len(site.seen) == (0 if refused else 1)


def test_folder_that_cannot_be_made(start_site, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(DownloadError, match=r"cannot write .*file/f "):
        fetch(start_site().url, tmp_path / "file" / "f")


def test_full_disk_is_no_network_error(start_site, tmp_path, monkeypatch):
    def full_disk(_):
        raise OSError(28, "No space left on device")

    site = start_site()
    monkeypatch.setattr(os, "fsync", full_disk)
    with pytest.raises(DownloadError, match=r"cannot write .*No space left"):
        fetch(site.url, tmp_path / "f")
    assert len(site.seen) == 1
    assert not (tmp_path / "f").exists()


@pytest.mark.parametrize("terminal", [True, False])
def test_progress_with_rate_on_a_terminal_only(start_site, tmp_path, terminal):
    console = Console(file=io.StringIO(), force_terminal=terminal, width=120, _environ={"TERM": "xterm"})
    fetch(start_site().url, tmp_path / "f", console=console)
    text = console.file.getvalue()
    if terminal:
        assert "B/s" in text
        assert "700.0/700.0 kB" in text
    else:
        assert text == ""

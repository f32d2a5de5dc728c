"""Test what a broken download leaves, and that the next one resumes from it without mixing bytes."""

import fcntl
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from jaxsr.hub import download
from jaxsr.hub.download import DownloadError, fetch
from tests.hub.site import BODY, OTHER, assert_only, sha256_of

FETCH = """
import sys
from pathlib import Path
from jaxsr.hub.download import fetch

fetch(sys.argv[1], Path(sys.argv[2]))
"""


def test_truncated_response_goes_on_by_range_also_through_a_redirect(start_site, tmp_path):
    site = start_site(cut=[300_000, 1000])
    fetch(f"{site.address}/moved", tmp_path / "f")
    assert_only(tmp_path / "f", BODY)
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
    assert_only(tmp_path / "f", BODY)
    assert [status for _, _, status in site.seen] == [200, 200]


@pytest.mark.parametrize("checks_if_range", [True, False])
def test_file_that_changed_in_between_is_not_mixed(start_site, tmp_path, checks_if_range):
    site = start_site(cut=[300_000] * 4, ranges=False, checks_if_range=checks_if_range)
    with pytest.raises(DownloadError):
        fetch(site.url, tmp_path / "f")
    site.body, site.etag, site.ranges = OTHER, '"2"', True
    fetch(site.url, tmp_path / "f")
    assert_only(tmp_path / "f", OTHER)
    assert site.seen[4][1] == "bytes=300000-"
    assert [status for _, _, status in site.seen[4:]] == ([200] if checks_if_range else [206, 200])


def test_wrong_bytes_under_the_same_etag_are_fetched_afresh_when_the_hash_says_so(start_site, tmp_path):
    site = start_site(cut=[300_000] * 4, ranges=False)
    with pytest.raises(DownloadError):
        fetch(site.url, tmp_path / "f")
    site.body, site.ranges = OTHER, True
    fetch(site.url, tmp_path / "f", sha256=sha256_of(OTHER))
    assert_only(tmp_path / "f", OTHER)
    assert [status for _, _, status in site.seen[4:]] == [206, 200]


def test_part_file_longer_than_the_file(start_site, tmp_path):
    site = start_site(body=BODY[:1000])
    (tmp_path / "f.part").write_bytes(BODY[:2000])
    (tmp_path / "f.part.from").write_text(f'{site.url}\n"1"')
    fetch(site.url, tmp_path / "f")
    assert_only(tmp_path / "f", BODY[:1000])
    assert [status for _, _, status in site.seen] == [416, 200]


def test_part_file_of_unknown_origin_is_not_used(start_site, tmp_path):
    site = start_site()
    (tmp_path / "f.part").write_bytes(OTHER[:1000])
    fetch(site.url, tmp_path / "f")
    assert_only(tmp_path / "f", BODY)


def killed_in(process: subprocess.Popen, folder: Path, pattern: str) -> Path:
    """Kill a process once a file has some bytes, and return the file."""
    deadline = time.monotonic() + 60
    while not (found := [path for path in folder.glob(pattern) if path.stat().st_size]):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    return found[0]


def test_killed_process_is_resumed_by_the_next(start_site, tmp_path):
    site = start_site(cut=[500_000], stall=20)
    process = subprocess.Popen([sys.executable, "-c", FETCH, site.url, str(tmp_path / "f")])
    size = killed_in(process, tmp_path, "f.part").stat().st_size
    assert 0 < size <= 500_000
    fetch(site.url, tmp_path / "f")
    assert_only(tmp_path / "f", BODY)
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


@pytest.mark.slow
def test_what_a_killed_second_process_leaves_is_removed_by_the_next(start_site, tmp_path):
    """It may not take over the file of the first process, so it has one of its own, which nobody can resume."""
    part = tmp_path / "f.part"
    part.write_bytes(b"the other process")
    with open(part, "rb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        site = start_site(cut=[1000], stall=60)
        process = subprocess.Popen([sys.executable, "-c", FETCH, site.url, str(tmp_path / "f")])
        left = killed_in(process, tmp_path, ".jaxsr-*/f.part")
        assert left.read_bytes() == BODY[:1000]
        fetch(start_site().url, tmp_path / "g")
        assert {path.name for path in tmp_path.iterdir()} == {"f.part", "g"}


def test_simultaneous_downloads_of_one_file(start_site, tmp_path):
    site = start_site(cut=[200_000] * 4, stall=0.05)
    threads = [threading.Thread(target=fetch, args=(site.url, tmp_path / "f")) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert_only(tmp_path / "f", BODY)


def test_a_mirror_does_not_go_on_from_the_bytes_of_another(start_site, tmp_path):
    first, second = start_site(cut=[300_000] * 4, ranges=False), start_site(body=OTHER)
    fetch([first.url, second.url], tmp_path / "f")
    assert_only(tmp_path / "f", OTHER)


def test_timeout_keeps_what_came(start_site, tmp_path, monkeypatch):
    monkeypatch.setattr(download, "_TIMEOUT", 0.2)
    monkeypatch.setattr(download, "_ATTEMPTS", 1)
    with pytest.raises(DownloadError, match=r"no answer within 0\.2 s"):
        fetch(start_site(cut=[1000], stall=1).url, tmp_path / "f")
    assert (tmp_path / "f.part").read_bytes() == BODY[:1000]

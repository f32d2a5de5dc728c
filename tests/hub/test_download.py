"""Test that a download gives the right file or an error with a remedy: checks, mirrors, retries, disk, progress."""

import io
import os
import socket
import urllib.request
from types import SimpleNamespace

import pytest
from rich.console import Console

from jaxsr.hub import download
from jaxsr.hub.download import ChecksumError, DownloadError, fetch
from tests.hub.site import BODY, OTHER, assert_only, sha256_of


def test_whole_file_in_a_new_folder(start_site, tmp_path):
    site = start_site()
    target = tmp_path / "new" / "file.bin"
    assert fetch(site.url, target, sha256=sha256_of(BODY).upper(), size=len(BODY)) == target
    assert_only(target, BODY)
    assert site.seen == [("/file.bin", None, 200)]


def test_mirrors_in_turn(start_site, tmp_path):
    broken, wrong, good = start_site(statuses=[404] * 9), start_site(body=OTHER), start_site()
    fetch([broken.url, wrong.url, good.url], tmp_path / "f", sha256=sha256_of(BODY))
    assert_only(tmp_path / "f", BODY)
    assert [len(site.seen) for site in (broken, wrong, good)] == [1, 1, 1]


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
    fetch(site.url, tmp_path / "f", sha256=sha256_of(BODY))
    assert_only(tmp_path / "f", BODY)


@pytest.mark.parametrize("wrong", [{"sha256": sha256_of(OTHER)}, {"size": 5}])
def test_wrong_hash_or_size_leaves_nothing(start_site, tmp_path, wrong):
    site = start_site()
    with pytest.raises(ChecksumError, match=rf"instead of {next(iter(wrong.values()))}.*by hand"):
        fetch(site.url, tmp_path / "f", **wrong)
    assert list(tmp_path.iterdir()) == []
    assert len(site.seen) == 1


@pytest.mark.parametrize("first", [sha256_of(BODY)[:8], sha256_of(BODY)[:8].upper(), "0" * 8])
@pytest.mark.parametrize("last", [sha256_of(BODY)[-4:], "0" * 4])
def test_a_partly_known_hash_is_checked_at_both_ends(start_site, tmp_path, first, last):
    site, known = start_site(), f"{first}...{last}"
    if "00" in known:
        found = rf"its sha256 is {sha256_of(BODY)} instead of {known.lower()}"
        with pytest.raises(ChecksumError, match=found.replace(".", r"\.")):
            fetch(site.url, tmp_path / "f", sha256=known)
        assert list(tmp_path.iterdir()) == []
    else:
        fetch(site.url, tmp_path / "f", sha256=known)
        assert_only(tmp_path / "f", BODY)


def test_the_start_of_a_hash_alone_is_no_hash(start_site, tmp_path):
    with pytest.raises(ChecksumError):
        fetch(start_site().url, tmp_path / "f", sha256=sha256_of(BODY)[:8])


def test_existing_file_is_checked_and_neither_fetched_nor_overwritten(start_site, tmp_path, monkeypatch):
    site = start_site()
    target = tmp_path / "f"
    target.write_bytes(OTHER)
    monkeypatch.setenv("JAXSR_OFFLINE", "1")
    assert fetch(site.url, target, sha256=sha256_of(OTHER), size=len(OTHER)) == target
    with pytest.raises(ChecksumError, match=r"f is not the right file \(its sha256 .* delete it"):
        fetch(site.url, target, sha256=sha256_of(BODY))
    assert_only(target, OTHER)
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


def test_a_redirect_from_https_to_http_is_not_followed():
    handler, request = download._SafeRedirects(), urllib.request.Request("https://a.invalid/f")
    follow = handler.redirect_request(request, None, 302, "moved", {}, "https://b.invalid/f")
    assert follow.full_url == "https://b.invalid/f"
    with pytest.raises(ValueError, match=r"redirects from https to http://b\.invalid/f, which is not safe"):
        handler.redirect_request(request, None, 302, "moved", {}, "http://b.invalid/f")
    plain = urllib.request.Request("http://a.invalid/f")
    assert handler.redirect_request(plain, None, 302, "moved", {}, "http://b.invalid/f") is not None


@pytest.mark.parametrize("choices", [{}, {"size": 1000}])
def test_a_server_without_a_length_does_not_fill_the_disk(start_site, tmp_path, monkeypatch, choices):
    monkeypatch.setattr(download, "MOST_BYTES", 300_000)
    site = start_site(states_length=False)
    with pytest.raises(DownloadError, match=f"sends more than {choices.get('size', 300_000)} bytes"):
        fetch(site.url, tmp_path / "f", sha256=sha256_of(BODY), **choices)
    assert list(tmp_path.iterdir()) == []
    assert len(site.seen) == 1


def test_a_file_larger_than_the_disk_is_refused_at_once(start_site, tmp_path, monkeypatch):
    monkeypatch.setattr(download.shutil, "disk_usage", lambda path: SimpleNamespace(free=len(BODY) - 1))
    with pytest.raises(DownloadError, match=f"the file has {len(BODY)} bytes, and the disk has less room"):
        fetch(start_site().url, tmp_path / "f")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("planted", ["f.part", "f.part.from"])
def test_a_planted_link_is_not_written_through(start_site, tmp_path, planted):
    victim = tmp_path / "victim"
    victim.write_text("mine")
    folder = tmp_path / "shared"
    folder.mkdir()
    (folder / planted).symlink_to(victim)
    fetch(start_site().url, folder / "f", sha256=sha256_of(BODY))
    assert victim.read_text() == "mine"
    assert (folder / "f").read_bytes() == BODY
    assert sorted(path.name for path in folder.iterdir()) == ["f", planted]

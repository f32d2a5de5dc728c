"""Test every rule of the server's security: each request here would do harm if it were answered."""

import os
import signal
import subprocess
import sys
import time
from contextlib import closing
from http.client import HTTPConnection
from pathlib import Path

import pytest

from jaxsr.studio.security import COOKIE, HEADERS, host_name, make_guard
from tests.studio.client import SECRET, Client, png, serving

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def shut(models, tmp_path_factory):
    """Return a client of a server that demands a secret."""
    with serving(models, tmp_path_factory.mktemp("shut"), secret=SECRET, allowed=("photos.example",)) as found:
        yield found


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8765", "127.0.0.1.evil.example", "", "10.0.0.1"])
def test_a_foreign_host_name_is_refused(client, host):
    for path in ("/", "/api/info", "/static/app.js"):
        assert client.get(path, host=host).status == 421


@pytest.mark.parametrize("host", ["127.0.0.1:1", "localhost", "LOCALHOST:80", "[::1]:9"])
def test_our_own_host_names_are_answered(client, host):
    assert client.get("/api/info", host=host).status == 200


def test_two_host_names_are_refused(client):
    with closing(HTTPConnection("127.0.0.1", client.port)) as connection:
        connection.putrequest("GET", "/api/info", skip_host=True)
        connection.putheader("Host", "localhost")
        connection.putheader("Host", "evil.example")
        connection.endheaders()
        with connection.getresponse() as answer:
            assert answer.status in (400, 421)


def test_a_further_name_is_answered_where_it_is_allowed(shut, client):
    bearer = f"Bearer {SECRET}"
    assert shut.get("/api/info", host="photos.example:99", authorization=bearer).status == 200
    assert client.get("/api/info", host="photos.example").status == 421


CHANGES = [("POST", "/api/photos"), ("POST", "/api/files"), ("POST", "/api/looks"), ("POST", "/api/jobs")]
CHANGES += [("DELETE", "/api/photos/i"), ("DELETE", "/api/jobs/i")]
NAMES = ["../../evil.png", "/etc/passwd", "..\\evil.png", "%2e%2e%2fevil.png", "a%00.png", "-rf"]


@pytest.mark.parametrize("token", ["", "x", "0" * 43])
@pytest.mark.parametrize(("method", "path"), CHANGES)
def test_a_change_without_the_token_of_the_process_is_refused(client, method, path, token):
    answer = client.send(method, path, png(), x_jaxsr_token=token)
    assert answer.status == 403
    assert "GET /api/info" in answer.json["error"]


def test_other_origins_are_told_nothing(client):
    answer = client.get("/api/info", origin="https://evil.example")
    assert not [name for name in answer.headers if name.startswith("access-control")]
    assert answer.headers["cross-origin-resource-policy"] == "same-origin"
    assert client.send("OPTIONS", "/api/jobs", origin="https://evil.example").status in (403, 405)


def test_every_process_has_its_own_tokens(models):
    first, second = (make_guard("127.0.0.1", None, (), 1) for _ in range(2))
    assert first.csrf != second.csrf
    assert first.session != second.session


@pytest.mark.parametrize("path", ["/", "/api/info", "/static/app.js", "/api/jobs/none", "/nowhere"])
def test_every_answer_has_the_headers(client, path):
    headers = client.get(path).headers
    assert {name: headers[name] for name in HEADERS} == HEADERS
    policy = headers["content-security-policy"]
    assert "script-src 'self';" in policy
    assert "unsafe" not in policy


def test_a_body_that_is_announced_as_too_large_is_refused_before_it_is_sent(client):
    answer = client.send("POST", "/api/photos", png(), content_length=str(10**7))
    assert answer.status == 413
    assert "--max-megabytes" in answer.json["error"]


def test_a_body_without_an_announced_size_is_counted(client):
    def parts():
        for _ in range(40):
            yield b"0" * 50_000

    headers = {"x-jaxsr-token": client.token, "transfer-encoding": "chunked"}
    with closing(HTTPConnection("127.0.0.1", client.port, timeout=20)) as connection:
        try:
            connection.request("POST", "/api/photos", parts(), headers, encode_chunked=True)
        except (BrokenPipeError, ConnectionResetError):  # the server has stopped reading
            return
        with connection.getresponse() as answer:
            assert answer.status == 413


def test_too_many_pixels_are_refused_before_they_are_decoded(client, monkeypatch):
    bomb = png((400, 300))
    header, rest = bomb[:33], bomb[33:]
    for data in (bomb, header + rest[:60]):  # even cut short: the header tells
        answer = client.send("POST", "/api/photos?name=bomb.png", data)
        assert answer.status == 422
        assert answer.json["error"] == "bomb.png: 400x300 is over the limit of 100000 pixels; cut it into parts"
    assert client.send("POST", "/api/files", bomb).status == 422


@pytest.mark.parametrize("name", NAMES)
def test_names_of_clients_are_no_paths(client, name):
    before = sorted(path for path in client.folder.parent.rglob("*") if client.folder not in path.parents)
    photo = client.photo(name)
    result = client.make(photo=photo["id"])["results"][0]
    assert "/" not in photo["name"]
    assert photo["name"][0] not in ".-"
    assert sorted(path for path in client.folder.parent.rglob("*") if client.folder not in path.parents) == before
    inside = [path.name for path in client.folder.rglob("*") if "evil" in path.name or "passwd" in path.name]
    assert inside == []
    assert "evil" not in str(Path(result["picture"]))


@pytest.mark.parametrize("path", ["/static/../server.py", "/static/%2e%2e/server.py", "/static/..%2f..%2fsample.py"])
def test_only_the_files_of_the_page_are_served(client, path):
    assert client.get(path).status in (404, 403, 421)


def test_paths_in_place_of_ids_find_nothing(client, tmp_path):
    (tmp_path / "photo.png").write_bytes(png())
    for wrong in (str(tmp_path / "photo.png"), "../" * 9 + "etc/passwd", "", "i" * 500):
        answer = client.send("POST", "/api/jobs", {"photo": wrong})
        assert answer.status == 404
        assert len(answer.body) < 300
    photo = client.photo()["id"]
    assert client.send("POST", "/api/jobs", {"photo": photo, "mask": str(tmp_path / "photo.png")}).status == 404


def test_a_model_is_a_known_name_and_no_path(client, small_checkpoints):
    photo = client.photo()["id"]
    for wrong in (str(small_checkpoints["channel"]), "hf:somebody/something", "../model", "/etc/passwd"):
        answer = client.send("POST", "/api/jobs", {"photo": photo, "model": wrong})
        assert answer.status == 422
        assert "there is no" in answer.json["error"]


def test_non_commercial_models_run_only_if_accepted_at_the_start(client):
    photo = client.photo()["id"]
    listed = {model["name"]: model for model in client.get("/api/info").json["models"]}
    assert not listed["resshift-realsr-s4-v3"]["usable"]
    assert listed["tiny-x4"]["usable"]
    for way in (
        client.send("POST", "/api/jobs", {"photo": photo, "model": "resshift-realsr-s4-v3"}),
        client.send("POST", "/api/looks", {"photo": photo, "at": [0, 0], "model": "resshift-realsr-s4-v3"}),
        client.get("/api/knob?model=resshift-realsr-s4-v3"),
        client.get("/api/models/resshift-realsr-s4-v3/card"),
    ):
        assert way.status == 403
        assert "--accept-license" in way.json["error"]


def test_ids_are_long_and_different(client):
    ids = {client.photo()["id"] for _ in range(3)} | {client.file(png()) for _ in range(3)}
    assert len(ids) == 6
    assert min(map(len, ids)) >= 22  # 128 bits


def test_a_server_with_a_secret_answers_only_those_who_know_it(shut: Client):
    assert shut.get("/api/info").status == 401
    assert shut.get("/api/info", authorization=f"Bearer {SECRET[:-1]}").status == 401
    assert shut.get("/api/info", cookie=f"{COOKIE}=guess").status == 401
    assert shut.send("POST", "/api/photos", png()).status == 401
    assert shut.get("/api/info", authorization=f"Bearer {SECRET}").status == 200
    assert shut.send("POST", "/api/photos", png(), authorization=f"Bearer {SECRET}", x_jaxsr_token="").status == 201


def test_the_entrance_gives_a_cookie_for_the_secret(shut: Client):
    assert b"token" in shut.get("/").body.lower()
    assert shut.get("/").status == 401
    assert shut.get("/?token=wrong").status == 401
    assert shut.send("POST", "/login", b"token=wrong").status == 401
    by_form = shut.send("POST", "/login", f"token={SECRET.replace(' ', '+')}".encode())
    by_link = shut.get(f"/?token={SECRET.replace(' ', '%20')}")
    for answer in (by_form, by_link):
        assert (answer.status, answer.headers["location"]) == (303, "/")
        cookie = answer.headers["set-cookie"]
        assert "HttpOnly" in cookie
        assert "samesite=strict" in cookie.lower()
        assert SECRET not in cookie
        mine = cookie.partition(";")[0]
        assert shut.get("/api/info", cookie=mine).status == 200
        assert shut.get("/", cookie=mine).status == 200
        assert shut.send("POST", "/api/photos", png(), cookie=mine, x_jaxsr_token="").status == 403  # CSRF
        assert shut.send("POST", "/api/photos", png(), cookie=mine).status == 201


def test_the_allow_list_of_hosts():
    assert make_guard("0.0.0.0", SECRET, ("Photos.Example",), 1).hosts == {
        *("127.0.0.1", "localhost", "::1", "photos.example")
    }
    assert "192.168.0.7" in make_guard("192.168.0.7", SECRET, (), 1).hosts
    assert [host_name(text) for text in ("a.b:1", "[::1]:80", "A.", "")] == ["a.b", "::1", "a", ""]


def test_the_temporary_folder_is_gone_after_the_end(models, tmp_path):
    with serving(models, tmp_path / "parent") as found:
        found.make(photo=found.photo()["id"])
        (folder,) = (tmp_path / "parent").iterdir()
        assert list(folder.rglob("*.png"))
        assert folder.stat().st_mode & 0o077 == 0  # for its owner alone
    assert list((tmp_path / "parent").iterdir()) == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_a_signal_leaves_nothing_behind(number, tmp_path, calibrated):
    """After SIGKILL, which no process can answer, the next start removes what was left."""
    process = _start(tmp_path, calibrated)
    process.send_signal(number)
    process.communicate(timeout=60)
    if number == signal.SIGKILL:
        (left,) = tmp_path.glob(".jaxsr-*")
        process = _start(tmp_path, calibrated, left)
        assert not left.exists()
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)
    assert list(tmp_path.glob(".jaxsr-*")) == []


def _start(folder: Path, calibrated, *known: Path) -> subprocess.Popen:
    """Start the command and wait until its temporary folder is there, besides the known ones."""
    command = [sys.executable, "-m", "jaxsr.studio", "-n", str(calibrated.source), "--port", "0"]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "TMPDIR": str(folder), "JAXSR_CACHE": "off"}
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    for _ in range(600):
        if {*folder.glob(".jaxsr-*")} - {*known}:
            time.sleep(0.3)
            return process
        time.sleep(0.1)
    raise AssertionError(process.communicate()[0])

"""Test the studio's command: what it refuses before it begins, and that its help imports little."""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request

import pytest

from jaxsr.cli import studio
from tests.cli.sampling import ROOT, start


def refused(capsys, *words: str) -> str:
    with pytest.raises(SystemExit) as stop:
        studio.main(list(words))
    assert stop.value.code == 2
    return capsys.readouterr().err


def test_help_is_quick():
    """The command imports nothing slow before it has parsed its options."""
    code = (
        "import sys, jaxsr.cli.studio as s; s.make_parser().format_help();"
        "print(sorted({'jax', 'flax', 'numpy', 'starlette', 'uvicorn', 'PIL'} & set(sys.modules)))"
    )
    assert start(code, ROOT, ROOT).communicate()[0].strip() == "[]"


def test_another_host_demands_a_token(capsys, monkeypatch):
    monkeypatch.delenv(studio.SECRET, raising=False)
    for host in ("0.0.0.0", "::", "192.168.0.7"):
        assert "--host" in (text := refused(capsys, "--host", host))
        assert studio.SECRET in text


def test_a_short_token_is_refused(capsys, monkeypatch):
    assert "16 or more characters" in refused(capsys, "--token", "short")
    monkeypatch.setenv(studio.SECRET, "short")
    assert "16 or more characters" in refused(capsys)


@pytest.mark.parametrize("words", [("--port", "70000"), ("--max-megabytes", "0"), ("--max-megapixels", "x")])
def test_numbers_out_of_range_are_refused(capsys, words):
    assert f"argument {words[0]}: must be a whole number" in refused(capsys, *words)


@pytest.fixture
def served(monkeypatch):
    """Replace the serving, and return the list of its calls."""
    calls = []
    monkeypatch.setattr(studio, "serve", lambda args, listening: calls.append((args, listening.getsockname())) or 0)
    return calls


def test_the_token_comes_from_the_option_or_the_variable(served, monkeypatch):
    monkeypatch.setenv(studio.SECRET, "v" * 16)
    assert studio.main(["--port", "0", "--host", "0.0.0.0"]) == 0
    assert studio.main(["--port", "0", "--token", "o" * 16]) == 0
    assert [args.token for args, _ in served] == ["v" * 16, "o" * 16]
    assert [name for _, (name, _) in served] == ["0.0.0.0", "127.0.0.1"]


def test_a_taken_port_is_one_sentence(served, capsys):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert studio.main(["--port", str(port)]) == 1
    assert capsys.readouterr().err == f"error: --port: {port} is in use; give another, such as --port {port + 1}.\n"
    assert served == []


@pytest.mark.parametrize("host", ["203.0.113.7", "no such host"])
def test_an_address_of_another_machine_is_one_sentence(host, served, capsys):
    assert studio.main(["--host", host, "--token", "o" * 16, "--port", "0"]) == 1
    assert capsys.readouterr().err.startswith(f"error: --host: {host} is no address")


def test_a_missing_extra_is_one_sentence(capsys, monkeypatch):
    find = studio.importlib.util.find_spec
    monkeypatch.setattr(studio.importlib.util, "find_spec", lambda name: None if name == "uvicorn" else find(name))
    assert studio.main([]) == 1
    assert (
        capsys.readouterr().err == "error: the page needs uvicorn: run  pip install '.[studio]'  in a clone of jaxsr\n"
    )


def test_a_non_commercial_model_needs_its_licence_accepted(capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("JAXSR_CACHE_DIR", str(tmp_path))
    assert studio.main(["--port", "0", "-n", "resshift-realsr-s4-v3"]) == 1
    assert "--accept-license" in capsys.readouterr().err


def test_the_options_reach_the_server(monkeypatch, small_checkpoints, capsys):
    import uvicorn

    from jaxsr.studio import server

    seen, opened = {}, []
    monkeypatch.setattr(uvicorn.Server, "run", lambda self, sockets: None)
    monkeypatch.setattr("webbrowser.open", opened.append)
    make = server.make_app
    monkeypatch.setattr(server, "make_app", lambda guard, models, **more: seen.update(more, guard=guard, models=models))
    words = ["-n", str(small_checkpoints["channel"]), "--port", "0", "--token", "o" * 16, "--allow-host", "a.example"]
    words += ["--max-megabytes", "3", "--max-megapixels", "2", "--accept-license", "--open"]
    assert studio.main(words) == 0
    assert callable(make)
    assert seen["guard"].secret == "o" * 16
    assert "a.example" in seen["guard"].hosts
    assert (seen["guard"].most_bytes, seen["most_pixels"]) == (3_000_000, 2_000_000)
    assert seen["models"].accept_license
    out = capsys.readouterr().out
    assert opened[0] in out
    assert opened[0].endswith("/?token=" + "o" * 16)


@pytest.mark.parametrize("signals", [[signal.SIGTERM], [signal.SIGINT, signal.SIGINT]], ids=["one", "two"])
def test_the_command_serves_and_ends(small_checkpoints, tmp_path, signals):
    command = [sys.executable, "-u", "-m", "jaxsr.studio", "-n", str(small_checkpoints["channel"]), "--port", "0"]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "TMPDIR": str(tmp_path), "JAXSR_CACHE": "off"}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    with subprocess.Popen(command, env=environment, **pipes) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "loading model\n"
        page = process.stdout.readline().split()[1]
        with urllib.request.urlopen(page, timeout=30) as answer:
            assert b"jaxsr" in answer.read()
        for number in signals:
            process.send_signal(number)
            time.sleep(0.05)
        assert process.communicate(timeout=60)[0] == "stopped; the temporary files are removed\n"
        assert process.returncode == 0
    assert list(tmp_path.glob(".jaxsr-*")) == []

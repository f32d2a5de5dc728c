"""Test how commands end: error messages and exit codes."""

import signal
import subprocess
import sys
from pathlib import Path

import jax
import pytest

from jaxsr import storage
from jaxsr.cli.exits import BROKEN_PIPE, exit_code
from jaxsr.runtime.compilation import enable_compilation_cache


def raising(error: BaseException):
    def run() -> int:
        raise error

    return run


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (ValueError("--x: bad\n"), 1, "error: --x: bad\\n\n"),
        (OverflowError("too large"), 1, "error: too large\n"),
        (RuntimeError("RESOURCE_EXHAUSTED: x"), 1, "error: the device has too little memory: give less\n"),
        (KeyboardInterrupt(), 130, "stopped; run the same command again to resume\n"),
    ],
)
def test_an_expected_error_is_one_line_and_a_code(capsys, error, code, line):
    assert exit_code(raising(error), smaller="less") == code
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", line)


def test_what_is_not_expected_is_raised_and_the_code_is_that_of_the_run():
    assert exit_code(lambda: 3) == 3
    with pytest.raises(RuntimeError, match="a bug"):
        exit_code(raising(RuntimeError("a bug")))


def test_a_reader_that_goes_away_is_no_error(tmp_path):
    command = [sys.executable, "-m", "jaxsr.sample", "--list-models"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdout.close()  # before anything is written
        errors = process.stderr.read()
    assert (process.returncode, errors) == (BROKEN_PIPE, b"")


def test_a_user_without_a_home_gets_one_sentence(monkeypatch, capsys):
    def no_home():
        raise RuntimeError("Could not determine home directory.")

    for name in ("JAXSR_CACHE_DIR", "XDG_CACHE_HOME", "JAXSR_CACHE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(Path, "home", no_home)
    with pytest.raises(OSError, match="this user has no home folder; set JAXSR_CACHE_DIR to a folder"):
        storage.cache_dir()
    names = ("jax_compilation_cache_dir", "jax_enable_compilation_cache")
    before = {name: jax.config.values[name] for name in names}
    for name, value in zip(names, (None, True), strict=True):
        jax.config.update(name, value)
    try:
        assert enable_compilation_cache() is None
    finally:
        for name, value in before.items():
            jax.config.update(name, value)
    assert "compiled programs are not kept (this user has no home folder" in capsys.readouterr().err


SLEEPER = """
import gc, signal, sys, time
from jaxsr.cli.exits import end, exit_code
{before}
def run():
    print("ready", flush=True)
    {body}
    return 0
end(exit_code(run))
"""
IN_A_CALLBACK = """
def in_callback(phase, info):
    if not sent:
        sent.append(1)
        signal.raise_signal(signal.SIGINT)
sent = [1]
gc.callbacks.append(in_callback)
"""


def start_sleeper(body: str, before: str = "") -> subprocess.Popen:
    script = SLEEPER.format(body=body, before=before)
    process = subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_stops_a_run_with_one_sentence(number, code):
    process = start_sleeper("time.sleep(60)")
    process.send_signal(number)
    assert process.communicate()[1] == "stopped; run the same command again to resume\n"
    assert process.returncode == code


def test_a_second_signal_ends_the_process_at_once():
    process = start_sleeper("""
    try:
        print("inside", flush=True)
        time.sleep(60)
    finally:
        print("tidying", flush=True)
        time.sleep(60)
    """)
    assert process.stdout.readline() == "inside\n"
    process.send_signal(signal.SIGINT)
    assert process.stdout.readline() == "tidying\n"
    process.send_signal(signal.SIGINT)
    assert process.communicate()[1] == ""
    assert process.returncode == -signal.SIGINT


def test_a_signal_inside_of_a_callback_of_the_garbage_collector_is_not_forgotten():
    """Python prints and forgets an exception there, so Ctrl-C would have no effect."""
    process = start_sleeper("sent.clear(); gc.collect(); time.sleep(60)", IN_A_CALLBACK)
    assert process.communicate()[1] == "stopped; run the same command again to resume\n"
    assert process.returncode == 130


def test_the_handlers_of_signals_are_put_back():
    before = [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)], sys.unraisablehook
    assert exit_code(raising(KeyboardInterrupt())) == 130
    assert ([signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)], sys.unraisablehook) == before


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (
            FileNotFoundError(2, "No such file or directory", "/x/a"),
            "/x/a: No such file or directory; check the name, ",
        ),
        (OSError(28, "No space left; make room", "j.part"), "j.part: No space left; make room.\n"),
        (OSError("could not download it"), "could not download it\n"),
        (MemoryError(), "MemoryError\n"),
    ],
)
def test_an_error_of_the_system_names_the_file_and_what_to_do(capsys, error, line):
    assert exit_code(raising(error)) == 1
    assert capsys.readouterr().err.startswith(f"error: {line}")


def test_too_little_address_space_is_one_sentence_instead_of_a_dump():
    words = f"ulimit -v 1000000; exec {sys.executable} -m jaxsr.sample --list-models"
    done = subprocess.run(["bash", "-c", words], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == ("error: this process may have 1 GB of address space, but JAX needs 2 GB: raise  ulimit -v\n")


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-"])
def test_closed_streams_are_no_error(closed):
    words = f"{sys.executable} -m jaxsr.sample --list-models {closed}"
    done = subprocess.run(["bash", "-c", words], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert ("tiny-x4" in done.stdout) == (closed != ">&-")
